//! Corpora, rules, findings and receipts, as a user has them.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::ffi::OsStrExt as _,
    process::Stdio,
};

use crate::cluster::{Cluster, dragnet, stderr, stdout, wait_for};

const RULES: &str = r#"
rule says_needle : text
{
    meta:
        severity = "high"
    strings:
        $needle = "needle"
    condition:
        $needle
}

rule says_hay
{
    strings:
        $hay = "haystack"
    condition:
        $hay
}
"#;

/// A cluster with a corpus `files`, a ruleset `words`, and each file scanned.
fn hunted() -> Cluster {
    let cluster = Cluster::start();
    let files =
        cluster.folder("files", &[("one.txt", "a needle in a haystack"), ("two.txt", "nothing"), ("empty", "")]);
    fs::write(files.join(OsStr::from_bytes(b"bad\xff.txt")), "another needle").unwrap();
    cluster.ok(&["corpus", "add", "files", files.to_str().unwrap(), "--list-every", "500ms"]);
    let rules = cluster.folder("words", &[("words.yar", RULES)]);
    cluster.ok(&["rules", "push", rules.to_str().unwrap()]);
    cluster.ok(&["hunt", "watch", "--until-caught-up", "--timeout", "60s"]);
    cluster
}

#[test]
fn findings_name_rule_file_offset_and_bytes() {
    let cluster = hunted();
    let text = cluster.ok(&["findings"]);
    assert!(text.contains("words/says_needle  [high]"), "{text}");
    assert!(text.contains("one.txt\n    0x00000002  $needle  needle"), "{text}");
    assert!(text.contains("bad\\xff.txt"), "{text}");
    assert!(text.contains("3 findings by 2 rules"), "{text}");

    let lines = cluster.objects(&["findings"]);
    assert_eq!(lines.len(), 2, "one line per file");
    let one = lines.iter().find(|line| line["path"].as_str().unwrap().ends_with("one.txt")).unwrap();
    assert_eq!(one["rules"].as_array().unwrap().len(), 2);
    assert_eq!(one["rules"][1]["strings"][0]["offset"], 2);

    assert_eq!(cluster.objects(&["findings", "--rule", "*_hay"]).len(), 1);
    assert!(cluster.ok(&["findings", "--limit", "1"]).contains("stopped at --limit 1"));
    assert!(cluster.ok(&["findings", "--corpus", "files", "--ruleset", "words", "--matches"]).contains("says_hay"));
}

#[test]
fn a_changed_file_has_its_findings_once_and_a_vanished_one_none() {
    let cluster = hunted();
    let files = cluster.dir.path().join("files");
    fs::write(files.join("one.txt"), "the needle moved, in another haystack").unwrap();
    fs::remove_file(files.join(OsStr::from_bytes(b"bad\xff.txt"))).unwrap();
    wait_for("the change is listed and scanned", || {
        let shown = cluster.objects(&["corpus", "show", "files"]);
        let receipts = cluster.objects(&["receipt"]);
        shown[0]["gone_files"] == 2 && receipts[0]["pending_files"] == 0
    });

    let text = cluster.ok(&["findings"]);
    assert!(text.contains("2 findings by 2 rules"), "{text}");
    assert!(text.contains("0x00000004  $needle  needle"), "where it is now: {text}");
    assert!(text.contains("left out: 3 findings in files that are gone or changed since"), "{text}");
    assert!(cluster.ok(&["findings", "--gone"]).contains("5 findings by 2 rules"));
    assert_eq!(cluster.objects(&["findings"]).len(), 1);
}

#[test]
fn receipts_add_up() {
    let cluster = hunted();
    let receipts = cluster.objects(&["receipt"]);
    assert_eq!(receipts.len(), 1);
    let receipt = &receipts[0];
    let terms =
        ["matched", "clean", "timed_out", "crashed", "too_large", "unreadable", "gone", "abandoned", "pending_files"];
    let sum: u64 = terms.iter().map(|term| receipt[term].as_u64().unwrap()).sum();
    assert_eq!((receipt["stored_files"].as_u64(), sum), (Some(4), 4));
    assert_eq!((&receipt["matched"], &receipt["clean"]), (&2.into(), &2.into()));
    assert!(cluster.ok(&["receipt", "words"]).contains("stored; the sum adds up"));
    assert!(cluster.ok(&["receipt", "--exceptions"]).contains("every file"));
    assert!(!cluster.run(&["receipt", "nobody"]).status.success());
    assert_eq!(receipt["not_listed"]["symlinks"], 0);
}

#[test]
fn files_above_the_limit_are_exceptions_with_a_reason() {
    let cluster = Cluster::start();
    let files = cluster.folder("files", &[("small", "x"), ("large", &"x".repeat(5000))]);
    cluster.ok(&["corpus", "add", "files", files.to_str().unwrap(), "--max-file-size", "4KiB"]);
    let rules = cluster.folder("words", &[("words.yar", RULES)]);
    cluster.ok(&["rules", "push", rules.to_str().unwrap()]);
    cluster.ok(&["hunt", "watch", "--until-caught-up", "--timeout", "60s"]);
    let excepted = cluster.objects(&["receipt", "--exceptions"]);
    assert_eq!(excepted.len(), 1, "{excepted:?}");
    assert_eq!((&excepted[0]["file"], &excepted[0]["reason"]), (&"large".into(), &"too_large".into()));
    assert!(cluster.ok(&["receipt", "--exceptions"]).contains("too_large   files/large"));
}

