//! A version that is not what was built: the one before goes on being served, and the error says where.

use std::fs::{self, File};

use dataset::VersionId;
use serde_json::Value;

use super::world::{Server, World, now_ms};

const CHUNK: u64 = 4 << 20;

/// A served first version, and a second one that is there and not announced yet.
struct Scene {
    world: World,
    server: Server,
    first: VersionId,
    second: VersionId,
}

impl Scene {
    fn new() -> Self {
        let (world, first) = World::with_first_version();
        let mut server = world.server(&["--retry-failed", "1h"]);
        server.wait_for_tag("v1");
        let second = world.build_with("v2", 2, 60_000, false);
        Self { world, server, first, second }
    }

    fn announce(&self) {
        // The repository would look at the manifest first; this is somebody who does not.
        let path = self.world.storage().join("announced.json");
        let mut announced: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        announced["epoch"] = (announced["epoch"].as_u64().unwrap() + 1).into();
        announced["previous"] = announced["version"].clone();
        announced["version"] = self.second.to_string().into();
        let staged = path.with_extension("staged"); // no reader may see half of it
        fs::write(&staged, announced.to_string()).unwrap();
        fs::rename(&staged, &path).unwrap();
    }

    /// Announces the second version and waits until the server says that it is none. Returns the error it tells.
    fn fail(&mut self) -> Value {
        self.announce();
        let second = self.second.to_string();
        let status = self.server.wait_for_status("the version failed", |status| {
            status["last_error"]["version"] == second && status["state"] == "backing_off"
        });
        assert_eq!(status["serving"], self.first.to_string());
        self.server.wait_for_tag("v1");
        assert_eq!(self.server.metric("failures_total", "dataset=\"facts\",kind=\"verification\""), 1.0);
        assert!(self.server.metric("last_error_seconds", "dataset=\"facts\"") > 0.0);
        assert!(status["retry_at_ms"].as_u64().unwrap() > now_ms() + 1_000_000, "it is left alone");
        assert!(!self.world.local().contains(&second), "nothing of it is taken for a version");
        let error = status["last_error"].clone();
        let told = self.server.redis(&["KV.DATASETS"]).expect("it answers");
        assert!(told.contains(&error["error"].as_str().unwrap()[..30]), "{told}");
        error
    }

    /// Puts things right, says "try again", and waits until the second version is served.
    fn heal(&mut self) {
        let (code, status) =
            self.server.post("/datasets/facts/switch", &format!("{{\"version\":\"{}\"}}", self.second));
        assert!(code == 200 || code == 202, "{code} {status}");
        self.server.wait_for_tag("v2");
        let status = self.server.wait_for_status("it rests", |status| status["state"] == "serving");
        assert!(status["last_error"].is_null(), "{status}");
        assert!(
            self.world.leftovers().is_empty() || self.world.leftovers().iter().all(|name| name.starts_with(".gone"))
        );
    }
}

#[test]
fn a_flipped_bit() {
    let mut scene = Scene::new();
    let (name, size) = scene.world.records_of(scene.second, 1);
    assert!(size > CHUNK, "the flip is to be in the second chunk");
    let path = scene.world.stored(scene.second, &name);
    let flip = |path: &std::path::Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[usize::try_from(CHUNK).unwrap() + 1000] ^= 4;
        fs::write(path, bytes).unwrap();
    };
    flip(&path);
    let error = scene.fail();
    assert!(error["file"].as_str().unwrap().ends_with(&name), "{error}");
    assert_eq!(error["offset"], CHUNK);
    flip(&path);
    scene.heal();
}

