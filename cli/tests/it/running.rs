//! `up`: starting, being refused, stopping, coming back.

use std::fs;
use std::net::TcpListener;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cluster::{Cluster, dragnet, free_port, is_alive, processes_of, stderr, wait_for};

#[test]
fn a_second_up_in_the_same_folder_is_refused() {
    let cluster = Cluster::start();
    let output = dragnet(&["up", "--dir", cluster.data().to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains(&format!("process id {}", cluster.up_pid())), "{text}");
    assert!(text.contains("--dir"), "{text}");
}

#[test]
fn a_taken_port_is_named_before_anything_starts() {
    let port = free_port(3);
    let taken = TcpListener::bind(("127.0.0.1", port + 1)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let args = ["up", "--dir", dir.path().to_str().unwrap(), "--port", &port.to_string()];
    let output = dragnet(&args).output().unwrap();
    assert!(!output.status.success());
    let text = stderr(&output);
    assert!(text.contains(&format!("port {} ", port + 1)) && text.contains("--port"), "{text}");
    assert!(!dir.path().join("up.json").exists());
    drop(taken);
}

#[test]
fn everything_is_there_again_after_a_stop_and_a_start() {
    let mut cluster = Cluster::start();
    let files = cluster.folder("files", &[("a.txt", "hello")]);
    cluster.ok(&["corpus", "add", "some", files.to_str().unwrap()]);
    assert!(cluster.stop().success());
    assert!(processes_of(&cluster.data()).is_empty());

    cluster.up(&[]);
    let corpora = cluster.objects(&["corpus", "list"]);
    assert_eq!(corpora.len(), 1);
    assert_eq!(corpora[0]["name"], "some");
}

#[test]
fn a_cluster_keeps_its_ports() {
    let mut cluster = Cluster::start();
    cluster.stop();
    let output = dragnet(&["up", "--dir", cluster.data().to_str().unwrap(), "--port", "1234"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains(&cluster.port.to_string()), "{}", stderr(&output));
}

#[test]
fn no_process_outlives_an_up_that_was_killed() {
    let mut cluster = Cluster::start();
    let children = processes_of(&cluster.data());
    assert!(!children.is_empty());
    cluster.kill_up();
    wait_for("children end with `up`", || processes_of(&cluster.data()).is_empty());
    // The folder is free again at once, and its ports as soon as the children are gone.
    cluster.up(&[]);
}

#[test]
fn a_process_that_dies_is_started_again() {
    let cluster = Cluster::start();
    let member = cluster.data().join("orchestrator-1");
    let first = processes_of(&member)[0];
    kill_process(Pid::from_raw(first.cast_signed()).unwrap(), Signal::KILL).unwrap();
    wait_for("another process runs in its place", || {
        processes_of(&member).iter().any(|pid| *pid != first && is_alive(*pid))
    });
    wait_for("it leads again", || cluster.run(&["status"]).status.success());
    assert!(
        cluster.up_says().contains("orchestrator-1 ended (signal 9), starting it again in 1 s"),
        "{}",
        cluster.up_says()
    );
}

#[test]
fn three_orchestrators_go_on_without_one_and_say_which() {
    let cluster = Cluster::start_with(&[]);
    let objects = cluster.objects(&["status"]);
    assert_eq!(objects[0]["cluster"]["voters"], 3);
    assert_eq!(objects[0]["cluster"]["reachable_voters"], 3);
    let leader = objects[0]["cluster"]["leader_id"].clone();
    let members: Vec<&Value> = objects[1..].iter().map(|object| &object["member"]).collect();
    assert_eq!(members.len(), 3);
    let follower = members.iter().find(|member| member["node_id"] != leader).unwrap();
    assert_eq!(follower["role"], "follower");

    // Stopped and not killed, as `up` would start it again.
    let address = follower["address"].as_str().unwrap();
    let number = address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap() - cluster.port + 1;
    let pid = processes_of(&cluster.data().join(format!("orchestrator-{number}")))[0];
    let signal = |signal| kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
    signal(Signal::STOP);
    wait_for("each of its threads stands", || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let is_stopped = |stat: String| stat.rsplit_once(") ").is_some_and(|(_name, rest)| rest.starts_with('T'));
        tasks.flatten().all(|task| fs::read_to_string(task.path().join("stat")).is_ok_and(is_stopped))
    });
    let text = cluster.ok(&["status"]);
    signal(Signal::CONT);
    assert!(text.contains("2 of 3 voters answer"), "{text}");
    assert!(text.contains(&format!("{address} does not answer")), "{text}");
}
