//! How connections begin and end.

use std::io::Write as _;

use super::world::{Server, request, until};

#[test]
fn too_many_connections_are_told_so() {
    let server = Server::of_a_thousand(&["--max-connections", "2"]);
    let (mut first, mut second) = (server.connect(), server.connect());
    first.expect("PING", "+PONG\r\n");
    second.expect("PING", "+PONG\r\n");
    assert_eq!(server.connect().rest(), "-ERR max number of clients reached\r\n");
    assert_eq!(server.metric("dragnet_kv_rejected_connections_total"), 1.0);
    drop(first);
    until("there is room again", || {
        let mut third = server.connect();
        third.stream.write_all(b"PING\r\n").ok()?;
        (third.rest_or_reply() == "+PONG\r\n").then_some(())
    });
}

#[test]
fn who_asks_nothing_is_let_go() {
    let server = Server::of_a_thousand(&["--idle-timeout", "1s"]);
    let mut client = server.connect();
    assert_eq!(client.rest(), "");
    assert_eq!(server.metric("dragnet_kv_closed_connections_total{reason=\"idle\"}"), 1.0);
    assert_eq!(server.metric("dragnet_kv_open_connections"), 0.0);
}

#[test]
fn quit_is_answered_and_what_follows_is_not() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    client.send("PING\r\nQUIT\r\nPING\r\n");
    assert_eq!(client.rest(), "+PONG\r\n+OK\r\n");
}

#[test]
fn a_peer_that_ends_its_side_still_gets_its_replies() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    client.send("GET key:00001\r\nGET key:00002\r\n");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.rest(), "$10\r\nvalue of 1\r\n$10\r\nvalue of 2\r\n");
}

#[test]
fn requests_in_single_bytes_are_answered() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    client.stream.set_nodelay(true).unwrap();
    for byte in request(&["GET", "key:00042"]).repeat(3) {
        client.send([byte]);
    }
    for _ in 0..3 {
        assert_eq!(client.reply(), "$11\r\nvalue of 42\r\n");
    }
}

#[test]
fn told_to_end_it_answers_what_was_asked_and_ends_well() {
    let mut server = Server::of_a_thousand(&[]);
    let mut idle = server.connect();
    idle.expect("PING", "+PONG\r\n");
    server.terminate();
    assert_eq!(idle.rest(), "");
    assert!(server.ended().success(), "{}", server.log());
}

#[test]
fn who_does_not_read_cannot_keep_it_from_ending() {
    let mut server = Server::of_a_thousand(&["--drain", "1s"]);
    let mut deaf = server.connect();
    deaf.send(request(&[&["MGET"][..], &["key:00001"; 1000]].concat()).repeat(200));
    server.terminate();
    assert!(server.ended().success(), "{}", server.log());
}
