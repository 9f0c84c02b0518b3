//! `kill -9` at every step: what starts again serves one whole version, and ends up where it should.

use std::fs;

use super::world::{Client, KEYS, Server, World, http, names};

/// The version that answers: for all keys the same in one request. `None` while nothing is served.
fn whole_version(server: &Server) -> Option<String> {
    let keys: Vec<_> = (0..KEYS).map(|key| format!("key-{key}")).collect();
    let request: Vec<_> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    let answer = server.redis(&request).ok()?;
    let tags: Vec<_> = answer.split(' ').map(|value| value.split(':').next().unwrap()).collect();
    assert_eq!(tags.len(), KEYS);
    assert!(tags.iter().all(|tag| *tag == tags[0]), "values of several versions: {tags:?}");
    Some(tags[0].to_owned())
}

/// Kills a server as soon as `moment` holds, several times. After each kill one starts that serves a whole version.
fn killed_at(moment: impl Fn(&World, &dyn Fn() -> serde_json::Value) -> bool) {
    let (world, _) = World::with_first_version();
    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    drop(server);
    let second = world.build_large("v2");
    let mut killed = 0;
    for _ in 0..3 {
        let mut server = world.server(&["--download-rate", "24MiB"]);
        let admin = server.admin.clone();
        let status = || {
            let answer = http(&admin, "GET", "/datasets/facts", "");
            answer.map_or(serde_json::Value::Null, |(_, body)| serde_json::from_str(&body).unwrap())
        };
        server.process.wait_until("the moment has come, or it is over", || {
            let mut now = moment(&world, &status);
            let over = world.local().contains(&second.to_string()) && {
                let status = status();
                status["serving"] == second.to_string() && status["state"] == "serving"
            };
            // Between two looks the moment may have come and stayed: what holds when all is over is met as well.
            now |= over && moment(&world, &status);
            killed += u32::from(now);
            now || over
        });
        server.process.kill();

        // This one is too slow to get any further than what it found.
        let mut server = world.server(&["--download-rate", "10kB"]);
        let (kv, mut served) = (server.kv.clone(), None);
        server.process.wait_until("a whole version is served", || {
            served = Client::connect(&kv).ask(&["GET", "key-0"]).ok();
            served.is_some()
        });
        assert!(whole_version(&server).is_some());
        server.process.kill();
        if killed == 0 {
            // It was over before anybody looked: once more from the beginning.
            drop(std::fs::remove_dir_all(world.data_dir().join("facts").join(second.to_string())));
        }
    }
    assert!(killed > 0, "the moment was never met");
    let mut server = world.server(&[]);
    server.wait_for_tag("v2");
    server.process.wait_until("nothing is left of what was killed", || world.leftovers().is_empty());
    assert!(world.local().contains(&second.to_string()));
}

#[test]
fn while_a_download_begins() {
    killed_at(|world, _| world.leftovers().iter().any(|name| name.starts_with(".tmp-")));
}

#[test]
fn while_files_arrive() {
    killed_at(|_, status| status()["progress"]["bytes"].as_u64() > Some(0));
}

#[test]
fn while_it_is_verified() {
    // All bytes have come, and the folder has not yet the name of a version.
    killed_at(|world, _| world.leftovers().iter().any(|name| name.starts_with(".tmp-000002-")));
}

#[test]
fn once_it_is_in_place() {
    killed_at(|world, _| world.local().len() > 1);
}

#[test]
fn while_it_is_opened() {
    killed_at(|_, status| status()["state"] == "opening");
}

#[test]
fn right_after_the_switch() {
    killed_at(|_, status| status()["switches"].as_u64() > Some(1));
}

#[test]
fn at_any_moment_of_a_busy_life() {
    let (world, _) = World::with_first_version();
    let mut last = "v1".to_owned();
    for round in 0..12_u64 {
        let mut server = world.server(&["--download-rate", "48MiB", "--keep", "1"]);
        if round % 3 == 0 {
            last = format!("r{round}");
            world.build_with(&last, 2, 8_000, true);
        }
        // A different moment each round: so many answers after the start.
        let mut answers = 0;
        server.process.wait_until("enough answers", || {
            answers += 1;
            answers > round * 7
        });
        let _ = whole_version(&server); // none yet, or a whole one
        server.process.kill();
        // No file of notes is ever half a file.
        for name in names(&world.data_dir().join("facts")).iter().filter(|name| name.ends_with(".json")) {
            let text = fs::read(world.data_dir().join("facts").join(name)).unwrap();
            serde_json::from_slice::<serde_json::Value>(&text).unwrap();
        }
    }
    let mut server = world.server(&[]);
    server.wait_for_tag(&last);
    server.process.wait_until("nothing is left over", || world.leftovers().is_empty());
}

#[test]
fn a_server_that_was_killed_after_a_rollback_stays_rolled_back() {
    let (world, _) = World::with_first_version();
    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    world.build("v2");
    server.wait_for_tag("v2");
    assert_eq!(server.post("/datasets/facts/rollback", "").0, 200);
    server.process.kill();
    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    server.wait_for_status("it looked at storage", |status| {
        status["announcement_read_at_ms"].is_number() && status["state"] == "serving"
    });
    assert_eq!(server.tag("key-0").unwrap(), "v1");
}
