//! What works, or fails well, where no cluster is.

use std::{fs, io::Read as _, process::Stdio};

use crate::cluster::{dragnet, stderr, stdout};

#[test]
fn a_mistake_in_a_rule_is_shown_with_its_place_and_nothing_is_pushed() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("bad.yar");
    fs::write(&rules, "rule fine { condition: true }\n\nrule broken {\n    condition:\n        fine and nonsense\n}\n")
        .unwrap();
    for command in ["check", "push"] {
        let output = dragnet(&["rules", command, rules.to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        let text = stderr(&output);
        assert!(text.contains("bad.yar:5:18"), "{text}");
        assert!(text.contains("fine and nonsense"), "{text}");
        assert!(text.contains("error: 1 error in"), "{text}");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn an_include_that_is_not_there_is_shown_where_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("a.yar");
    fs::write(&rules, "include \"gone.yar\"\nrule a { condition: true }\n").unwrap();
    let output = dragnet(&["rules", "check", rules.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("a.yar:1:9") && text.contains("^^^^^^^^^^ no such file"), "{text}");
    let output = dragnet(&["rules", "push", rules.to_str().unwrap(), "--json"]).output().unwrap();
    let problem: serde_json::Value = serde_json::from_str(stderr(&output).trim()).unwrap();
    assert_eq!((&problem["line"], &problem["column"]), (&1.into(), &9.into()));
}

#[test]
fn rules_that_compile_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yar"), "rule one { condition: filesize > 10 } rule two { condition: one }").unwrap();
    let output = dragnet(&["rules", "check", dir.path().to_str().unwrap(), "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let object: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&object["ok"], &object["rules"], &object["units"]), (&true.into(), &2.into(), &2.into()));
}

#[test]
fn a_ruleset_without_rules_or_with_too_many_bytes_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |file: &str, text: &str| {
        let path = dir.path().join(file);
        fs::write(&path, text).unwrap();
        let output = dragnet(&["rules", "push", path.to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    assert!(refusal("empty.yar", "").contains("holds no rules"));
    let padding = "/* */".repeat((16 << 20) / 5 + 1);
    let text = refusal("large.yar", &format!("rule a {{ condition: true }} {padding}"));
    assert!(text.contains("16 MiB"), "{text}");
}

#[test]
fn a_cluster_that_is_not_there_is_an_error_with_help() {
    let output = dragnet(&["corpus", "list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.starts_with("error: could not list corpora"), "{text}");
    assert!(text.contains("dragnet up"), "{text}");

    let output = dragnet(&["status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("127.0.0.1:1 does not answer"), "{}", stderr(&output));
}

#[test]
fn wrong_usage_has_its_own_exit_codes() {
    for args in [&["nonsense"][..], &["corpus", "add", "Bad Name", "/usr"], &["up", "--orchestrators", "2"]] {
        assert_eq!(dragnet(args).output().unwrap().status.code(), Some(2), "{args:?}");
    }
    for (args, reason) in [
        (&["findings", "--limit", "0"][..], "must be at least 1"),
        (&["up", "--scanners", "0"], "must be at least 1"),
        (&["up", "--scanners", "9999"], "at most 1024"),
        (&["corpus", "add", "x", "/usr", "--max-file-size", "2GiB"], "at most 2GB"),
    ] {
        let output = dragnet(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
    let output = dragnet(&["up", "--demo", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
}

#[test]
fn places_that_are_no_folders_are_refused_before_anyone_is_asked() {
    for (place, reason) in
        [("/nowhere/at/all", "does not exist"), ("/etc/passwd", "is a file"), ("ftp://x/y", "file://")]
    {
        let output = dragnet(&["corpus", "add", "x", place]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{place}");
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = dragnet(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success(), "{status}: {said}");
    assert_eq!(said, "");
}

#[test]
fn completions_are_there_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = dragnet(&["completions", shell]).output().unwrap();
        assert!(output.status.success() && stdout(&output).contains("receipt"), "{shell}");
    }
}