#[test]
fn a_truncated_file() {
    let mut scene = Scene::new();
    let (name, size) = scene.world.records_of(scene.second, 0);
    let path = scene.world.stored(scene.second, &name);
    let whole = fs::read(&path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(size - 10).unwrap();
    let error = scene.fail();
    assert!(error["file"].as_str().unwrap().ends_with(&name), "{error}");
    assert_eq!(error["offset"], size - 10);
    fs::write(&path, whole).unwrap();
    scene.heal();
}

#[test]
fn a_missing_file() {
    let mut scene = Scene::new();
    let (name, _) = scene.world.records_of(scene.second, 0);
    let path = scene.world.stored(scene.second, &name);
    let aside = scene.world.folder.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    let error = scene.fail();
    assert!(error["file"].as_str().unwrap().ends_with(&name), "{error}");
    assert_eq!(error["offset"], 0);
    fs::rename(&aside, &path).unwrap();
    scene.heal();
}

#[test]
fn two_files_that_changed_places() {
    let mut scene = Scene::new();
    let names = [0, 1].map(|shard| scene.world.records_of(scene.second, shard).0);
    let [one, other] = [0, 1].map(|shard: usize| scene.world.stored(scene.second, &names[shard]));
    let aside = scene.world.folder.path().join("aside");
    let swap = || {
        fs::rename(&one, &aside).unwrap();
        fs::rename(&other, &one).unwrap();
        fs::rename(&aside, &other).unwrap();
    };
    swap();
    let error = scene.fail();
    assert!(error["file"].as_str().unwrap().ends_with(&names[0]), "{error}");
    assert_eq!(error["offset"], 0);
    swap();
    scene.heal();
}

/// Changes the manifest of the second version, fails, puts it back, heals. Returns the error.
fn with_lie(lie: impl FnOnce(&mut Value)) -> Value {
    let mut scene = Scene::new();
    let path = scene.world.stored(scene.second, "manifest.json");
    let truth = fs::read(&path).unwrap();
    let mut manifest: Value = serde_json::from_slice(&truth).unwrap();
    lie(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
    let error = scene.fail();
    fs::write(&path, truth).unwrap();
    scene.heal();
    error
}

#[test]
fn a_manifest_that_contradicts_itself() {
    let error = with_lie(|manifest| manifest["keys"] = 7.into());
    assert!(error["file"].as_str().unwrap().ends_with("manifest.json"), "{error}");
    let error = with_lie(|manifest| manifest["shards"][0]["slots"] = serde_json::json!([0, 100]));
    assert!(error["error"].as_str().unwrap().contains("slots"), "{error}");
}

#[test]
fn a_manifest_that_leads_out_of_the_folder() {
    let error = with_lie(|manifest| manifest["shards"][0]["files"][0]["name"] = "../../../escaped".into());
    assert!(error["file"].as_str().unwrap().ends_with("manifest.json"), "{error}");
}

#[test]
fn a_manifest_that_lies_about_its_records() {
    // Consistent in itself, so that only reading every record shows it.
    let error = with_lie(|manifest| {
        let bytes = manifest["bytes"].as_u64().unwrap();
        let of_shard = manifest["shards"][0]["bytes"].as_u64().unwrap();
        manifest["bytes"] = (bytes - 1).into();
        manifest["shards"][0]["bytes"] = (of_shard - 1).into();
    });
    assert!(error["file"].as_str().unwrap().ends_with("shard-0000"), "{error}");
    assert!(error["error"].as_str().unwrap().contains("bytes of records"), "{error}");
}

#[test]
fn a_version_without_a_manifest() {
    let mut scene = Scene::new();
    let path = scene.world.stored(scene.second, "manifest.json");
    let truth = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let error = scene.fail();
    assert!(error["file"].as_str().unwrap().ends_with("manifest.json"), "{error}");
    fs::write(&path, truth).unwrap();
    scene.heal();
}

#[test]
fn an_announcement_that_makes_no_sense() {
    let (world, first) = World::with_first_version();
    let mut server = world.server(&[]);
    server.wait_for_tag("v1");
    let path = world.storage().join("announced.json");
    let truth = fs::read(&path).unwrap();
    fs::write(&path, "{\"format\": 1, \"epoch\": ").unwrap();
    let status = server.wait_for_status("it is told", |status| status["last_error"]["file"] == "announced.json");
    assert_eq!((&status["serving"], &status["announced"]), (&first.to_string().into(), &first.to_string().into()));
    assert_eq!(server.tag("key-3").unwrap(), "v1");
    fs::write(&path, truth).unwrap();
    server.wait_for_status("the error is gone", |status| status["last_error"].is_null());
}

#[test]
fn a_failure_is_remembered_over_a_restart() {
    let mut scene = Scene::new();
    let (name, _) = scene.world.records_of(scene.second, 0);
    let path = scene.world.stored(scene.second, &name);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, b"short").unwrap();
    scene.fail();
    scene.server.process.kill();
    scene.server = scene.world.server(&["--retry-failed", "1h"]);
    scene.server.wait_for_tag("v1");
    let second = scene.second.to_string();
    let status = scene.server.wait_for_status("it backs off", |status| status["state"] == "backing_off");
    assert_eq!(status["last_error"]["version"], second);
    assert_eq!(scene.server.metric("downloads_total", "dataset=\"facts\""), 0.0);
    fs::write(&path, whole).unwrap();
    scene.heal();
}

#[test]
fn a_failed_version_is_tried_again_by_itself_after_its_pause() {
    let (world, _) = World::with_first_version();
    let mut server = world.server(&["--retry-failed", "300ms"]);
    server.wait_for_tag("v1");
    let second = world.build_with("v2", 2, 100, false);
    let (name, _) = world.records_of(second, 0);
    let path = world.stored(second, &name);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, b"short").unwrap();
    world.block_on(world.repository.announce(second)).unwrap();
    server.wait_for_status("it failed twice", |status| status["counters"]["verification_failures"].as_u64() > Some(1));
    fs::write(&path, whole).unwrap();
    server.wait_for_tag("v2");
}
