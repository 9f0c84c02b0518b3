//! A dataset built, served by `dragnet up`, and asked by a hunt; and what becomes of the hunt when its servers are killed.

use std::{fmt::Write as _, fs};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use types::Digest;

use crate::cluster::{Cluster, dragnet, processes_of, stderr, stdout, wait_for};

const RULES: &str = r#"
rule of_nobody { condition: not known_good }
rule of_somebody { condition: known_good and package == "coreutils" and package_version == "9.1-1" }
rule needle { strings: $a = "needle" condition: $a }
"#;

/// Builds a dataset of files by their contents, and announces it. Returns its URL.
fn build(cluster_dir: &std::path::Path, contents: &[(&str, Value)], shards: u16) -> String {
    let folder = cluster_dir.join("sets/packages");
    fs::create_dir_all(&folder).unwrap();
    let mut rows = String::new();
    for (content, fields) in contents {
        let mut row = fields.clone();
        row["sha256"] = Digest::of(content.as_bytes()).to_string().into();
        writeln!(rows, "{row}").unwrap();
    }
    let source = cluster_dir.join("rows.jsonl");
    fs::write(&source, rows).unwrap();
    let url = format!("file://{}", folder.display());
    let output = dragnet(&[
        "dataset",
        "build",
        "--from",
        source.to_str().unwrap(),
        "--key",
        "sha256",
        "--value-json",
        "--shards",
        &shards.to_string(),
        "--to",
        &url,
    ]);
    let output = { output }.output().unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    url
}

fn good() -> Value {
    serde_json::json!({"package": "coreutils", "version": "9.1-1", "known_good": true})
}

fn up(dir: &tempfile::TempDir, contents: &[(&str, Value)], servers: u16) -> Cluster {
    let url = build(dir.path(), contents, servers);
    let cluster =
        Cluster::start_with(&["--orchestrators", "1", "--dataset", &url, "--kv-servers", &servers.to_string()]);
    let ready: Value = cluster.up_says().lines().find_map(|line| serde_json::from_str(line).ok()).unwrap();
    assert_eq!(ready["datasets"], serde_json::json!(["packages"]));
    for admin in ready["kv_admin"].as_array().unwrap() {
        wait_for("the dataset is served", || {
            get(admin.as_str().unwrap(), "/datasets")
                .and_then(|body| serde_json::from_str::<Value>(&body).ok())
                .is_some_and(|told| told["datasets"][0]["serving"].is_string())
        });
    }
    cluster
}

fn get(address: &str, path: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// Findings as (file name, rule, words of the facts), sorted.
fn found(cluster: &Cluster) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for line in cluster.objects(&["findings"]) {
        let name = line["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        for rule in line["rules"].as_array().unwrap() {
            found.push((name.clone(), rule["identifier"].as_str().unwrap().to_owned(), rule["enrichment"][0].clone()));
        }
    }
    found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    found
}

#[test]
fn findings_name_the_package_and_rules_ask_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = up(&dir, &[("as installed, a needle", good()), ("unrelated", good())], 2);
    let files = cluster.folder("files", &[("known", "as installed, a needle"), ("unknown", "a needle of nobody")]);
    cluster.ok(&["corpus", "add", "files", files.to_str().unwrap(), "--list-every", "500ms", "--dataset", "packages"]);
    let rules = cluster.folder("asking", &[("asking.yar", RULES)]);
    cluster.ok(&["rules", "push", rules.to_str().unwrap()]);
    cluster.ok(&["hunt", "watch", "--until-caught-up", "--timeout", "60s"]);

    let found = found(&cluster);
    let names: Vec<_> = found.iter().map(|(file, rule, _)| (file.as_str(), rule.as_str())).collect();
    assert_eq!(names, [("known", "needle"), ("known", "of_somebody"), ("unknown", "needle"), ("unknown", "of_nobody")]);
    let (known, unknown) = (&found[0].2, &found[2].2);
    assert_eq!((&known["state"], &known["value"]), (&"found".into(), &good()));
    assert!(known["version"].as_str().unwrap().starts_with("000001-"), "{known}");
    assert_eq!((&unknown["state"], &unknown["value"]), (&"missing".into(), &Value::Null));
    assert_eq!(unknown["version"], known["version"], "missing from a version, not from nowhere");
    let text = cluster.ok(&["findings"]);
    assert!(text.contains("/known  packages: coreutils 9.1-1"), "{text}");
    assert!(text.contains("/unknown  packages: -"), "{text}");
}

