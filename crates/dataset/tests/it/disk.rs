//! A disk that is too small: for sorting, and for a download. The test starts itself again where it may mount one.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use dataset::{Fetch, FetchError, build::Build};

use crate::world::{World, names, plan, run};

const DISK: &str = "DRAGNET_TEST_SMALL_DISK";

/// Runs `test` of this program again, in a mount namespace with a disk of 4 MiB.
fn on_a_small_disk(test: &str) -> Option<PathBuf> {
    if let Some(disk) = env::var_os(DISK) {
        return Some(disk.into());
    }
    let can = Command::new("unshare").args(["-Urm", "true"]).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        println!("skipped: {test}: this machine allows no user namespaces (unshare -Urm)");
        assert!(env::var_os("CI").is_none(), "under CI every part runs");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size=4m tmpfs \"${DISK}\" && exec \"$0\" --exact \"$1\" --nocapture");
    let status = Command::new("unshare")
        .args(["-Urm", "sh", "-c", &script])
        .arg(env::current_exe().unwrap())
        .arg(test)
        .env(DISK, folder.path())
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed where the disk is small");
    None
}

fn many_rows(world: &World) -> PathBuf {
    let value = "v".repeat(1000);
    let rows: String = (0..40_000).map(|row| format!("{row},{value}\n")).collect();
    world.write("rows.csv", format!("key,value\n{rows}"))
}

fn is_empty(folder: &Path) -> bool {
    names(folder).is_empty()
}

#[tokio::test]
async fn a_build_without_room_says_so_and_leaves_nothing() {
    let Some(disk) = on_a_small_disk("disk::a_build_without_room_says_so_and_leaves_nothing") else { return };
    let world = World::new();
    let source = many_rows(&world);
    // Sorting fails with the least memory, writing the shard with more.
    for memory in [0, 512 << 20] {
        let build = Build { temp_dir: Some(disk.clone()), memory, ..plan(&source) };
        let error = run(build, &world.repository).await.unwrap_err();
        assert!(error.is_full(), "{error:?}");
        assert!(is_empty(&disk) && world.left().is_empty());
    }
    // The storage itself is full: no version, no manifest.
    let repository = crate::world::open(&disk.join("facts"));
    let temp = Some(world.folder.path().to_owned());
    let error = run(Build { temp_dir: temp, ..plan(&source) }, &repository).await.unwrap_err();
    assert!(error.is_full(), "{error:?}");
    assert!(repository.versions().await.unwrap().is_empty());
    assert!(is_empty(&disk.join("facts/versions")), "{:?}", names(&disk.join("facts/versions")));
}

#[tokio::test]
async fn a_download_without_room_says_so_and_leaves_nothing() {
    let Some(disk) = on_a_small_disk("disk::a_download_without_room_says_so_and_leaves_nothing") else { return };
    let world = World::new();
    let source = many_rows(&world);
    let manifest = run(plan(&source), &world.repository).await.unwrap().manifest;
    let folder = disk.join("data").join(manifest.version.to_string());
    let error = world.repository.fetch(&manifest, &[0], &folder, &Fetch::default()).await.unwrap_err();
    assert!(error.is_full() && error.is_retryable(), "{error:?}");
    assert!(matches!(&error, FetchError::Write { offset: Some(_), .. }), "{error:?}");
    assert!(error.to_string().contains("at offset "), "{error}");
    assert!(is_empty(&disk.join("data")), "{:?}", names(&disk.join("data")));
    fs::create_dir(&folder).unwrap(); // there is room again
}
