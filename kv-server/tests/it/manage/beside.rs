//! `kv-server manage` beside a server: the same life, over HTTP.

use std::process::Command;

use super::world::{Process, Server, World};

fn manager(world: &World, server: &Server, more: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-server"));
    command.args(["manage", "--server", &format!("http://{}", server.admin), "--dataset", &world.url, "--data-dir"]);
    command.arg(world.data_dir()).args(["--poll", "50ms", "--disk-reserve", "1"]).args(more);
    Process::start(command, world.folder.path())
}

#[test]
fn a_manager_beside_brings_versions_and_the_server_does_without_it() {
    let (world, first) = World::with_first_version();
    let mut server = world.server(&["--manager", "beside"]);
    assert!(server.redis(&["GET", "key-1"]).unwrap_err().starts_with("-LOADING"));
    let mut beside = manager(&world, &server, &[]);
    server.wait_for_tag("v1");
    let second = world.build("v2");
    server.wait_for_tag("v2");
    let status = server
        .wait_for_status("it rests", |status| status["state"] == "serving" && status["serving"] == second.to_string());
    assert_eq!(status["announced"], second.to_string());
    assert!(
        server.metric("downloaded_bytes_total", "dataset=\"facts\"") > 0.0,
        "the server tells what the manager counts"
    );

    // Without the manager: rollback, and a restart.
    beside.kill();
    let (code, status) = server.post("/datasets/facts/rollback", "");
    assert_eq!((code, &status["serving"]), (200, &first.to_string().into()));
    drop(server);
    let mut server = world.server(&["--manager", "beside"]);
    server.wait_for_tag("v1");

    let mut beside = manager(&world, &server, &[]);
    server.wait_for_status("the manager is back", |status| status["state"] == "serving");
    assert_eq!(server.tag("key-1").unwrap(), "v1", "nor does the manager go against the rollback");
    world.build("v3");
    server.wait_for_tag("v3");
    beside.kill();
}

#[test]
fn a_manager_waits_for_its_server_and_one_is_enough() {
    let (world, _) = World::with_first_version();
    let mut server = world.server(&["--manager", "beside"]);
    let mut beside = manager(&world, &server, &[]);
    server.wait_for_tag("v1");
    let mut second = manager(&world, &server, &[]);
    assert_eq!(second.exit_code(), Some(1));
    assert!(second.log().contains("another manager uses"), "{}", second.log());

    server.process.kill();
    world.build("v2");
    assert!(beside.child.try_wait().unwrap().is_none(), "the manager outlives its server");
}

#[test]
fn a_manager_shows_the_token() {
    let (world, _) = World::with_first_version();
    let token = world.folder.path().join("token");
    std::fs::write(&token, "a-secret-of-24-characters\n").unwrap();
    let token = token.to_str().unwrap();
    let mut server = world.server(&["--manager", "beside", "--admin-token-file", token]);
    let _beside = manager(&world, &server, &["--admin-token-file", token]);
    server.wait_for_tag("v1");
}