#[test]
fn servers_killed_in_the_middle_of_a_sweep_cost_facts_and_no_answer() {
    const FILES: usize = 600;
    let dir = tempfile::tempdir().unwrap();
    let text = |number: usize| format!("needle {number} {}", "hay ".repeat(2_000));
    let texts: Vec<_> = (0..FILES).map(text).collect();
    let contents: Vec<_> = texts.iter().map(|text| (text.as_str(), good())).collect();
    let cluster = up(&dir, &contents, 1);
    let files = cluster.folder("files", &[]);
    let write = |range: std::ops::Range<usize>| {
        range.for_each(|number| fs::write(files.join(format!("{number:04}")), &texts[number]).unwrap());
    };
    write(0..FILES / 2);
    let rules = cluster.folder("asking", &[("asking.yar", RULES)]);
    cluster.ok(&["rules", "push", rules.to_str().unwrap()]);
    cluster.ok(&["corpus", "add", "files", files.to_str().unwrap(), "--list-every", "300ms", "--dataset", "packages"]);
    wait_for("something is found", || !cluster.objects(&["findings"]).is_empty());
    // Whatever `up` starts again in its place is killed as well.
    let servers = || processes_of(&cluster.data().join("kv-server-1"));
    assert!(!servers().is_empty());
    fs::remove_dir_all(cluster.data().join("kv-server-1")).unwrap();
    fs::remove_dir_all(dir.path().join("sets")).unwrap();
    for pid in servers() {
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    }
    write(FILES / 2..FILES);
    wait_for("all files are answered", || {
        cluster.objects(&["receipt"]).iter().all(|receipt| receipt["matched"] == FILES && receipt["pending_files"] == 0)
    });

    let receipt = &cluster.objects(&["receipt"])[0];
    assert_eq!((&receipt["stored_files"], &receipt["clean"]), (&FILES.into(), &0.into()), "{receipt}");
    let found = found(&cluster);
    assert_eq!(found.iter().filter(|(_, rule, _)| rule == "needle").count(), FILES);
    let with =
        |rule: &str, state: &str| found.iter().filter(|(_, of, fact)| of == rule && fact["state"] == state).count();
    // Whoever could be asked said that each file is good; where nobody could, rules saw files of which nothing is known.
    assert_eq!(with("of_somebody", "found") + with("of_nobody", "unavailable"), FILES);
    assert!(with("of_somebody", "found") > 0 && with("of_nobody", "unavailable") > 0);
    let text = cluster.ok(&["findings"]);
    assert!(text.contains("packages: unavailable") && text.contains("the dataset packages was unavailable"), "{text}");
}

#[test]
fn datasets_of_a_corpus_are_shown_and_can_be_changed() {
    let cluster = Cluster::start();
    let files = cluster.folder("files", &[("a", "x")]);
    let add = |flags: &[&str]| {
        let args = [&["corpus", "add", "files", files.to_str().unwrap()], flags].concat();
        cluster.ok(&args)
    };
    assert!(add(&["--dataset", "packages", "--dataset", "senders"]).contains("looked up in packages, senders"));
    let shown = || cluster.objects(&["corpus", "show", "files"])[0]["datasets"].clone();
    assert_eq!(shown(), serde_json::json!(["packages", "senders"]));
    assert!(cluster.ok(&["corpus", "list"]).contains("packages, senders"));
    assert!(cluster.ok(&["corpus", "show", "files"]).contains("datasets     packages, senders"));
    add(&["--dataset", "senders"]);
    assert_eq!(shown(), serde_json::json!(["senders"]));
    add(&[]);
    assert_eq!(shown(), serde_json::json!([]));
    let twice = cluster.run(&["corpus", "add", "files", files.to_str().unwrap(), "--dataset", "a", "--dataset", "a"]);
    assert!(!twice.status.success() && stderr(&twice).contains("each once"), "{}", stderr(&twice));
}

#[test]
fn a_dataset_that_is_not_there_is_named_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}/nothing", dir.path().display());
    let data = dir.path().join("data");
    let output = dragnet(&["up", "--dir", data.to_str().unwrap(), "--dataset", &url]);
    let output = { output }.output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("nothing"), "{}", stderr(&output));
    let output = dragnet(&["up", "--dir", data.to_str().unwrap(), "--kv", "packages=nowhere"]);
    let output = { output }.output().unwrap();
    assert!(stderr(&output).contains("NAME=redis://HOST:PORT"), "{}", stderr(&output));
}
