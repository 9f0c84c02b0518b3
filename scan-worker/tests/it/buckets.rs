//! Corpora in object storage.

use corpus::Manifest;
use protocol::v1::{self, FileException, ruleset_result::Verdict, settle_listing::Result as Listed};
use store::keys;
use types::Digest;

use crate::{
    s3::S3,
    world::{Segment, World, target},
};

const EICAR: &str = r#"rule marked { strings: $a = "find me" condition: $a }"#;

/// A worker whose corpus is a bucket, with a dozen objects and some that are none of it.
async fn world() -> (World, S3) {
    let s3 = S3::start().await;
    for number in 0..12 {
        s3.put(&format!("in/dir-{}/f{number}", number % 3), format!("file {number}"));
    }
    s3.put("in/dir-1/marked", "please find me here");
    s3.put("outside", "find me");
    let world = World::with_bucket(&s3, "s3://files/in").await;
    (world, s3)
}

async fn listed(world: &World, ordinal: u32) -> Segment {
    let wire = world.leader.state().segments[ordinal as usize].clone();
    let digest = Digest::try_from(wire.manifest.as_slice()).unwrap();
    let bytes = world.store.get(&keys::manifest(&digest)).await.unwrap();
    Segment { wire: v1::Segment { ordinal, ..wire }, manifest: Manifest::decode(&digest, &bytes).unwrap() }
}

#[tokio::test]
async fn a_bucket_is_listed_page_by_page_and_scanned() {
    let (world, s3) = world().await;
    let settle = world.list().await;
    assert!(matches!(settle.result, Some(Listed::Done(_))), "{settle:?}");
    assert!(s3.bucket().lists >= 3);
    let segment = listed(&world, 0).await;
    assert_eq!(segment.wire.files, 13);
    let rules = world.rules(1, EICAR).await;

    let (lease, results) = world.scan(&segment, vec![target(1, &rules)]).await;

    assert_eq!((results.done(1).matched, results.done(1).excepted.len()), (1, 0));
    assert_eq!(world.found(1, 1, lease).await, [("dir-1/marked".to_owned(), "marked".to_owned())]);
    let rows = world.rows(1, 1, lease).await;
    assert_eq!(rows[0].sha256, Digest::of(b"please find me here"));
}

#[tokio::test]
async fn rules_see_the_url_of_an_object() {
    let (world, _s3) = world().await;
    world.list().await;
    let segment = listed(&world, 0).await;
    let rules = world.rules(1, r#"rule url { condition: filepath == "s3://files/in/dir-1/marked" }"#).await;
    let (lease, _) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert_eq!(world.found(1, 1, lease).await, [("dir-1/marked".to_owned(), "url".to_owned())]);
}

#[tokio::test]
async fn changed_and_vanished_objects_are_gone_and_listed_anew() {
    let (world, s3) = world().await;
    world.list().await;
    let segment = listed(&world, 0).await;
    s3.put("in/dir-1/marked", "something else");
    s3.bucket().objects.remove("in/dir-0/f0");
    s3.bucket().forbidden.push("in/dir-2/f2".to_owned());
    let rules = world.rules(1, EICAR).await;

    let (_, results) = world.scan(&segment, vec![target(1, &rules)]).await;

    let expected = [
        ("dir-0/f0".to_owned(), FileException::Gone),
        ("dir-1/marked".to_owned(), FileException::Gone),
        ("dir-2/f2".to_owned(), FileException::Unreadable),
    ];
    assert_eq!(results.excepted(1, &segment), expected.into());
    world.list().await;
    let state = world.leader.state();
    assert_eq!(state.segments.iter().map(|segment| segment.files).collect::<Vec<_>>(), [13, 1]);
    assert_eq!(state.gone.iter().map(|gone| gone.files.len()).sum::<usize>(), 2);
}

#[tokio::test]
async fn large_objects_are_scanned_like_small_ones() {
    let (world, s3) = world().await;
    let mut large = vec![b'x'; 40 << 20];
    large.extend_from_slice(b"find me");
    s3.put("in/large", &large);
    s3.put("in/too-large", vec![0; (64 << 20) + 1]);
    world.list().await;
    let segment = listed(&world, 0).await;
    let rules = world.rules(1, EICAR).await;

    let (lease, results) = world.scan(&segment, vec![target(1, &rules)]).await;

    assert_eq!(results.excepted(1, &segment), [("too-large".to_owned(), FileException::TooLarge)].into());
    let found: Vec<_> = world.found(1, 1, lease).await.into_iter().map(|(file, _)| file).collect();
    assert_eq!(found, ["dir-1/marked", "large"]);
}

#[tokio::test]
async fn storage_that_fails_says_nothing_about_files() {
    let (world, s3) = world().await;
    world.list().await;
    let segment = listed(&world, 0).await;
    let rules = world.rules(1, EICAR).await;
    s3.bucket().objects.clear();
    s3.bucket().broken = true;

    let (_, results) = world.scan(&segment, vec![target(1, &rules)]).await;

    let Verdict::Hindered(reason) = results.verdict(1) else { panic!("{results:?}") };
    assert!(reason.contains("the corpus cannot be read"), "{reason}");
    let settle = world.list().await;
    let Some(Listed::Failed(reason)) = settle.result else { panic!("{settle:?}") };
    assert!(reason.contains("bucket"), "{reason}");
    assert_eq!(world.leader.state().gone, [], "nobody concludes that the files are gone");
    s3.bucket().broken = false;
    s3.put("in/back", "find me");
    assert!(matches!(world.list().await.result, Some(Listed::Done(_))));
}
