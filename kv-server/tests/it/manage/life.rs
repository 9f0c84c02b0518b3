//! What an operator does on a good day.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use types::Timestamp;

use super::world::{Client, KEYS, Process, World, http, http_with};

#[test]
fn a_new_version_is_served_without_a_failed_request() {
    let (world, first) = World::with_first_version();
    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    assert_eq!(server.status()["serving"], first.to_string());

    let done = AtomicBool::new(false);
    let kv = server.kv.clone();
    let second = thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|reader| {
                let (kv, done) = (&kv, &done);
                scope.spawn(move || {
                    let mut client = Client::connect(kv);
                    let (mut asked, mut seen_second) = (0, false);
                    while !done.load(Ordering::Relaxed) {
                        let key = format!("key-{}", (asked + reader) % KEYS);
                        let value = client.ask(&["GET", &key]).expect("no request fails");
                        // Once the new version answered, the old one does not come back.
                        assert!(value.starts_with("v2:") || (value.starts_with("v1:") && !seen_second));
                        seen_second |= value.starts_with("v2:");
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        let second = world.build("v2");
        server.wait_for_tag("v2");
        done.store(true, Ordering::Relaxed);
        assert!(readers.into_iter().map(|reader| reader.join().unwrap()).sum::<usize>() > 0);
        second
    });
    let status = server.wait_for_status("the manager rests", |status| status["state"] == "serving");
    assert_eq!((&status["serving"], &status["previous"]), (&second.to_string().into(), &first.to_string().into()));
    assert_eq!(status["keys"], KEYS);
    assert_eq!(server.metric("switches_total", "dataset=\"facts\""), 2.0);
    assert!(
        server.metric("age_seconds", "dataset=\"facts\"") >= 5.0,
        "since it was built, not since it was switched to"
    );
    assert_eq!(server.metric("serving_info", &format!("dataset=\"facts\",version=\"{second}\"")), 1.0);
    assert!(server.metric("downloaded_bytes_total", "dataset=\"facts\"") > 0.0);
    assert!(world.leftovers().is_empty());
}

#[test]
fn a_rollback_needs_no_storage_and_the_version_left_does_not_come_back() {
    let (world, first) = World::with_first_version();
    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    let second = world.build("v2");
    server.wait_for_tag("v2");
    server
        .wait_for_status("it rests", |status| status["state"] == "serving" && status["serving"] == second.to_string());

    let away = world.folder.path().join("away");
    fs::rename(world.storage(), &away).unwrap();
    let (code, status) = server.post("/datasets/facts/rollback", "");
    // Answered when it is done, and that is before any download could be.
    assert_eq!((code, &status["serving"]), (200, &first.to_string().into()));
    assert_eq!(server.tag("key-7").unwrap(), "v1");
    assert_eq!(status["rolled_back"][0], second.to_string());
    assert_eq!(server.metric("rollbacks_total", "dataset=\"facts\""), 1.0);
    let (code, refused) = server.post("/datasets/facts/rollback", "");
    assert_eq!(code, 409, "the version before is the bad one: {refused}");

    // Storage announces the second one still; a restart changes nothing about that either.
    fs::rename(&away, world.storage()).unwrap();
    drop(server);
    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    server.wait_for_status("it has read the announcement", |status| {
        status["announcement_read_at_ms"].is_number() && status["state"] == "serving"
    });
    assert_eq!(server.tag("key-7").unwrap(), "v1");

    world.build("v3");
    server.wait_for_tag("v3");
    let (code, _) = server.post("/datasets/facts/switch", &format!("{{\"version\":\"{second}\"}}"));
    assert!(code == 200 || code == 202, "{code}");
    server.wait_for_tag("v2"); // by name it comes back
}

#[test]
fn when_told_stops_at_ready() {
    let (world, first) = World::with_first_version();
    let mut server = world.server(&["--switch", "when-told"]);
    server.wait_for_tag("v1");
    let second = world.build("v2");
    let status = server.wait_for_status("the next one is ready", |status| status["state"] == "ready");
    assert_eq!((&status["ready"], &status["serving"]), (&second.to_string().into(), &first.to_string().into()));
    assert_eq!(server.tag("key-1").unwrap(), "v1");

    // Nor does a restart move it on.
    drop(server);
    let mut server = world.server(&["--switch", "when-told"]);
    server.wait_for_tag("v1");
    server.wait_for_status("the next one is ready again", |status| status["state"] == "ready");
    assert_eq!(server.tag("key-1").unwrap(), "v1");

    let (code, status) = server.post("/datasets/facts/switch", "");
    assert_eq!((code, &status["serving"]), (200, &second.to_string().into()));
    assert_eq!(server.tag("key-1").unwrap(), "v2");
}

#[test]
fn what_is_announced_pinned_and_marked_bad_decides() {
    let (world, first) = World::with_first_version();
    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    let second = world.build("v2");
    server.wait_for_tag("v2");

    world.block_on(world.repository.pin(first)).unwrap();
    server.wait_for_tag("v1");
    let third = world.build("v3");
    let status = server.wait_for_status("it knows of the third", |status| status["announced"] == third.to_string());
    assert_eq!(status["pinned"], first.to_string());
    assert_eq!(server.tag("key-1").unwrap(), "v1");
    let (code, refused) = server.post("/datasets/facts/switch", &format!("{{\"version\":\"{second}\"}}"));
    assert_eq!(code, 409);
    assert!(refused["error"].as_str().unwrap().contains("unpin"), "{refused}");

    world.block_on(world.repository.unpin()).unwrap();
    server.wait_for_tag("v3");
    world.block_on(world.repository.rollback("wrong numbers", Timestamp(1))).unwrap();
    server.wait_for_tag("v2");
    assert_eq!(server.wait_for_status("it rests", |status| status["state"] == "serving")["bad"][0], third.to_string());
}

#[test]
fn old_versions_go_and_the_one_before_stays() {
    let (world, first) = World::with_first_version();
    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    let second = world.build("v2");
    server.wait_for_tag("v2");
    let third = world.build("v3");
    server.wait_for_tag("v3");
    server.process.wait_until("the first one is gone", || !world.local().contains(&first.to_string()));
    assert_eq!(world.local(), [second.to_string(), third.to_string()]);
    server.process.wait_until("its files are gone as well", || world.leftovers().is_empty());
}

#[test]
fn only_the_shards_that_are_held_are_fetched() {
    let (world, first) = World::with_first_version();
    let mut server = world.server(&["--shards", "1"]);
    let status = server.wait_for_status("it serves", |status| status["serving"] == first.to_string());
    let shard = &world.manifest(first).shards[1];
    assert_eq!(status["keys"], shard.keys);
    let folder = world.data_dir().join(format!("facts/{first}"));
    assert!(folder.join("shard-0001").is_dir() && !folder.join("shard-0000").exists());
}

#[test]
fn a_restart_serves_before_storage_answers_and_then_catches_up() {
    let (world, first) = World::with_first_version();
    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    drop(server);
    world.build("v2");
    let away = world.folder.path().join("away");
    fs::rename(world.storage(), &away).unwrap();
    fs::write(world.storage(), "no folder").unwrap(); // now nothing can be read there

    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    let status = server.wait_for_status("storage fails", |status| status["last_error"]["kind"] == "storage");
    assert_eq!(status["serving"], first.to_string());
    assert_eq!(http(&server.admin, "GET", "/readyz", "").unwrap().0, 200);

    fs::remove_file(world.storage()).unwrap();
    fs::rename(&away, world.storage()).unwrap();
    server.wait_for_tag("v2");
    let status = server.wait_for_status("it rests", |status| status["state"] == "serving");
    assert!(status["last_error"].is_null(), "{status}");
}

#[test]
fn files_that_changed_on_disk_are_found_and_fetched_anew() {
    let (world, first) = World::with_first_version();
    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    drop(server);
    let (file, size) = world.records_of(first, 0);
    let file = world.data_dir().join(format!("facts/{first}/{file}"));
    let mut bytes = fs::read(&file).unwrap();
    bytes[usize::try_from(size / 2).unwrap()] ^= 1;
    fs::remove_file(&file).unwrap();
    fs::write(&file, bytes).unwrap();

    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    assert_eq!(server.metric("failures_total", "dataset=\"facts\",kind=\"verification\""), 1.0);
    assert!(server.metric("downloads_total", "dataset=\"facts\"") >= 1.0);
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let (world, _) = World::with_first_version();
    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kv-server"));
    command.args(["--dataset", &world.url, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"]);
    let mut second = Process::start(
        {
            command.arg(world.data_dir());
            command
        },
        world.folder.path(),
    );
    assert_eq!(second.exit_code(), Some(1));
    assert!(second.log().contains("another server uses"), "{}", second.log());
    assert_eq!(server.tag("key-1").unwrap(), "v1");
}

#[test]
fn a_server_is_ready_once_it_serves_every_dataset() {
    let world = World::new();
    fs::create_dir_all(world.storage()).unwrap();
    let mut server = world.server(&[]);
    let (code, body) = http(&server.admin, "GET", "/readyz", "").unwrap();
    assert_eq!(code, 503, "{body}");
    assert_eq!(http(&server.admin, "GET", "/healthz", "").unwrap().0, 200);
    assert!(server.redis(&["GET", "key-1"]).unwrap_err().starts_with("-LOADING"));
    world.build("v1");
    server.wait_for_tag("v1");
    assert_eq!(http(&server.admin, "GET", "/readyz", "").unwrap().0, 200);
}

#[test]
fn administration_is_refused_without_the_token_and_bounded() {
    let (world, _) = World::with_first_version();
    let token = world.folder.path().join("token");
    fs::write(&token, "a-secret-of-24-characters\n").unwrap();
    let server = world.server(&["--admin-token-file", token.to_str().unwrap()]);
    let ask = |method, path, headers: &str| http_with(&server.admin, method, path, "", headers).unwrap().0;
    assert_eq!(ask("GET", "/datasets", ""), 401);
    assert_eq!(ask("POST", "/datasets/facts/rollback", "Authorization: Bearer nearly\r\n"), 401);
    assert_eq!(ask("GET", "/datasets", "Authorization: Bearer a-secret-of-24-characters\r\n"), 200);
    assert_eq!(ask("GET", "/healthz", ""), 200);
    drop(server);

    let server = world.server(&[]);
    let large = "x".repeat(2 << 20);
    // A refusal may come before all was sent, and then the connection is gone.
    let answer = http(&server.admin, "PUT", "/topology", &large);
    assert!(answer.is_none_or(|(code, _)| code == 413));
    let (code, _) = server.post("/datasets/facts/switch", "{\"version\":7}");
    assert_eq!(code, 400);
    assert_eq!(server.post("/datasets/other/switch", "{}").0, 404);
}
