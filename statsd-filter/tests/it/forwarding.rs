//! What passes, what does not, and in which shape.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::filter::{Agent, Client, Filter, output, program, received};

#[test]
fn unwanted_lines_are_dropped_and_the_rest_arrives_in_order() {
    let agent = Agent::new();
    let mut filter = Filter::start(&agent, &["--block", "debug.,tmp"]);
    let client = Client::of(&mut filter);
    client.send("a:1|c|@0.5|#env:prod,x:y\ndebug.x:1|c\nb:2|ms\n");
    client.send("tmp:1|c\n_e{5,4}:title|text|#t:v\n_sc|db.up|0|m:all well");
    let expected = ["a:1|c|@0.5|#env:prod,x:y", "b:2|ms", "_e{5,4}:title|text|#t:v", "_sc|db.up|0|m:all well"];
    assert_eq!(agent.lines(4), expected);
    filter.wait_for_metric("lines_forwarded_total", 4); // counts come after the lines
    assert_eq!(filter.metric(r#"lines_dropped_total{rule="metric_blocklist"}"#), 2);
    assert_eq!(filter.metric(r#"prefix_hits_total{prefix="tmp"}"#), 1);
}

#[test]
fn the_published_filters_file_works_as_it_is() {
    let agent = Agent::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy-config-file.json");
    let config = format!(
        r#"{{"listen_host": "127.0.0.1", "listen_port": 0, "target_host": "127.0.0.1", "target_port": {},
            "metric_blocklist": ["prefix1", "prefix2"], "multi_thread": true}}"#,
        agent.address().port()
    );
    fs::write(&file, config).unwrap();
    let explained = program().args(["explain", "prefix2.x"]).env("PROXY_CONFIG_FILE", &file).output().unwrap();
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert_eq!(explained, "prefix2.x: dropped by metric_blocklist, entry 2: \"prefix2\"\n");

    let mut filter = Filter::start_with(folder, &["--config", file.to_str().unwrap()]);
    for number in 0..50 {
        Client::of(&mut filter).send(format!("prefix1.x:1|c\nkept{number}:1|c")); // from many ports, so to all threads
    }
    let mut lines = agent.lines(50);
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 50);
}

#[test]
fn an_allow_list_forwards_nothing_else() {
    let agent = Agent::new();
    let config =
        "metric_allowlist: [app., web.]\nmetric_allowlist_regex: ['^db[0-9]+$']\nmetric_blocklist: [app.debug]\n";
    let port = agent.address().port();
    let config = format!("listen_port: 0\ntarget_host: 127.0.0.1\ntarget_port: {port}\n{config}");
    let mut filter = Filter::start_with_file("filter.yaml", &config, &[]);
    Client::of(&mut filter).send("app.a:1|c\napp.debug:1|c\nother:1|c\ndb12:1|c\nweb.b:1|c");
    assert_eq!(agent.lines(3), ["app.a:1|c", "db12:1|c", "web.b:1|c"]);
    filter.wait_for_metric("lines_forwarded_total", 3);
    assert_eq!(filter.metric(r#"lines_dropped_total{rule="metric_allowlist"}"#), 1);
}

#[test]
fn a_regular_expression_drops() {
    let agent = Agent::new();
    let port = agent.address().port();
    let config = format!(
        "listen_port: 0\ntarget_host: 127.0.0.1\ntarget_port: {port}\nmetric_blocklist_regex: ['\\.p[0-9]+$']\n"
    );
    let mut filter = Filter::start_with_file("filter.yml", &config, &[]);
    Client::of(&mut filter).send("a.p99:1|g\na.mean:1|g");
    assert_eq!(agent.lines(1), ["a.mean:1|g"]);
    filter.wait_for_metric("lines_forwarded_total", 1);
    assert_eq!(filter.metric(r#"lines_dropped_total{rule="metric_blocklist_regex"}"#), 1);
}

#[test]
fn lines_of_many_datagrams_share_one_up_to_the_limit() {
    let agent = Agent::new();
    let mut filter = Filter::start(&agent, &["--max-datagram-bytes", "50", "--pack-delay-us", "1000000"]);
    let client = Client::of(&mut filter);
    filter.stop(); // so that all of them are there at once
    (10..40).for_each(|number| client.send(format!("m{number}:1|c")));
    filter.signal(Signal::SIGCONT);

    let datagrams: Vec<Vec<u8>> = (0..5).map(|_| agent.datagram()).collect();
    assert!(datagrams.iter().all(|datagram| datagram.len() <= 50));
    let lines: Vec<String> = datagrams
        .iter()
        .flat_map(|datagram| datagram.split(|byte| *byte == b'\n'))
        .map(|line| line.escape_ascii().to_string())
        .collect();
    assert_eq!(lines, (10..40).map(|number| format!("m{number}:1|c")).collect::<Vec<_>>());
}

#[test]
fn without_a_delay_each_datagram_is_forwarded_by_itself() {
    let agent = Agent::new();
    let mut filter = Filter::start(&agent, &["--pack-delay-us", "0", "--block", "no"]);
    let client = Client::of(&mut filter);
    for datagram in ["a:1|c\nb:1|c", "no:1|c", "c:1|c"] {
        client.send(datagram);
    }
    assert_eq!((agent.datagram(), agent.datagram()), (b"a:1|c\nb:1|c".to_vec(), b"c:1|c".to_vec()));
}

#[test]
fn a_dry_run_forwards_everything_and_counts() {
    let agent = Agent::new();
    let mut filter = Filter::start(&agent, &["--block", "no", "--dry-run"]);
    Client::of(&mut filter).send("a:1|c\nno:1|c");
    assert_eq!(agent.lines(2), ["a:1|c", "no:1|c"]);
    filter.wait_for_metric(r#"lines_would_drop_total{rule="metric_blocklist"}"#, 1);
    assert_eq!(filter.metric(r#"lines_dropped_total{rule="metric_blocklist"}"#), 0);
}

#[test]
fn ipv6_passes_both_ways() {
    let agent = Agent::at("[::1]:0".parse().unwrap());
    let port = agent.address().port().to_string();
    let args = ["--listen-host", "::1", "--listen-port", "0", "--target-host", "::1", "--target-port", &port];
    let mut filter = Filter::start_with(tempfile::tempdir().unwrap(), &args);
    assert!(filter.address().is_ipv6());
    Client::of(&mut filter).send("a:1|c");
    assert_eq!(agent.lines(1), ["a:1|c"]);
}

#[test]
fn unix_sockets_pass_both_ways_and_vanish_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("in.sock"), folder.path().join("agent.sock"));
    drop(UnixDatagram::bind(&ours).unwrap()); // as one that was killed leaves it
    let agent = UnixDatagram::bind(&theirs).unwrap();
    agent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let args =
        ["--listen-socket", ours.to_str().unwrap(), "--target-socket", theirs.to_str().unwrap(), "--block", "no"];
    let mut filter = Filter::start_with(tempfile::tempdir().unwrap(), &args);
    assert_eq!(fs::metadata(&ours).unwrap().permissions().mode() & 0o777, 0o722);

    let client = UnixDatagram::unbound().unwrap();
    client.connect(&ours).unwrap();
    // Many more than the sockets' queues take: the client waits, the agent reads meanwhile, and nothing is lost.
    let sender = thread::spawn(move || {
        (0..1000).for_each(|number| _ = client.send(format!("m{number}:1|c\nno:1|c").as_bytes()).unwrap());
    });
    let mut lines = Vec::new();
    let mut buffer = [0; 9000];
    while lines.len() < 1000 {
        let length = received(|| agent.recv(&mut buffer)).unwrap();
        lines.extend(std::str::from_utf8(&buffer[..length]).unwrap().split('\n').map(str::to_owned));
    }
    sender.join().unwrap();
    assert_eq!(lines, (0..1000).map(|number| format!("m{number}:1|c")).collect::<Vec<_>>());

    filter.signal(Signal::SIGTERM);
    assert!(filter.end().success());
    assert!(!ours.exists());
}

#[test]
fn what_has_arrived_is_forwarded_before_the_end() {
    let agent = Agent::new();
    let mut filter = Filter::start(&agent, &["--pack-delay-us", "1000000"]);
    let client = Client::of(&mut filter);
    filter.stop();
    (0..200).for_each(|number| client.send(format!("m{number}:1|c")));
    filter.signal(Signal::SIGTERM);
    filter.signal(Signal::SIGCONT);
    assert_eq!(agent.lines(200).len(), 200);
    assert!(filter.end().success());
}

#[test]
fn explain_names_the_rule() {
    let output = output(&["explain", "debug.x", "--target-host", "x", "--target-port", "1", "--block", "a,debug."]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "debug.x: dropped by metric_blocklist, entry 2: \"debug.\"\n"
    );
}
