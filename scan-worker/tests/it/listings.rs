//! Discovery.

use protocol::v1::{SegmentFiles, Skipped, settle_listing::Result as Listed};

use crate::world::{Segment, World, target};

#[tokio::test]
async fn a_listing_finds_new_changed_and_vanished_files() {
    let world = World::new(&[]).await;
    for name in ["kept", "changed", "vanished"] {
        world.write(name, "one");
    }
    std::os::unix::fs::symlink("kept", world.path("link")).unwrap();
    let settle = world.list().await;
    assert_eq!(settle.result, Some(Listed::Done(Skipped { symlinks: 1, ..Skipped::default() })));
    assert_eq!(world.leader.state().segments.iter().map(|segment| segment.files).collect::<Vec<_>>(), [3]);

    // Nothing changed: nothing is told.
    world.list().await;
    assert_eq!(world.leader.state().segments.len(), 1);

    world.write("changed", "two!");
    world.write("new", "three");
    std::fs::remove_file(world.path("vanished")).unwrap();
    world.list().await;
    let state = world.leader.state();
    assert_eq!(state.segments.iter().map(|segment| segment.files).collect::<Vec<_>>(), [3, 2]);
    // In the order of the listing: changed, kept, vanished.
    assert_eq!(state.gone, [SegmentFiles { ordinal: 0, files: vec![0, 2] }]);
}

#[tokio::test]
async fn what_was_listed_can_be_scanned() {
    let world = World::new(&[]).await;
    world.write("a", "one");
    world.list().await;
    let wire = world.leader.state().segments[0].clone();
    let manifest = world.segment(0).await.manifest;
    let rules = world.rules(1, "rule every { condition: true }").await;
    let (_, results) = world.scan(&Segment { wire, manifest }, vec![target(1, &rules)]).await;
    assert_eq!(results.done(1).matched, 1);
}

#[tokio::test]
async fn a_large_corpus_comes_in_segments() {
    let world = World::new(&[]).await;
    for number in 0..5000 {
        world.write(&format!("f{number}"), "x");
    }
    world.list().await;
    assert_eq!(world.leader.state().segments.iter().map(|segment| segment.files).collect::<Vec<_>>(), [4096, 904]);
    world.list().await;
    let state = world.leader.state();
    assert_eq!((state.segments.len(), state.gone.len()), (2, 0));
}

#[tokio::test]
async fn a_missing_corpus_fails_the_listing_and_nothing_is_gone() {
    let world = World::new(&[]).await;
    world.write("a", "one");
    world.list().await;
    std::fs::remove_dir_all(world.folder.path().join("files")).unwrap();
    let settle = world.list().await;
    assert!(matches!(&settle.result, Some(Listed::Failed(reason)) if reason.contains("does not exist")), "{settle:?}");
    std::fs::write(world.folder.path().join("files"), "a file").unwrap();
    let settle = world.list().await;
    assert!(matches!(&settle.result, Some(Listed::Failed(reason)) if reason.contains("not a folder")), "{settle:?}");
    assert!(world.leader.state().gone.is_empty());
}

#[tokio::test]
async fn a_corpus_that_holds_the_object_storage_does_not_find_its_own_findings() {
    let world = World::new(&[]).await;
    world.write("a", "one");
    world.list().await;
    let before = world.leader.state().segments.len();
    // The storage moves into the corpus, as when somebody hunts in his home folder.
    let inside = world.folder.path().join("files/storage");
    std::fs::rename(world.folder.path().join("storage"), &inside).unwrap();
    std::os::unix::fs::symlink(&inside, world.folder.path().join("storage")).unwrap();
    for _ in 0..2 {
        let settle = world.list().await;
        assert!(matches!(&settle.result, Some(Listed::Done(skipped)) if skipped.special == 1), "{settle:?}");
    }
    assert_eq!(world.leader.state().segments.len(), before);
}
