//! Hash slots over several nodes.

use super::world::Server;

const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";

fn topology(epoch: u64, first: &str) -> String {
    format!(
        r#"{{"epoch":{epoch},"nodes":[{{"id":"{FIRST}","host":"kv-0.kv","port":6379,"slots":[{first}]}},
            {{"id":"{SECOND}","host":"kv-1.kv","port":6379,"slots":[[8192,16383]]}}]}}"#
    )
}

fn node(topology: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("topology.json");
    std::fs::write(&path, topology).unwrap();
    let server = Server::of_a_thousand(&["--cluster-topology", path.to_str().unwrap(), "--cluster-node", FIRST]);
    (folder, server)
}

#[test]
fn a_node_alone_answers_for_all_slots() {
    let server = Server::of_a_thousand(&[]);
    let mut client = server.connect();
    let port = server.address.port();
    let slots = client.ask("CLUSTER SLOTS");
    assert!(
        slots.starts_with(&format!("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$40\r\n")),
        "{slots}"
    );
    assert!(client.ask("CLUSTER INFO").contains("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"));
    let nodes = client.ask("CLUSTER NODES");
    assert!(nodes.contains(" myself,master - 0 0 0 connected 0-16383\n"), "{nodes}");
    client.expect("CLUSTER KEYSLOT foo", ":12182\r\n");
    client.expect("MGET key:00001 key:00002", "*2\r\n$10\r\nvalue of 1\r\n$10\r\nvalue of 2\r\n");
}

#[test]
fn a_key_of_another_node_is_answered_with_its_name() {
    let (_folder, server) = node(&topology(7, "[0,8191]"));
    let mut client = server.connect();
    client.expect("GET foo", "-MOVED 12182 kv-1.kv:6379\r\n");
    client.expect("GET bar", "$-1\r\n");
    client.expect("MGET foo bar", "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    client.expect("SELECT 1", "-ERR SELECT is not allowed in cluster mode\r\n");
    client.expect("READONLY", "+OK\r\n");
    client.expect("GET foo", "-MOVED 12182 kv-1.kv:6379\r\n");
    let slots = client.ask("CLUSTER SLOTS");
    assert!(slots.starts_with("*2\r\n*3\r\n:0\r\n:8191\r\n*4\r\n$7\r\nkv-0.kv\r\n:6379\r\n"), "{slots}");
    assert!(client.ask("CLUSTER SHARDS").starts_with("*2\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:8191\r\n"));
    client.expect("CLUSTER MYID", &format!("$40\r\n{FIRST}\r\n"));
    assert!(client.ask("HELLO").contains("cluster"));
}

#[test]
fn slots_of_nobody_are_down() {
    let (_folder, server) = node(&topology(7, "[0,100]"));
    server.connect().expect("GET bar", "-CLUSTERDOWN Hash slot not served\r\n");
    assert!(server.connect().ask("CLUSTER INFO").contains("cluster_state:fail"));
}

#[test]
fn a_newer_topology_is_taken_and_an_older_is_not() {
    let (folder, server) = node(&topology(7, "[0,100]"));
    let mut client = server.connect();
    client.expect("GET bar", "-CLUSTERDOWN Hash slot not served\r\n");
    let (status, body) = server.admin("PUT", "/topology", &topology(6, "[0,8191]"));
    assert!(status >= 400 && body.contains("epoch 6 is not newer than 7"), "{status} {body}");
    client.expect("GET bar", "-CLUSTERDOWN Hash slot not served\r\n");
    assert_eq!(server.admin("PUT", "/topology", &topology(8, "[0,8191]")).0, 200);
    client.expect("GET bar", "$-1\r\n");
    std::fs::write(folder.path().join("topology.json"), topology(9, "[0,100]")).unwrap();
    super::world::until("the file is read again", || (client.ask("GET bar").starts_with("-CLUSTERDOWN")).then_some(()));
}
