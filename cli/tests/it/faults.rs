//! Processes killed in the middle of a sweep of real files by real scanners: nothing is lost, nothing is
//! found twice, and nothing that was not scanned is called clean.

use std::{collections::BTreeSet, fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Cluster, is_alive, processes_of, wait_for};

const FILES: usize = 1_200;

/// Each file has one needle, and enough hay to keep a scanner busy for a moment.
fn fill(folder: &Path) {
    let hay: String = (0..8_000).map(|number| format!("straw{} ", number * 7919 % 8191)).collect();
    fs::create_dir_all(folder).unwrap();
    for number in 0..FILES {
        fs::write(folder.join(format!("{number:04}.txt")), format!("{hay}needle{number:04} {hay}")).unwrap();
    }
}

const RULES: &str = r#"
rule needle
{
    strings:
        $needle = /needle[0-9]{4}/
        $straw = /straw[0-9]{1,5} straw[13579]{5} straw0/
    condition:
        $needle or $straw
}
"#;

/// A cluster with a full corpus, and a ruleset pushed so that a sweep is under way.
fn sweeping(flags: &[&str]) -> Cluster {
    let cluster = Cluster::start_with(flags);
    let files = cluster.dir.path().join("files");
    fill(&files);
    let files = files.to_str().unwrap().to_owned();
    cluster.ok(&["corpus", "add", "files", &files, "--list-every", "1s"]);
    wait_for("the corpus is listed", || {
        let shown = cluster.objects(&["corpus", "show", "files"]);
        shown[0]["files"] == FILES
    });
    let rules = cluster.folder("needles", &[("needles.yar", RULES)]);
    cluster.ok(&["rules", "push", rules.to_str().unwrap()]);
    wait_for("a worker scans", || {
        let worker = worker_of(&cluster);
        children_of(worker).into_iter().any(|scanner| cpu_ticks(scanner) > 3)
    });
    cluster
}

fn check_all_found_once(cluster: &Cluster) {
    cluster.ok(&["hunt", "watch", "--until-caught-up", "--timeout", "90s"]);
    let receipts = cluster.objects(&["receipt"]);
    assert_eq!(receipts.len(), 1);
    let receipt = &receipts[0];
    assert_eq!(receipt["stored_files"], FILES, "{receipt}");
    assert_eq!(receipt["matched"], FILES, "{receipt}");
    assert_eq!(receipt["clean"], 0, "{receipt}");
    let lines = cluster.objects(&["findings"]);
    let paths: BTreeSet<_> = lines.iter().map(|line| line["path"].as_str().unwrap()).collect();
    assert_eq!((lines.len(), paths.len()), (FILES, FILES), "each file once");
    assert!(lines.iter().all(|line| line["rules"].as_array().unwrap().len() == 1));
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

/// The supervisor: a child of `up` that is no orchestrator.
fn worker_of(cluster: &Cluster) -> u32 {
    let is_worker = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("--orchestrators")
    };
    let mut worker = None;
    wait_for("the worker runs", || {
        worker = children_of(cluster.up_pid()).into_iter().find(is_worker);
        worker.is_some()
    });
    worker.unwrap()
}

fn children_of(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat[1] == parent.to_string())).collect()
}

/// User time, in clock ticks.
fn cpu_ticks(pid: u32) -> u64 {
    stat(pid).map_or(0, |stat| stat[11].parse().unwrap())
}

/// What /proc says after the program's name: state, parent, ...
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

#[test]
fn a_worker_killed_in_the_middle_of_a_sweep_loses_and_doubles_nothing() {
    let cluster = sweeping(&["--orchestrators", "1"]);
    let worker = worker_of(&cluster);
    let scanners = children_of(worker);

    kill(worker);

    wait_for("its scanners end with it", || !scanners.iter().any(|scanner| is_alive(*scanner)));
    check_all_found_once(&cluster);
    assert_ne!(worker_of(&cluster), worker);
}

#[test]
fn a_scanner_killed_in_the_middle_of_a_sweep_costs_no_file_its_answer() {
    let cluster = sweeping(&["--orchestrators", "1"]);
    let worker = worker_of(&cluster);

    kill(children_of(worker)[0]);

    check_all_found_once(&cluster);
    assert_eq!(worker_of(&cluster), worker, "the supervisor lives on");
}

#[test]
fn a_leader_killed_in_the_middle_of_a_sweep_loses_and_doubles_nothing() {
    let cluster = sweeping(&[]);
    let mut address = String::new();
    wait_for("a member leads", || {
        let objects = cluster.try_objects(&["status"]).unwrap_or_default();
        let told = objects.first().and_then(|object| object["cluster"]["leader_address"].as_str());
        address = told.unwrap_or_default().to_owned();
        !address.is_empty()
    });
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let leader = cluster.data().join(format!("orchestrator-{}", port - cluster.port + 1));

    kill(processes_of(&leader)[0]);

    check_all_found_once(&cluster);
}

#[test]
fn an_orchestrator_that_lost_its_directory_comes_back_as_a_new_member() {
    let cluster = sweeping(&[]);
    let lost = cluster.data().join("orchestrator-3");

    kill(processes_of(&lost)[0]);
    // `up` waits a second before it starts the member again: at once out of its way, then gone.
    let gone = cluster.dir.path().join("gone");
    fs::rename(&lost, &gone).unwrap();
    fs::remove_dir_all(gone).unwrap();

    wait_for("three voters, one of them new", || {
        let Some(objects) = cluster.try_objects(&["status"]) else { return false };
        let members: Vec<_> = objects.iter().filter_map(|object| object.get("member")).collect();
        let new = members.iter().any(|member| member["node_id"].as_u64().is_some_and(|id| id > 3));
        objects[0]["cluster"]["reachable_voters"] == 3 && members.len() == 3 && new
    });
    check_all_found_once(&cluster);
}
