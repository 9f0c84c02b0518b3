//! Several datasets in one server.

use super::world::{Server, directory};

#[test]
fn datasets_are_found_by_database_and_by_prefix() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [("files", "a file"), ("domains", "a domain"), ("special", "a special file")] {
        directory(&folder.path().join(name), [("1", value)]);
    }
    let at = |name: &str, more: &str| format!("{}{more}", folder.path().join(name).display());
    let (files, special, domains) = (at("files", ",prefix=f:"), at("special", ",prefix=f:s:"), at("domains", ",db=3"));
    let server = Server::start(&["--rocksdb", &files, "--rocksdb", &special, "--rocksdb", &domains]);
    let mut client = server.connect();
    client.expect("GET f:1", "$6\r\na file\r\n");
    client.expect("GET f:s:1", "$14\r\na special file\r\n");
    client.expect("MGET f:1 f:s:1 1", "*3\r\n$6\r\na file\r\n$14\r\na special file\r\n$-1\r\n");
    client.expect("GET 1", "$-1\r\n");
    client.expect("KEYS *", "*2\r\n$5\r\nf:s:1\r\n$3\r\nf:1\r\n");
    client.expect("SELECT 3", "+OK\r\n");
    client.expect("GET 1", "$8\r\na domain\r\n");
    client.expect("GET f:1", "$-1\r\n");
    client.expect("SELECT 15", "+OK\r\n");
    client.expect("GET 1", "$-1\r\n");
    client.expect("SELECT 16", "-ERR DB index is out of range\r\n");
    client.expect("SELECT x", "-ERR value is not an integer or out of range\r\n");
    client.expect("KV.VERSION", "-ERR several datasets are served: name one\r\n");
    client.expect("KV.VERSION files", "$9\r\ndirectory\r\n");
    client.expect("KV.VERSION nothing", "-ERR no such dataset\r\n");
    assert!(client.ask("KV.DATASETS").starts_with("*3\r\n"));
}

#[test]
fn two_datasets_in_one_place_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_kv-server"))
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--rocksdb", &format!("{}/a", folder.path().display())])
        .args(["--rocksdb", &format!("{}/b", folder.path().display())])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("the same database and prefix"));
}

#[test]
fn a_directory_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_kv-server"))
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--rocksdb", &format!("{}/missing", folder.path().display())])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("missing"));
}
