//! Files and storage that misbehave.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use protocol::v1::{FileException, ruleset_result::Verdict};

use crate::world::{NOBODY, World, target};

#[tokio::test]
async fn files_that_are_not_what_was_listed_are_gone() {
    let world = World::new(&[]).await;
    for name in ["kept", "vanished", "grown", "shrunk", "rewritten", "fifo", "link", "folder"] {
        world.write(name, "one two three");
    }
    let segment = world.segment(0).await;
    for name in ["vanished", "fifo", "link", "folder"] {
        fs::remove_file(world.path(name)).unwrap();
    }
    world.write("grown", "one two three four");
    world.write("shrunk", "one");
    world.write("rewritten", "eno two three");
    assert!(Command::new("mkfifo").arg(world.path("fifo")).status().unwrap().success());
    std::os::unix::fs::symlink(world.path("kept"), world.path("link")).unwrap();
    fs::create_dir(world.path("folder")).unwrap();

    let rules = world.rules(1, r#"rule one { strings: $a = "one" condition: $a }"#).await;
    let (lease, results) = world.scan(&segment, vec![target(1, &rules)]).await;

    let excepted = results.excepted(1, &segment);
    let gone = ["fifo", "folder", "grown", "link", "rewritten", "shrunk", "vanished"];
    assert_eq!(excepted.keys().map(String::as_str).collect::<Vec<_>>(), gone);
    assert!(excepted.values().all(|exception| *exception == FileException::Gone));
    assert_eq!(results.done(1).matched, 1);
    assert_eq!(world.found(1, 1, lease).await.len(), 1);
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_unreadable() {
    let world = World::with_user(&[], Some(NOBODY)).await;
    everybody_may_write(&world);
    world.write("open", "one");
    world.write("closed", "one");
    let segment = world.segment(0).await;
    fs::set_permissions(world.path("closed"), fs::Permissions::from_mode(0o0)).unwrap();
    let rules = world.rules(1, r#"rule one { strings: $a = "one" condition: $a }"#).await;
    everybody_may_write(&world);
    let (_, results) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert_eq!(results.excepted(1, &segment), [("closed".to_owned(), FileException::Unreadable)].into());
    assert_eq!(results.done(1).matched, 1);
}

#[tokio::test]
async fn storage_that_takes_nothing_hinders_and_the_next_try_succeeds() {
    let world = World::with_user(&[], Some(NOBODY)).await;
    world.write("a", "one");
    let segment = world.segment(0).await;
    let rules = world.rules(1, r#"rule one { strings: $a = "one" condition: $a }"#).await;
    let (lease, results) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert!(matches!(results.verdict(1), Verdict::Hindered(reason) if reason.contains("ermission")), "{results:?}");
    assert!(world.found(1, 1, lease).await.is_empty());

    everybody_may_write(&world);
    let (lease, results) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert_eq!(results.done(1).matched, 1);
    assert_eq!(world.found(1, 1, lease).await.len(), 1);
}

#[tokio::test]
async fn a_full_disk_hinders() {
    let folder = tempfile::tempdir().unwrap();
    let storage = folder.path().join("storage");
    fs::create_dir(&storage).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&storage).status();
    if !mount.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this machine lets no test mount a small disk");
        return;
    }
    let world = World::with_storage(folder, &storage, &[], None).await;
    world.write("a", "one");
    let segment = world.segment(0).await;
    let rules = world.rules(1, r#"rule one { strings: $a = "one" condition: $a }"#).await;
    // Fill it: whole pages first, then the last inodes' worth.
    let _ = fs::write(storage.join("ballast"), vec![0; 1 << 20]);
    let (_, results) = world.scan(&segment, vec![target(1, &rules)]).await;
    let verdict = results.verdict(1).clone();
    fs::remove_file(storage.join("ballast")).unwrap();
    let (_, again) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert!(Command::new("umount").arg("--lazy").arg(&storage).status().unwrap().success());
    assert!(matches!(&verdict, Verdict::Hindered(reason) if reason.contains("No space")), "{verdict:?}");
    assert_eq!(again.done(1).matched, 1);
}

#[tokio::test]
async fn a_missing_manifest_or_ruleset_fails_the_attempt() {
    let world = World::new(&[]).await;
    world.write("a", "one");
    let mut segment = world.segment(0).await;
    let rules = world.rules(1, "rule one { condition: true }").await;
    let mut unknown = rules.clone();
    unknown.digest[0] ^= 1;
    let (_, results) = world.scan(&segment, vec![target(1, &unknown), target(2, &rules)]).await;
    assert!(matches!(results.verdict(1), Verdict::Failed(_)));
    assert_eq!(results.done(2).matched, 1);
    segment.wire.manifest[0] ^= 1;
    let (_, results) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert!(matches!(results.verdict(1), Verdict::Failed(_)));
}

#[tokio::test]
async fn a_corpus_that_is_not_mounted_hinders() {
    let world = World::new(&[]).await;
    world.write("a", "one");
    let segment = world.segment(0).await;
    let rules = world.rules(1, "rule one { condition: true }").await;
    fs::rename(world.folder.path().join("files"), world.folder.path().join("elsewhere")).unwrap();
    let (_, results) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert!(matches!(results.verdict(1), Verdict::Hindered(_)), "{results:?}");
}

fn everybody_may_write(world: &World) {
    let opened = Command::new("chmod").args(["-R", "a+rwX"]).arg(world.folder.path().join("storage")).status();
    assert!(opened.unwrap().success());
}
