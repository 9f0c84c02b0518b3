//! Announcing, pinning, rolling back; on a local disk here, the same on S3 in [`crate::s3`].

use dataset::{
    Announced, Error, Repository, RolledBack, VersionId,
    announcement::Refused,
    build::{Build, Built},
};
use tokio::task::JoinSet;
use types::Timestamp;

use crate::world::{World, open, plan, run};

/// The whole story of a dataset's versions, wherever it lies.
pub(crate) async fn tell(world: &World, repository: &Repository) {
    let build = async |rows: &str| -> Built {
        let source = world.write("rows.csv", format!("key,value\n{rows}\n"));
        run(plan(&source), repository).await.unwrap()
    };
    let one = build("a,1").await.manifest.version;
    let two = build("a,2").await.manifest.version;
    let target = async || repository.announcement().await.unwrap().target();
    assert_eq!(target().await, Some(two));
    assert_eq!(repository.manifest(&two).await.unwrap().parent, Some(one));

    let rolled_back = repository.rollback("wrong data", Timestamp(5)).await.unwrap();
    assert_eq!(rolled_back, RolledBack { bad: two, announced: one });
    let refused = repository.announce(two).await.unwrap_err();
    assert!(matches!(&refused, Error::Refused(Refused::Bad { reason, .. }) if reason == "wrong data"), "{refused}");
    let refused = repository.rollback("again", Timestamp(6)).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refused::NothingToReturnTo { .. })), "{refused}");

    assert_eq!(repository.pin(two).await.unwrap().unwrap().reason, "wrong data");
    let three = build("a,3").await;
    assert_eq!(three.announced, Some(Announced::Current));
    assert_eq!(target().await, Some(two), "a pin overrides all");
    assert!(matches!(repository.rollback("x", Timestamp(7)).await, Err(Error::Refused(Refused::Pinned { .. }))));
    assert_eq!(repository.unpin().await.unwrap(), (two, Some(three.manifest.version)));
    assert!(matches!(repository.unpin().await, Err(Error::Refused(Refused::NotPinned))));

    // The same content again is a version of its own.
    let again = build("a,3").await.manifest;
    assert_eq!(again.content_digest, three.manifest.content_digest);
    assert_eq!(repository.versions().await.unwrap(), [one, two, three.manifest.version, again.version]);
    assert_eq!(repository.announce(one).await.unwrap(), Announced::Current, "a person may go back without a verdict");
    assert_eq!(repository.announce(one).await.unwrap(), Announced::Unchanged);

    let missing: VersionId = "000099-00000000".parse().unwrap();
    assert!(matches!(repository.pin(missing).await, Err(Error::NoVersion { .. })));
    assert_eq!(target().await, Some(one));
}

#[tokio::test]
async fn versions_are_announced_pinned_and_rolled_back() {
    let world = World::new();
    tell(&world, &world.repository).await;
}

#[tokio::test]
async fn nothing_is_there_before_the_first_build() {
    let world = World::new();
    assert_eq!(world.repository.versions().await.unwrap(), []);
    let announcement = world.repository.announcement().await.unwrap();
    assert_eq!((announcement.target(), announcement.epoch), (None, 0));
    let refused = world.repository.rollback("x", Timestamp(1)).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refused::NothingAnnounced)));
}

#[tokio::test]
async fn a_version_without_a_manifest_does_not_exist() {
    let world = World::new();
    let version = world.build_rows("a,1\n", 1).await.manifest.version;
    let half = world.folder.path().join("facts/versions/000002-00000000/shard-0000");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("000009.sst"), "half").unwrap();
    assert_eq!(world.repository.versions().await.unwrap(), [version]);
    let next = world.build_rows("a,2\n", 1).await.manifest.version;
    assert_eq!(next.sequence(), 3, "the number of a half-built version is not used again");
}

/// Many people pin at a time: each change is one step of the epoch, none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_a_time_are_all_made() {
    let world = World::new();
    let source = world.write("rows.csv", "key,value\na,1\n");
    let mut versions = Vec::new();
    for _ in 0..2 {
        let build = Build { announce: false, ..plan(&source) };
        versions.push(run(build, &world.repository).await.unwrap().manifest.version);
    }
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (repository, versions) = (open(&world.folder.path().join("facts")), versions.clone());
        tasks.spawn(async move {
            let mut changes = 0;
            for step in 0..10 {
                let before = repository.announcement().await.unwrap().epoch;
                repository.pin(versions[(task + step) % 2]).await.unwrap();
                changes += u64::from(repository.announcement().await.unwrap().epoch > before);
            }
            changes
        });
    }
    tasks.join_all().await;
    let announcement = world.repository.announcement().await.unwrap();
    assert!(announcement.epoch > 1 && announcement.pin.is_some());
}

#[tokio::test]
async fn an_announcement_that_cannot_be_read_is_an_error_and_is_not_replaced() {
    let world = World::new();
    let version = world.build_rows("a,1\n", 1).await.manifest.version;
    let file = world.folder.path().join("facts/announced.json");
    for (content, expected) in [
        ("{", "is no announcement"),
        (r#"{"format":2,"epoch":1,"version":null,"previous":null,"pin":null,"bad":{}}"#, "has format 2"),
    ] {
        std::fs::write(&file, content).unwrap();
        for error in
            [world.repository.announcement().await.unwrap_err(), world.repository.pin(version).await.unwrap_err()]
        {
            assert!(error.to_string().contains(expected) && !error.is_retryable(), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
    }
}
