//! The real thing: `redis-server`, alone or as a cluster of two.

use std::process::Command;

use tempfile::TempDir;

use crate::process::{Running, free_ports, program, wait_for};
use crate::scenario::{Data, Pair};
use crate::wire::{Connection, request};

pub(crate) struct Redis {
    pub(crate) port: u16,
    running: Running,
    _folder: TempDir,
}

impl Redis {
    /// `None` where there is no `redis-server`.
    fn start(port: u16, more: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program("redis-server")?);
        // An empty `save` keeps it from writing snapshots; it knows no other way to be told so.
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()]);
        command.arg("--dir").arg(folder.path()).args(more);
        let running = Running::start(command, &folder.path().join("redis.log"));
        let mut redis = Self { port, running, _folder: folder };
        redis.running.wait_until("redis answers", || {
            Connection::open(port).and_then(|mut connection| connection.ask(&["PING"])).is_ok()
        });
        Some(redis)
    }

    /// One server that holds `data` and refuses to write, as ours does: a replica whose master is nowhere.
    pub(crate) fn holding(data: &Data, password: Option<&str>) -> Option<Self> {
        let [port] = free_ports();
        let redis = Self::start(port, &[])?;
        let mut connection = Connection::open(port).unwrap();
        for pair in data.all() {
            set(&mut connection, pair);
        }
        ask(&mut connection, &["SELECT", &data.other_db.db.to_string()]);
        set(&mut connection, &data.other_db.pair);
        ask(&mut connection, &["REPLICAOF", "127.0.0.1", "1"]); // nothing listens on port 1
        if let Some(password) = password {
            ask(&mut connection, &["CONFIG", "SET", "requirepass", password]);
        }
        Some(redis)
    }

    /// Two servers with half of the hash slots each.
    pub(crate) fn cluster(data: &Data) -> Option<[Self; 2]> {
        let [first, second, first_bus, second_bus] = free_ports();
        let start = |port, bus: u16| {
            // Every slot is always served here; the time-out keeps a slow machine from thinking that a node failed.
            let bus = bus.to_string();
            Self::start(port, &["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "60000"])
        };
        let nodes = [start(first, first_bus)?, start(second, second_bus)?];
        let mut connections = [first, second].map(|port| Connection::open(port).unwrap());
        let [one, two] = &mut connections;
        ask(one, &["CLUSTER", "SET-CONFIG-EPOCH", "1"]);
        ask(two, &["CLUSTER", "SET-CONFIG-EPOCH", "2"]);
        ask(one, &["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
        ask(two, &["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
        ask(one, &["CLUSTER", "MEET", "127.0.0.1", &second.to_string(), &second_bus.to_string()]);
        let met = wait_for(|| {
            connections.iter_mut().all(|connection| {
                let info = connection.ask(&["CLUSTER", "INFO"]).unwrap().text();
                let slots = connection.ask(&["CLUSTER", "SLOTS"]).unwrap();
                info.contains("cluster_state:ok") && slots.items().len() == 2
            })
        });
        assert!(met, "the nodes of a cluster of redis do not meet");
        let [one, two] = &mut connections;
        for pair in data.all() {
            let parts = [b"SET".as_slice(), &pair.key.0, &pair.value.0];
            let is_elsewhere = one.ask(&parts).unwrap().text().starts_with("MOVED");
            assert!(!is_elsewhere || !two.ask(&parts).unwrap().is_error());
        }
        Some(nodes)
    }
}

fn set(connection: &mut Connection, pair: &Pair) {
    connection.send(&request(&[b"SET".as_slice(), &pair.key.0, &pair.value.0])).unwrap();
    assert_eq!(connection.reply().unwrap().text(), "OK");
}

fn ask(connection: &mut Connection, parts: &[&str]) {
    let reply = connection.ask(parts).unwrap();
    assert!(!reply.is_error(), "{parts:?}: {}", reply.text());
}
