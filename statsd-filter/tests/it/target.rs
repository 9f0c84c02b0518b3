//! Agents that are away, come back, or have moved.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::filter::{Agent, Client, Filter, received};

#[test]
fn a_target_that_is_down_is_counted_and_served_again_when_it_is_back() {
    let agent = Agent::new();
    let address = agent.address();
    let mut filter = Filter::start(&agent, &[]);
    let client = Client::of(&mut filter);
    drop(agent);
    filter.wait_until("send errors", |filter| {
        client.send("lost:1|c");
        filter.metric("send_errors_total") >= 3
    });
    filter.wait_for_log("lines are lost");

    let agent = Agent::at(address);
    client.send("back:1|c");
    while !agent.datagram().ends_with(b"back:1|c") {} // it may share a datagram with lines that were sent before
    balance(&mut filter);
}

#[test]
fn an_agent_that_made_its_socket_anew_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let args = ["--listen-host", "127.0.0.1", "--listen-port", "0", "--target-socket", path.to_str().unwrap()];
    let mut filter = Filter::start_with(tempfile::tempdir().unwrap(), &args);
    let client = Client::of(&mut filter);
    client.send("early:1|c");
    filter.wait_for_metric("lines_send_failed_total", 1);

    for life in 0..3 {
        let agent = UnixDatagram::bind(&path).unwrap();
        agent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        client.send(format!("life{life}:1|c"));
        let mut buffer = [0; 100];
        let length = received(|| agent.recv(&mut buffer)).unwrap();
        assert_eq!(&buffer[..length], format!("life{life}:1|c").as_bytes());
        drop(agent);
        std::fs::remove_file(&path).unwrap();
    }
    balance(&mut filter);
}

#[test]
fn an_agent_that_does_not_read_costs_lines_and_never_stops_the_filter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let agent = UnixDatagram::bind(&path).unwrap(); // never reads; its queue takes a few
    let args = [
        "--listen-host",
        "127.0.0.1",
        "--listen-port",
        "0",
        "--target-socket",
        path.to_str().unwrap(),
        "--pack-delay-us",
        "0",
    ];
    let mut filter = Filter::start_with(tempfile::tempdir().unwrap(), &args);
    let client = Client::of(&mut filter);
    filter.wait_until("lost lines", |filter| {
        client.send("a:1|c");
        filter.metric("lines_send_failed_total") >= 3
    });
    drop(agent);
}

#[test]
fn a_name_without_address_is_no_reason_not_to_start() {
    let args =
        ["--listen-host", "127.0.0.1", "--listen-port", "0", "--target-host", "agent.invalid", "--target-port", "8125"];
    let mut filter = Filter::start_with(tempfile::tempdir().unwrap(), &args);
    filter.wait_for_log("leads nowhere yet");
    Client::of(&mut filter).send("a:1|c");
    filter.wait_for_metric("lines_send_failed_total", 1);
}

/// Every line received is accounted for.
fn balance(filter: &mut Filter) {
    filter.wait_until("balanced", |filter| {
        let settled = ["lines_forwarded_total", "lines_send_failed_total"].map(|name| filter.metric(name));
        filter.metric("lines_received_total") == settled.iter().sum::<u64>()
    });
}
