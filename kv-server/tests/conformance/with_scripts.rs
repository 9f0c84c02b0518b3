//! Clients in other languages: a script or program each, which is handed the scenario as a file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::install::{go, node_modules, python, scripts};
use crate::process::{Running, program, skip};
use crate::scenario::Scenario;
use crate::servers::in_all_scenarios;

#[test]
fn redis_py_alone_and_in_a_cluster() {
    let Some(python) = python().unwrap() else { return skip("redis-py", "python3") };
    in_all_scenarios(|scenario| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(&python);
        // -B: no compiled copies beside the script.
        command.arg("-B").arg(scripts().join("python/check.py")).arg(scenario.write(folder.path()));
        run("redis-py", command, scenario, folder.path())
    });
}

#[test]
fn node_redis_alone_and_in_a_cluster() {
    on_node("node-redis", "node-redis.mjs");
}

#[test]
fn ioredis_alone_and_in_a_cluster() {
    on_node("ioredis", "ioredis.mjs");
}

fn on_node(client: &str, script: &str) {
    let Some(modules) = node_modules().unwrap() else { return skip(client, "node or npm") };
    // A module is looked for beside the script that wants it, so scripts and modules meet in a folder of their own.
    let beside: TempDir = tempfile::tempdir().unwrap();
    symlink(modules, beside.path().join("node_modules")).unwrap();
    for file in [script, "scenario.mjs"] {
        fs::copy(scripts().join("node").join(file), beside.path().join(file)).unwrap();
    }
    in_all_scenarios(|scenario| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program("node").expect("found above"));
        command.arg(beside.path().join(script)).arg(scenario.write(folder.path()));
        run(client, command, scenario, folder.path())
    });
}

#[test]
fn go_redis_alone_and_in_a_cluster() {
    with_go("go-redis");
}

#[test]
fn rueidis_alone_and_in_a_cluster() {
    with_go("rueidis");
}

fn with_go(client: &str) {
    let Some(clients) = go().unwrap() else { return skip(client, "go") };
    in_all_scenarios(|scenario| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(&clients);
        command.arg(client).arg(scenario.write(folder.path()));
        run(client, command, scenario, folder.path())
    });
}

fn run(client: &str, command: Command, scenario: &Scenario, folder: &Path) {
    let mut running = Running::start(command, &folder.join("client.log"));
    let succeeded = running.finish(client);
    let log = running.logged();
    assert!(succeeded, "{client}, {scenario}:\n{log}");
    assert!(log.lines().filter(|line| line.starts_with("ok ")).count() > 10, "{client} checked little:\n{log}");
}
