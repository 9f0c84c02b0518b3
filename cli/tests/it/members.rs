//! `dragnet cluster`: nodes that wait for a role become a cluster, and come and go.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{dragnet, free_port, stderr, stdout, wait_for};

struct Nodes {
    dir: TempDir,
    port: u16,
    processes: Vec<Child>,
}

impl Nodes {
    /// Nodes that wait to be told what to be.
    fn start(count: u16) -> Self {
        let mut nodes = Self { dir: tempfile::tempdir().unwrap(), port: free_port(count), processes: Vec::new() };
        for number in 0..count {
            let log = File::create(nodes.dir.path().join(format!("n{number}.log"))).unwrap();
            let process = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_dragnet")).with_file_name("orchestrator"))
                .arg("--dir")
                .arg(nodes.dir.path().join(format!("n{number}")))
                .args(["--listen", &nodes.address(number), "--storage", &nodes.url("objects"), "--await-role"])
                .stdin(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            nodes.processes.push(process);
        }
        for number in 0..count {
            wait_for("the node answers", || {
                let status = dragnet(&["status", "--json", "--cluster", &nodes.address(number)]).output().unwrap();
                stdout(&status).contains("\"reachable\":true")
            });
        }
        nodes
    }

    fn address(&self, number: u16) -> String {
        format!("127.0.0.1:{}", self.port + number)
    }

    fn url(&self, folder: &str) -> String {
        format!("file://{}/{folder}", self.dir.path().display())
    }

    fn run(&self, args: &[&str]) -> Output {
        let members: Vec<_> = (0..3).map(|number| self.address(number)).collect();
        dragnet(args).env("DRAGNET_CLUSTER", members.join(",")).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }

    fn objects(&self, args: &[&str]) -> Vec<Value> {
        let text = self.ok(&[args, &["--json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Ids with roles, by id.
    fn members(&self) -> Vec<(u64, String)> {
        let rows = self.objects(&["cluster", "members"]);
        rows.iter().map(|row| (row["node_id"].as_u64().unwrap(), row["role"].as_str().unwrap().to_owned())).collect()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for process in &mut self.processes {
            drop(process.kill()); // may have ended
            drop(process.wait());
        }
    }
}

#[test]
fn nodes_become_a_cluster_that_is_backed_up_and_restored() {
    let nodes = Nodes::start(4);
    let place = nodes.url("backups");
    assert!(nodes.ok(&["cluster", "found", &nodes.address(0), "--name", "blue"]).contains("cluster blue is founded"));
    assert!(
        nodes.ok(&["cluster", "found", &nodes.address(0), "--name", "blue"]).contains("is node 1"),
        "twice is once"
    );
    let refused = nodes.run(&["cluster", "found", &nodes.address(0), "--name", "green"]);
    assert!(stderr(&refused).contains("node 1 of cluster blue already"), "{}", stderr(&refused));

    assert!(nodes.ok(&["cluster", "add", &nodes.address(1)]).contains("is node 2, a voter"));
    assert!(nodes.ok(&["cluster", "add", &nodes.address(2), "--learner"]).contains("is node 3, a learner"));
    let role = |id: u64| nodes.members().into_iter().find(|(member, _)| *member == id).map(|(_, role)| role);
    assert_eq!(role(3).as_deref(), Some("learner"));
    nodes.ok(&["cluster", "promote", &nodes.address(2)]);
    assert_eq!(nodes.members().iter().filter(|(_, role)| role == "voter").count(), 2, "and one leads");
    assert!(nodes.ok(&["cluster", "members"]).contains("cluster blue"));

    assert!(nodes.ok(&["cluster", "transfer", "--to", "2"]).contains("node 2 leads"));
    assert_eq!(role(2).as_deref(), Some("leader"));
    let unknown = nodes.run(&["cluster", "remove", "99"]);
    assert!(stderr(&unknown).contains("no member has the id or address 99"), "{}", stderr(&unknown));
    nodes.ok(&["cluster", "remove", "2"]);
    assert_eq!((role(2), nodes.members().len()), (None, 2), "a leader hands over before it goes");

    assert_eq!(nodes.objects(&["cluster", "snapshot"]).len(), 2);
    let refused = nodes.run(&["cluster", "backup"]);
    assert!(stderr(&refused).contains("--backup-url"), "{}", stderr(&refused));
    let backup = nodes.objects(&["cluster", "backup", "--to", &place, "--keep", "3"]).remove(0);
    let listed = nodes.objects(&["cluster", "backups", "--at", &place]);
    assert_eq!(listed, [backup["backup"].clone()]);
    assert!(nodes.ok(&["cluster", "backups", "--at", &place]).contains("blue"));

    let restored = nodes.ok(&["cluster", "restore", &nodes.address(3), "--from", &place, "--name", "green"]);
    assert!(restored.contains("of cluster blue") && restored.contains("cluster green is founded"), "{restored}");
    let green = nodes.address(3);
    wait_for("the new cluster leads itself", || {
        let members = dragnet(&["cluster", "members", "--cluster", &green]).output().unwrap();
        members.status.success() && stdout(&members).contains("cluster green")
    });
    let foreign = nodes.run(&["cluster", "add", &green]);
    assert!(stderr(&foreign).contains("is of cluster green, not of blue"), "{}", stderr(&foreign));
}

/// Two of three are gone with their disks, and nobody ever took a backup.
#[test]
fn a_member_that_is_left_alone_writes_what_it_knows_and_a_new_cluster_begins_with_it() {
    let mut nodes = Nodes::start(4);
    nodes.ok(&["cluster", "found", &nodes.address(0), "--name", "blue"]);
    for number in [1, 2] {
        nodes.ok(&["cluster", "add", &nodes.address(number)]);
    }
    let files = nodes.dir.path().join("files");
    std::fs::create_dir(&files).unwrap();
    nodes.ok(&["corpus", "add", "kept", &files.display().to_string()]);
    let survivor = nodes.address(2);
    let has = |address: &str| nodes.objects(&["cluster", "snapshot", address]).remove(0)["index"].as_u64().unwrap();
    let decided = has(&nodes.address(0));
    wait_for("the one that will be left has heard of it", || has(&survivor) >= decided);
    let knows = |address: &str| {
        let corpora = dragnet(&["corpus", "list", "--json", "--cluster", address]).output().unwrap();
        stdout(&corpora).contains("kept")
    };
    for number in [0, 1] {
        nodes.processes[number].kill().unwrap();
        nodes.processes[number].wait().unwrap();
    }
    let place = nodes.url("rescued");
    let alone = dragnet(&["cluster", "backup", "--to", &place, "--cluster", &survivor]).output().unwrap();
    assert!(!alone.status.success(), "nobody leads: {}", stdout(&alone));
    nodes.ok(&["cluster", "backup", "--to", &place, "--member", &survivor]);
    let new = nodes.address(3);
    nodes.ok(&["cluster", "restore", &new, "--from", &place, "--name", "green"]);
    wait_for("the new cluster has what was decided", || knows(&new));
}
