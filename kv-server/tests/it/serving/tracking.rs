//! Caches on the client's side, and switching while clients ask.

use std::sync::Arc;

use clap::Parser as _;
use kv_server::{
    config::{Args, Config},
    server::Server,
};

use super::world::{Connection, directory};

/// A server in this process, so that a version can be switched by hand.
async fn server(folder: &std::path::Path) -> Server {
    let source = format!("{},name=facts", folder.join("1").display());
    let arguments = ["kv-server", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--rocksdb", &source];
    Server::bind(Config::from_args(Args::try_parse_from(arguments).unwrap()).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_caches_is_told_of_a_switch_and_who_does_not_is_not() {
    let folder = tempfile::tempdir().unwrap();
    directory(&folder.path().join("1"), [("key", "old")]);
    directory(&folder.path().join("2"), [("key", "new")]);
    let server = server(folder.path()).await;
    let connect = || Connection::to(server.kv_address());
    let (mut caching, mut plain, mut old) = (connect(), connect(), connect());
    let blocking = tokio::task::spawn_blocking(move || {
        assert!(caching.ask("HELLO 3").starts_with("%7"));
        caching.expect("CLIENT TRACKING ON", "+OK\r\n");
        caching.expect("GET key", "$3\r\nold\r\n");
        plain.expect("GET key", "$3\r\nold\r\n");
        old.expect("CLIENT TRACKING ON", "+OK\r\n"); // RESP2: it could not tell a push from a reply
        (caching, plain, old)
    });
    let (mut caching, mut plain, mut old) = blocking.await.unwrap();

    let catalog = server.catalog().clone();
    let path = folder.path().join("2");
    let opened = Arc::new(catalog.open("facts", &path, None).unwrap());
    let before = catalog.switch("facts", opened).unwrap();
    assert!(before.is_some());
    let blocking = tokio::task::spawn_blocking(move || {
        assert_eq!(caching.reply(), ">2\r\n$10\r\ninvalidate\r\n_\r\n");
        caching.expect("GET key", "$3\r\nnew\r\n");
        plain.expect("GET key", "$3\r\nnew\r\n");
        old.expect("GET key", "$3\r\nnew\r\n");
        caching
    });
    let mut caching = blocking.await.unwrap();

    catalog.rollback("facts").unwrap();
    let blocking = tokio::task::spawn_blocking(move || {
        assert_eq!(caching.reply(), ">2\r\n$10\r\ninvalidate\r\n_\r\n");
        caching.expect("GET key", "$3\r\nold\r\n");
        caching.expect("CLIENT TRACKING OFF", "+OK\r\n");
        caching
    });
    blocking.await.unwrap();
    server.drain(std::time::Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_versions_are_switched() {
    let folder = tempfile::tempdir().unwrap();
    directory(&folder.path().join("1"), [("key", "old")]);
    directory(&folder.path().join("2"), [("key", "new")]);
    let server = server(folder.path()).await;
    let address = server.kv_address();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            tokio::task::spawn_blocking(move || {
                let mut client = Connection::to(address);
                let mut seen = std::collections::BTreeSet::new();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    seen.insert(client.ask("GET key"));
                }
                seen
            })
        })
        .collect();
    let catalog = server.catalog().clone();
    for round in 0..50 {
        let path = folder.path().join(if round % 2 == 0 { "2" } else { "1" });
        let opened = Arc::new(catalog.open("facts", &path, None).unwrap());
        catalog.switch("facts", opened).unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for client in asking {
        for reply in client.await.unwrap() {
            assert!(reply == "$3\r\nold\r\n" || reply == "$3\r\nnew\r\n", "{reply}");
        }
    }
    server.drain(std::time::Duration::from_secs(5)).await.unwrap();
}
