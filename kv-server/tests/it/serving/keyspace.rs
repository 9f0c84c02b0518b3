//! Commands over all keys.

use std::collections::BTreeSet;

use super::world::{Connection, Server, directory, numbered};

/// All keys that a whole SCAN tells, and how many replies it took.
fn scan(client: &mut Connection, options: &str) -> (Vec<String>, usize) {
    let (mut keys, mut cursor, mut replies) = (Vec::new(), "0".to_owned(), 0);
    loop {
        let reply = client.ask(&format!("SCAN {cursor} {options}"));
        let mut lines = reply.split("\r\n").filter(|line| !line.starts_with(['*', '$']) && !line.is_empty());
        cursor = lines.next().unwrap().to_owned();
        keys.extend(lines.map(str::to_owned));
        replies += 1;
        if cursor == "0" {
            return (keys, replies);
        }
    }
}

#[test]
fn scan_tells_every_key_once() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    let (keys, replies) = scan(&mut client, "");
    let expected: BTreeSet<String> = numbered(1000).map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 1000);
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), expected);
    assert!(replies >= 100, "{replies}");
    assert_eq!(scan(&mut client, "COUNT 1000000").1, 1);
    assert_eq!(scan(&mut client, "MATCH *7 COUNT 100").0.len(), 100);
    assert_eq!(scan(&mut client, "TYPE string COUNT 500").0.len(), 1000);
    assert_eq!(scan(&mut client, "TYPE hash COUNT 500").0.len(), 0);
}

#[test]
fn a_scan_goes_on_from_any_connection_and_over_datasets() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    directory(&first, [("1", "a"), ("2", "b")]);
    directory(&second, [("1", "c"), ("2", "d"), ("3", "e")]);
    let first = format!("{},prefix=a:", first.display());
    let second = format!("{},prefix=b:", second.display());
    let server = Server::start(&["--rocksdb", &first, "--rocksdb", &second]);
    let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let reply = server.connect().ask(&format!("SCAN {cursor} COUNT 1"));
        let mut lines = reply.split("\r\n").filter(|line| !line.starts_with(['*', '$']) && !line.is_empty());
        cursor = lines.next().unwrap().to_owned();
        keys.extend(lines.map(str::to_owned));
        if cursor == "0" {
            break;
        }
    }
    keys.sort();
    assert_eq!(keys, ["a:1", "a:2", "b:1", "b:2", "b:3"]);
}

#[test]
fn cursors_made_up_are_refused() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    for cursor in ["1", "9223372036854775807", "18446744073709551615", "18446744073709551616", "-1", "x", "1x"] {
        client.expect(&format!("SCAN {cursor}"), "-ERR invalid cursor\r\n");
    }
    client.expect("SCAN 0 COUNT 0", "-ERR syntax error\r\n");
    client.expect("SCAN 0 COUNT x", "-ERR value is not an integer or out of range\r\n");
    client.expect("SCAN 0 MATCH", "-ERR syntax error\r\n");
}

#[test]
fn keys_are_found_by_pattern() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    client.expect("KEYS key:0004[12]", "*2\r\n$9\r\nkey:00041\r\n$9\r\nkey:00042\r\n");
    client.expect("KEYS nothing*", "*0\r\n");
    assert!(client.ask("KEYS *").starts_with("*1000\r\n"));
    let key = client.ask("RANDOMKEY");
    assert!(key.starts_with("$9\r\nkey:00"), "{key}");
    let several: BTreeSet<_> = (0..50).map(|_| client.ask("RANDOMKEY")).collect();
    assert!(several.len() > 5, "{several:?}");
}

#[test]
fn keys_of_a_slot_are_counted_and_told() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    let slot = resp::hash_slot(b"key:00042");
    let expected = numbered(1000).filter(|(key, _)| resp::hash_slot(key.as_bytes()) == slot).count();
    client.expect(&format!("CLUSTER COUNTKEYSINSLOT {slot}"), &format!(":{expected}\r\n"));
    assert!(client.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 10")).contains("key:00042"));
    client.expect("CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid slot\r\n");
}

#[test]
fn keys_of_a_slot_are_counted_however_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let keys = || (0..1_000_001).map(|number| format!("key:{number:07}"));
    directory(folder.path(), keys().map(|key| (key, "")));
    let server = Server::start(&["--rocksdb", &format!("{},name=facts", folder.path().display())]);
    let mut client = server.connect();

    for slot in [0, resp::hash_slot(b"key:1000000"), 16_383] {
        let expected = keys().filter(|key| resp::hash_slot(key.as_bytes()) == slot).count();
        assert!(expected > 10, "{expected}");
        client.expect(&format!("CLUSTER COUNTKEYSINSLOT {slot}"), &format!(":{expected}\r\n"));
    }
    client.expect("KEYS *", "-ERR KEYS would look at more than 1000000 keys, use SCAN instead\r\n");
}
