//! Nothing that clients or configurations hold may stop a filter.

use std::fmt::Write;

use crate::filter::{Agent, Client, Filter, output};

#[test]
fn no_datagram_stops_it() {
    let agent = Agent::new();
    let mut filter = Filter::start(&agent, &["--block", "no."]);
    let client = Client::of(&mut filter);
    client.send(b"");
    client.send(b"\n\n\n\n\n\n");
    client.send(b"\xff\xfe\x80:1|c");
    client.send(b"no colon");
    client.send([b'x'; 65_507]);
    client.send(vec![b'\n'; 65_507]);
    client.send("no.x:1|c\n".repeat(7_000));
    client.send(b"end:1|c");

    let mut received = Vec::new();
    while !received.ends_with(b"end:1|c") {
        received.extend(agent.datagram());
        received.push(b'\n');
        received.truncate(received.len() - usize::from(received.ends_with(b"end:1|c\n")));
    }
    assert_eq!(received, b"\xff\xfe\x80:1|c\nno colon\nend:1|c");
    filter.wait_for_metric("lines_forwarded_total", 3);
    let counts =
        ["datagrams_received_total", "lines_received_total", "lines_too_long_total"].map(|name| filter.metric(name));
    assert_eq!(counts, [8, 7_004, 1]);
    assert_eq!(filter.metric(r#"lines_dropped_total{rule="metric_blocklist"}"#), 7_000);
}

#[test]
fn a_million_prefixes_load_and_match() {
    let agent = Agent::new();
    let mut list = String::new();
    for number in 0..1_000_000 {
        write!(list, "\"service.{}.metric.{number}.\",", number % 1000).unwrap();
    }
    let config = format!(
        r#"{{"listen_port": 0, "target_host": "127.0.0.1", "target_port": {}, "metric_blocklist": [{}]}}"#,
        agent.address().port(),
        list.trim_end_matches(',')
    );
    let mut filter = Filter::start_with_file("c.json", &config, &[]);
    Client::of(&mut filter).send("service.7.metric.500007.x:1|c\nservice.7.metric.500008.x:1|c");
    assert_eq!(agent.lines(1), ["service.7.metric.500008.x:1|c"]);
    assert_eq!(filter.metric(r#"rules{list="metric_blocklist"}"#), 1_000_000);

    let status = std::fs::read_to_string(format!("/proc/{}/status", filter.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 300 << 10, "the file has {} KiB, the peak is {peak_kib} KiB", config.len() >> 10);
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let agent = Agent::new();
    let mut first = Filter::start(&agent, &["--multi-thread"]);
    let port = first.address().port().to_string();
    for threads in ["false", "true"] {
        let output = output(&[
            "--listen-port",
            &port,
            "--target-host",
            "127.0.0.1",
            "--target-port",
            "9",
            "--multi-thread",
            threads,
        ]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains(&format!("failed to listen on 127.0.0.1:{port}")) && error.contains("in use"),
            "{error}"
        );
    }
}

#[test]
fn a_socket_that_is_taken_or_no_socket_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken.sock");
    let _other = std::os::unix::net::UnixDatagram::bind(&taken).unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    for (path, reason) in [(&taken, "another process listens"), (&file, "is no socket")] {
        let output =
            output(&["--listen-socket", path.to_str().unwrap(), "--target-host", "127.0.0.1", "--target-port", "9"]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
}

#[test]
fn a_target_that_is_the_filter_itself_is_refused() {
    let output = output(&[
        "--listen-host",
        "0.0.0.0",
        "--listen-port",
        "45871",
        "--target-host",
        "127.0.0.1",
        "--target-port",
        "45871",
    ]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("lines would go round"), "{error}");
}

#[test]
fn a_missing_target_or_file_is_a_usage_error() {
    for (args, reason) in [
        (&["--listen-port", "0"][..], "no target"),
        (&["--target-host", "x"], "belong together"),
        (&["--target-host", "x", "--target-port", "1", "--target-socket", "y"], "there is one target"),
        (&["--config", "nowhere.json"], "failed to read nowhere.json"),
    ] {
        let output = output(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}
