//! Peers that send nonsense, too much, too little, or do not read.

use super::world::{Server, directory, request, until};

#[test]
fn requests_that_cannot_be_read_end_the_connection_with_a_reason() {
    let server = Server::of_a_thousand(&[]);
    let long = "x".repeat(70_000);
    for (bytes, reply) in [
        ("*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("*10000000\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("*2147483648\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("*1\r\n$1073741824\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("*1\r\n:5\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
        ("GET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (long.as_str(), "-ERR Protocol error: too big inline request\r\n"),
    ] {
        let mut client = server.connect();
        client.send("PING\r\n");
        client.send(bytes);
        assert_eq!(client.rest(), format!("+PONG\r\n{reply}"), "{:.40}", bytes);
    }
    server.connect().expect("GET key:00001", "$10\r\nvalue of 1\r\n");
    assert_eq!(server.metric("dragnet_kv_closed_connections_total{reason=\"malformed\"}"), 8.0);
}

#[test]
fn announcements_of_much_take_no_memory() {
    let server = Server::of_a_thousand(&[]);
    server.connect().expect("PING", "+PONG\r\n");
    let before = server.resident_bytes();
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let mut client = server.connect();
            client.send("*1000000\r\n$3\r\nGET\r\n$536870912\r\nx");
            client
        })
        .collect();
    server.connect().expect("PING", "+PONG\r\n");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 20 << 20, "{} connections took {grown} bytes", clients.len());
}

#[test]
fn before_the_password_little_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "open sesame\n").unwrap();
    let server = Server::of_a_thousand(&["--password-file", password.to_str().unwrap()]);
    let mut client = server.connect();
    client.expect("GET key:00001", "-NOAUTH Authentication required.\r\n");
    client.expect("SET a b", "-NOAUTH Authentication required.\r\n");
    client.expect("HELLO 3 AUTH default wrong", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    client.expect("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    assert!(client.ask("HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    client.expect("AUTH \"open sesame\"", "+OK\r\n");
    client.expect("GET key:00001", "$10\r\nvalue of 1\r\n");
    client.expect("RESET", "+RESET\r\n");
    client.expect("GET key:00001", "-NOAUTH Authentication required.\r\n");
    assert_eq!(server.metric("dragnet_kv_wrong_passwords_total"), 2.0);

    for (bytes, reply) in [
        ("*11\r\n", "-ERR Protocol error: unauthenticated multibulk length\r\n"),
        ("*2\r\n$3\r\nGET\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"),
    ] {
        let mut client = server.connect();
        client.send(bytes);
        assert_eq!(client.rest(), reply);
    }
}

#[test]
fn a_request_that_never_becomes_whole_is_given_up() {
    let server = Server::of_a_thousand(&["--stall-timeout", "1s"]);
    let mut patient = server.connect();
    patient.expect("PING", "+PONG\r\n");
    let mut half = server.connect();
    half.send("*2\r\n$3\r\nGET\r\n$9\r\nkey:0");
    assert_eq!(half.rest(), "");
    assert_eq!(server.metric("dragnet_kv_closed_connections_total{reason=\"stalled\"}"), 1.0);
    patient.expect("PING", "+PONG\r\n"); // who is at rest is not stalled
}

#[test]
fn a_hundred_thousand_requests_at_once_are_answered_in_order() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    let mut reader = server.connect();
    reader.stream = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let all: Vec<u8> =
            (0..100_000).flat_map(|number| request(&["GET", &format!("key:{:05}", number % 1000)])).collect();
        client.send(all);
        client
    });
    for number in 0..100_000 {
        let value = format!("value of {}", number % 1000);
        assert_eq!(reader.reply(), format!("${}\r\n{value}\r\n", value.len()));
    }
    sending.join().unwrap();
}

#[test]
fn who_does_not_read_holds_little_and_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("large");
    directory(&records, [("large", vec![b'x'; 100_000])]);
    let server = Server::start(&["--rocksdb", records.to_str().unwrap(), "--stall-timeout", "2s"]);
    let before = server.resident_bytes();
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut client = server.connect();
        client.send(request(&["GET", "large"]).repeat(2_000)); // 200 MB of replies each
        deaf.push(client);
    }
    let mut client = server.connect();
    for _ in 0..100 {
        assert_eq!(client.ask("STRLEN large"), ":100000\r\n");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes");
    until("those who do not read are given up", || {
        (server.metric("dragnet_kv_closed_connections_total{reason=\"stalled\"}") == 20.0).then_some(())
    });
}

#[test]
fn a_reply_larger_than_may_wait_ends_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("large");
    directory(&records, [("large", vec![b'x'; 1_000_000])]);
    let server = Server::start(&["--rocksdb", records.to_str().unwrap(), "--output-limit", "2MiB"]);
    let mut client = server.connect();
    client.expect("MGET large", &format!("*1\r\n$1000000\r\n{}\r\n", "x".repeat(1_000_000)));
    client.send(request(&[&["MGET"][..], &["large"; 100]].concat()));
    assert_eq!(client.rest(), "");
    assert_eq!(server.metric("dragnet_kv_closed_connections_total{reason=\"output\"}"), 1.0);
    server.connect().expect("STRLEN large", ":1000000\r\n");
}

#[test]
fn one_request_may_hold_many_keys() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    let keys: Vec<String> = (0..100_000).map(|number| format!("key:{:05}", number % 2000)).collect();
    let mut arguments = vec!["EXISTS"];
    arguments.extend(keys.iter().map(String::as_str));
    client.send(request(&arguments));
    assert_eq!(client.reply(), ":50000\r\n");
    arguments[0] = "MGET";
    client.send(request(&arguments));
    let reply = client.reply();
    assert!(reply.starts_with("*100000\r\n$10\r\nvalue of 0\r\n"), "{reply:.60}");
    assert_eq!(reply.matches("$-1\r\n").count(), 50_000);
}
