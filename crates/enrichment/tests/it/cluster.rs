use std::time::Duration;

use enrichment::{Answer, Datasets, Reason};
use tokio::time::{Instant, sleep};

use crate::server::{PATIENCE, Server, datasets, found, missing, name, options, until};

/// Two real nodes that share the slots: half each.
struct Cluster {
    nodes: [Server; 2],
}

impl Cluster {
    async fn start() -> Self {
        let flags =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "60000", "--cluster-require-full-coverage", "no"];
        let nodes = [Server::start(&flags).await, Server::start(&flags).await];
        let () = nodes[0].ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]).await;
        let () = nodes[1].ask(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]).await;
        let () = nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &nodes[1].port.to_string()]).await;
        let begun = Instant::now();
        for node in &nodes {
            loop {
                let info: String = node.ask(&["CLUSTER", "INFO"]).await;
                if info.contains("cluster_state:ok") && info.contains("cluster_slots_assigned:16384") {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "the cluster does not form: {info}");
                sleep(Duration::from_millis(20)).await;
            }
        }
        Self { nodes }
    }

    /// Puts keys on their nodes: `k0` to `k99`.
    async fn load(&self) -> Vec<String> {
        let keys: Vec<_> = (0..100).map(|number| format!("k{number}")).collect();
        for key in &keys {
            self.nodes[Self::of(key)].set(key, &format!("value of {key}")).await;
        }
        keys
    }

    /// Which of the two nodes has a key.
    fn of(key: &str) -> usize {
        usize::from(resp::hash_slot(key.as_bytes()) >= 8192)
    }

    /// Knows the first node only, until it asks.
    fn datasets(&self) -> Datasets {
        datasets(&format!("{}?cluster=true", self.nodes[0].address()), options())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_asked_of_the_node_that_has_them() {
    let cluster = Cluster::start().await;
    let mut keys = cluster.load().await;
    keys.push("nobody".to_owned());
    let datasets = cluster.datasets();
    let answers = datasets.lookup(&name(), &keys).await;
    for (key, answer) in keys.iter().zip(&answers).take(100) {
        assert_eq!(*answer, found(&format!("value of {key}")));
    }
    assert_eq!(answers[100], missing());
    for node in &cluster.nodes {
        let told: String = node.ask(&["INFO", "errorstats"]).await;
        assert!(!told.contains("MOVED") && !told.contains("CROSSSLOT"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_a_node_costs_its_keys_alone() {
    let cluster = Cluster::start().await;
    let keys = cluster.load().await;
    let datasets = cluster.datasets();
    datasets.lookup(&name(), &keys).await;
    let Cluster { nodes: [first, second] } = cluster;
    drop(second);
    for _ in 0..6 {
        let answers = datasets.lookup(&name(), &keys).await;
        for (key, answer) in keys.iter().zip(answers) {
            match Cluster::of(key) {
                0 => assert_eq!(answer, found(&format!("value of {key}"))),
                _ => assert!(matches!(answer, Answer::Unavailable(_)), "{key}: {answer:?}"),
            }
        }
    }
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_moved_are_followed_in_the_same_lookup() {
    let cluster = Cluster::start().await;
    let keys = cluster.load().await;
    let datasets = cluster.datasets();
    datasets.lookup(&name(), &keys).await;
    // The second node takes a slot over, and then has other data in it.
    let key = keys.iter().find(|key| Cluster::of(key) == 0).unwrap();
    let slot = resp::hash_slot(key.as_bytes()).to_string();
    let id: String = cluster.nodes[1].ask(&["CLUSTER", "MYID"]).await;
    let _: i64 = cluster.nodes[0].ask(&["DEL", key]).await;
    // What the first node still says of the slot is not believed by one that imports it.
    let from: String = cluster.nodes[0].ask(&["CLUSTER", "MYID"]).await;
    let () = cluster.nodes[1].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from]).await;
    for node in [1, 0] {
        let () = cluster.nodes[node].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]).await;
    }
    cluster.nodes[1].set(key, "moved").await;
    let answers = datasets.lookup(&name(), &[key]).await;
    assert_eq!(answers, [found("moved")]);
    assert_eq!(datasets.metrics().counts(&name()).unavailable, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_nobody_has_is_named_until_somebody_has_it() {
    let cluster = Cluster::start().await;
    cluster.load().await;
    let slot = resp::hash_slot(b"k1").to_string();
    let owner = Cluster::of("k1");
    let () = cluster.nodes[owner].ask(&["CLUSTER", "DELSLOTS", &slot]).await;
    let datasets = datasets(&format!("{}?cluster=true", cluster.nodes[owner].address()), options());
    let answers = datasets.lookup(&name(), &["k1"]).await;
    assert!(matches!(answers[..], [Answer::Unavailable(Reason::NotServed { .. })]), "{answers:?}");
    let () = cluster.nodes[owner].ask(&["CLUSTER", "ADDSLOTS", &slot]).await;
    until(&datasets, &["k1"], |answers| matches!(answers, [Answer::Found { .. }])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_that_is_there_will_do_to_begin_with() {
    let cluster = Cluster::start().await;
    let keys = cluster.load().await;
    let gone = crate::server::free_port();
    let place = format!("127.0.0.1:{gone},{}?cluster=true", cluster.nodes[1].address());
    let answers = datasets(&place, options()).lookup(&name(), &keys).await;
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Found { .. })), "{answers:?}");
}
