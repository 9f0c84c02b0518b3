//! A new configuration for a filter that runs.

use std::fs;

use nix::sys::signal::Signal;

use crate::filter::{Agent, Client, Filter, output};

#[test]
fn a_reload_applies_new_rules() {
    let agent = Agent::new();
    let mut filter = Filter::start_with_file("c.json", &config(&agent, r#""metric_blocklist": ["a"]"#), &[]);
    let client = Client::of(&mut filter);
    client.send("a:1|c\nb:1|c");
    assert_eq!(agent.lines(1), ["b:1|c"]);

    fs::write(filter.file("c.json"), config(&agent, r#""metric_blocklist": ["b"]"#)).unwrap();
    filter.reload();
    client.send("a:2|c\nb:2|c");
    assert_eq!(agent.lines(1), ["a:2|c"]);
}

#[test]
fn reloads_lose_no_datagram() {
    let agent = Agent::new();
    let mut filter = Filter::start_with_file("c.json", &config(&agent, r#""metric_blocklist": ["no"]"#), &[]);
    let client = Client::of(&mut filter);
    for round in 0..40 {
        // No more at once than any receive buffer takes, so that a loss would be the reload's.
        for number in 0..100 {
            client.send(format!("m{round}.{number}:1|c\nno:1|c"));
            if number % 20 == 10 {
                filter.signal(Signal::SIGHUP);
            }
        }
        let expected: Vec<String> = (0..100).map(|number| format!("m{round}.{number}:1|c")).collect();
        assert_eq!(agent.lines(100), expected);
    }
    filter.wait_for_metric(r#"config_reloads_total{result="applied"}"#, 1);
    assert_eq!(filter.metric("kernel_drops_total"), 0);
}

#[test]
fn a_bad_configuration_is_refused_with_its_line_and_the_old_one_stays() {
    let agent = Agent::new();
    let mut filter = Filter::start_with_file("c.json", &config(&agent, r#""metric_blocklist": ["a"]"#), &[]);
    for (bad, reason) in [
        ("\n\"metric_blocklist\": [\"b\",\n \"\"]", "an empty prefix, which every line starts with at line 3"),
        ("\n\"metric_blocklist_regex\": [\"b(\"]", "unclosed group"),
        ("\n\n\"metric_blocklst\": []", "unknown field `metric_blocklst`"),
        ("\"metric_blocklist\": [", "line 1 column"),
        ("\"metric_allowlist\": []", "the allow list is empty"),
        ("\"multi_thread\": true", "multi_thread cannot change"),
        ("\"max_datagram_bytes\": 70000", "max_datagram_bytes is 70000"),
    ] {
        fs::write(filter.file("c.json"), config(&agent, bad)).unwrap();
        filter.reload();
        filter.wait_for_log(reason);
    }
    assert_eq!(filter.metric(r#"config_reloads_total{result="refused"}"#), 7);
    Client::of(&mut filter).send("a:1|c\nb:1|c");
    assert_eq!(agent.lines(1), ["b:1|c"]);
}

#[test]
fn a_mistake_in_yaml_is_shown_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("filter.yaml");
    fs::write(&file, "target_host: x\ntarget_port: 1\nmetric_blocklist:\n  - ok\n  - ''\n").unwrap();
    let output = output(&["--config", file.to_str().unwrap()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{error}");
    assert!(error.contains("an empty prefix") && error.contains("line 5"), "{error}");
}

#[test]
fn a_reload_may_name_another_target() {
    let (agent, other) = (Agent::new(), Agent::new());
    let mut filter = Filter::start_with_file("c.json", &config(&agent, r#""dry_run": false"#), &[]);
    let client = Client::of(&mut filter);
    client.send("a:1|c");
    assert_eq!(agent.lines(1), ["a:1|c"]);

    fs::write(filter.file("c.json"), config(&other, r#""dry_run": false"#)).unwrap();
    filter.reload();
    client.send("b:1|c");
    assert_eq!(other.lines(1), ["b:1|c"]);
}

fn config(agent: &Agent, rest: &str) -> String {
    let port = agent.address().port();
    format!(
        r#"{{"listen_host": "127.0.0.1", "listen_port": 0, "target_host": "127.0.0.1", "target_port": {port}, {rest}}}"#
    )
}
