//! A disk that is full before or during a download.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::world::{Server, World};

/// A small file system of its own. Only root may mount one: without, these tests are skipped by name, and fail under CI.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            refused => {
                let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
                assert!(!ci, "no small disk could be mounted: {refused:?}");
                eprintln!("SKIPPED full_disk: mounting a tmpfs needs root: {refused:?}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_version_that_does_not_fit_is_not_begun() {
    let (world, first) = World::with_first_version();
    let Some(_disk) = SmallDisk::mount(&world.data_dir(), 8 << 20) else { return };
    let mut server = world.server(&["--retry-failed", "1h"]);
    server.wait_for_tag("v1");
    let second = world.build_large("v2");
    let status = server.wait_for_status("it says so", |status| status["last_error"]["kind"] == "no_space");
    assert_eq!(
        (&status["serving"], &status["last_error"]["version"]),
        (&first.to_string().into(), &second.to_string().into())
    );
    let error = status["last_error"]["error"].as_str().unwrap();
    assert!(error.contains("make room") && error.contains(world.data_dir().to_str().unwrap()), "{error}");
    assert_eq!(server.metric("downloaded_bytes_total", "dataset=\"facts\""), downloaded(&world, first));
    assert_eq!(server.metric("failures_total", "dataset=\"facts\",kind=\"no_space\""), 1.0);
    assert_eq!(server.tag("key-9").unwrap(), "v1");
}

fn downloaded(world: &World, version: dataset::VersionId) -> f64 {
    world.manifest(version).file_bytes() as f64
}

#[test]
fn a_disk_that_fills_up_during_a_download_leaves_the_old_version_alone() {
    let (world, first) = World::with_first_version();
    let Some(_disk) = SmallDisk::mount(&world.data_dir(), 24 << 20) else { return };
    // Long enough to see the first failure: the next one is that there is no room to begin with.
    let slow = ["--retry-failed", "10s", "--download-rate", "2MiB"];
    let mut server = world.server(&slow);
    server.wait_for_tag("v1");
    let second = world.build_large("v2");
    // Bytes on the disk prove that the room was asked for before anybody took it.
    server.wait_for_status("its files arrive", |status| status["progress"]["bytes"].as_u64() > Some(0));

    // Somebody else takes what is left.
    let hog = world.data_dir().join("hog");
    let file = File::create(&hog).unwrap();
    let mut piece = 16 << 20;
    let mut taken = 0;
    while piece >= 4096 {
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), taken, piece) {
            Ok(()) => taken += piece,
            Err(_) => piece /= 2,
        }
    }
    let status =
        server.wait_for_status("it failed for want of room", |status| status["last_error"]["kind"] == "no_space");
    assert_eq!(status["serving"], first.to_string());
    let error = &status["last_error"];
    let text = error["error"].as_str().unwrap();
    assert!(text.contains("No space left") && text.contains("at offset "), "{status}");
    let named = error["file"].as_str().unwrap();
    assert!(named.starts_with(world.data_dir().to_str().unwrap()) && error["offset"].is_u64(), "{status}");
    assert_eq!(server.tag("key-9").unwrap(), "v1");

    // A note that could not be written keeps nobody from going on, and room makes it whole.
    drop(file);
    fs::remove_file(&hog).unwrap();
    server.wait_for_tag("v2");
    assert_eq!(server.status()["serving"], second.to_string());
    restart(server, &world);
}

/// What was written while the disk was full must not keep a server from starting.
fn restart(server: Server, world: &World) {
    drop(server);
    let mut server = world.server(&[]);
    server.wait_for_tag("v2");
}