#[test]
fn the_same_sources_twice_make_no_version_and_one_new_rule_carries_the_others() {
    let cluster = hunted();
    let folder = cluster.dir.path().join("words");
    let push = ["rules", "push", folder.to_str().unwrap()];
    assert!(cluster.ok(&push).contains("nothing changed"));
    assert_eq!(cluster.objects(&push)[0]["created"], false);

    fs::write(folder.join("more.yar"), "rule says_nothing { strings: $a = \"nothing\" condition: $a }").unwrap();
    let pushed = &cluster.objects(&push)[0];
    let numbers = ["version", "units_new", "units_carried"].map(|field| pushed[field].as_u64().unwrap());
    assert_eq!(numbers, [2, 1, 2], "{pushed}");
    cluster.ok(&["hunt", "watch", "words", "--until-caught-up", "--timeout", "60s"]);
    assert_eq!(cluster.objects(&["findings"]).len(), 3);
    assert_eq!(cluster.objects(&["hunt", "list"]).len(), 1);
    assert_eq!(cluster.objects(&["hunt", "list", "--all"]).len(), 2);
    let shown = cluster.objects(&["rules", "show", "words"]);
    assert_eq!(shown[0]["versions"].as_array().unwrap().len(), 2);
}

#[test]
fn names_that_are_not_there_are_never_an_answer() {
    let cluster = Cluster::start();
    assert!(cluster.ok(&["receipt"]).contains("no hunts yet"));
    for (args, text) in [
        (&["findings", "--ruleset", "nope"][..], "there is no ruleset nope"),
        (&["findings", "--corpus", "nope", "--json"], "there is no corpus nope"),
        (&["receipt", "nope"], "there is no ruleset nope"),
        (&["receipt", "--exceptions", "--corpus", "nope"], "there is no corpus nope"),
        (&["rules", "pause", "nope"], "ruleset nope"),
    ] {
        let output = cluster.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(stderr(&output).contains(text), "{args:?}: {}", stderr(&output));
    }
    let rules = cluster.folder("words", &[("words.yar", RULES)]);
    let push = ["rules", "push", rules.to_str().unwrap()];
    let output = cluster.run(&[&push[..], &["--corpus", "nope"]].concat());
    assert!(output.status.success());
    assert!(stderr(&output).contains("there is no corpus nope yet; it hunts once that is added"));
    assert!(!stdout(&output).contains("it hunts now"), "{}", stdout(&output));
    assert!(cluster.ok(&["findings"]).contains("no hunt asks"));
    assert!(cluster.ok(&push).contains("it hunts in all corpora now, before: nope"));
    cluster.ok(&["rules", "retire", "words"]);
    assert!(cluster.ok(&push).contains("it was retired and is active again"));
}

#[test]
fn a_listing_that_fails_is_told_everywhere() {
    let cluster = hunted();
    assert!(cluster.ok(&["hunt", "watch", "--timeout", "5s"]).contains("1 hunt caught up"));
    fs::rename(cluster.dir.path().join("files"), cluster.dir.path().join("moved")).unwrap();
    wait_for("the listing fails", || cluster.objects(&["receipt"])[0]["listing_error"].is_string());
    assert!(cluster.ok(&["receipt"]).contains("\n  listing failed: "));
    assert!(cluster.ok(&["hunt", "list"]).contains("listing fails"));
    assert!(cluster.ok(&["findings"]).contains("so far; listing corpus files failed"));
    let output = cluster.run(&["hunt", "watch", "--until-caught-up", "--timeout", "5s"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("1 hunt has not caught up within ") && said.contains(" s; listing corpus files fails"),
        "{said}"
    );
    assert!(stdout(&output).contains("listing corpus files fails"), "{}", stdout(&output));
}

#[test]
fn a_paused_ruleset_is_not_watched_and_resumes() {
    let cluster = hunted();
    assert!(cluster.ok(&["rules", "pause", "words"]).contains("paused now"));
    assert_eq!(cluster.objects(&["rules", "list"])[0]["state"], "paused");
    let output = cluster.run(&["hunt", "watch", "--until-caught-up"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nothing to watch"), "{}", stderr(&output));
    let output = cluster.run(&["hunt", "watch", "words"]);
    assert!(stderr(&output).contains("words is paused; to go on: dragnet rules resume words"), "{}", stderr(&output));
    cluster.ok(&["rules", "resume", "words"]);
    cluster.ok(&["hunt", "watch", "--until-caught-up", "--timeout", "60s"]);
    assert_eq!(cluster.run(&["rules", "pause", "nobody"]).status.code(), Some(1));
}

#[test]
fn every_list_speaks_ndjson() {
    let cluster = hunted();
    for command in
        [&["corpus", "list"][..], &["corpus", "show", "files"], &["rules", "list"], &["hunt", "list"], &["status"]]
    {
        assert!(!cluster.objects(command).is_empty(), "{command:?}");
        assert!(!cluster.ok(command).is_empty(), "{command:?}");
    }
    let watched = cluster.objects(&["hunt", "watch", "--until-caught-up"]);
    assert_eq!(watched.last().unwrap()["state"], "caught_up");
}

#[test]
fn a_reader_of_findings_may_leave_early() {
    let cluster = hunted();
    let members = format!("127.0.0.1:{}", cluster.port);
    let mut child =
        dragnet(&["findings", "--cluster", &members]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(!first.is_empty());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}
