//! Reads that may touch the disk.

use super::world::{Server, directory, numbered, request};

/// So little memory that every record has to be fetched.
fn server_with_little_memory() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("records");
    directory(&records, numbered(20_000));
    let server = Server::start(&["--rocksdb", records.to_str().unwrap(), "--memory", "100KiB", "--read-threads", "2"]);
    (folder, server)
}

#[test]
fn replies_stay_in_order_when_some_have_to_wait() {
    let (_folder, server) = server_with_little_memory();
    let mut client = server.connect();
    let number = |index: usize| index * 7919 % 20_000;
    let mut all = Vec::new();
    for index in 0..5_000 {
        all.extend_from_slice(&request(&["PING", &index.to_string()]));
        all.extend_from_slice(&request(&["GET", &format!("key:{:05}", number(index))]));
    }
    let mut reader = server.connect();
    reader.stream = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || client.send(all));
    for index in 0..5_000 {
        let ping = index.to_string();
        assert_eq!(reader.reply(), format!("${}\r\n{ping}\r\n", ping.len()));
        let value = format!("value of {}", number(index));
        assert_eq!(reader.reply(), format!("${}\r\n{value}\r\n", value.len()));
    }
    sending.join().unwrap();
    assert!(server.metric("dragnet_kv_waits_total") > 0.0);
    assert_eq!(server.metric("dragnet_kv_waiting"), 0.0);
}

#[test]
fn a_transaction_that_has_to_wait_is_answered_once() {
    let (_folder, server) = server_with_little_memory();
    let mut client = server.connect();
    for round in 0..20 {
        let (first, second) = (round * 997, round * 991 + 17);
        client.send(format!("MULTI\r\nGET key:{first:05}\r\nPING\r\nGET key:{second:05}\r\nEXEC\r\nPING\r\n"));
        for expected in ["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "+QUEUED\r\n"] {
            assert_eq!(client.reply(), expected);
        }
        let (first, second) = (format!("value of {first}"), format!("value of {second}"));
        let expected = format!("*3\r\n${}\r\n{first}\r\n+PONG\r\n${}\r\n{second}\r\n", first.len(), second.len());
        assert_eq!(client.reply(), expected);
        assert_eq!(client.reply(), "+PONG\r\n");
    }
}

#[test]
fn who_ends_while_waiting_leaves_nothing_behind() {
    let (_folder, mut server) = server_with_little_memory();
    for index in 0..200 {
        let mut client = server.connect();
        client.send(request(&["GET", &format!("key:{:05}", index * 97)]));
    }
    super::world::until("all are gone", || (server.metric("dragnet_kv_open_connections") == 0.0).then_some(()));
    server.connect().expect("GET key:00001", "$10\r\nvalue of 1\r\n");
    server.terminate();
    assert!(server.ended().success(), "{}", server.log());
}
