//! One version, its shards built apart.

use dataset::build::{Build, Error, PartsId};

use crate::world::{World, names, plan, records, run, silent};

fn rows(count: u32) -> String {
    "key,value\n".to_owned() + &(0..count).map(|row| format!("key-{row},{row}\n")).collect::<String>()
}

async fn build_parts(world: &World, build: &Build, id: &PartsId, shards: impl Iterator<Item = u16>) {
    for shard in shards {
        build.clone().run_part(shard, id, &world.repository, silent()).await.unwrap();
    }
}

#[tokio::test]
async fn shards_built_apart_are_those_of_one_build() {
    let world = World::new();
    let source = world.write("rows.csv", rows(1_000));
    let build = Build { shards: 4, ..plan(&source) };
    let whole = run(build.clone(), &world.repository).await.unwrap().manifest;
    let id: PartsId = "a-1".parse().unwrap();
    build_parts(&world, &build, &id, [2, 0, 3, 1].into_iter()).await;
    let built = build.finish(&id, &world.repository).await.unwrap();
    let parts = built.manifest();
    assert_eq!(parts.content_digest, whole.content_digest);
    assert_eq!((parts.keys, parts.source.rows, parts.version.sequence()), (1_000, 1_000, 2));
    assert_eq!(records(&world.repository, parts), records(&world.repository, &whole));
    assert_eq!(world.repository.announcement().await.unwrap().target(), Some(parts.version));
    assert_eq!(names(&world.folder.path().join("facts/builds")), [""; 0], "what was needed meanwhile is gone");
}

#[tokio::test]
async fn finishing_again_gives_the_same_version() {
    let world = World::new();
    let source = world.write("rows.csv", rows(100));
    let build = Build { shards: 2, announce: false, ..plan(&source) };
    let id: PartsId = "a".parse().unwrap();
    build_parts(&world, &build, &id, 0..2).await;
    build_parts(&world, &build, &id, 0..2).await;
    let first = build.clone().finish(&id, &world.repository).await.unwrap().manifest;
    let again = build.finish(&id, &world.repository).await.unwrap().manifest;
    assert_eq!((first, 1), (again, world.repository.versions().await.unwrap().len()));
}

#[tokio::test]
async fn a_shard_without_rows_is_a_shard() {
    let world = World::new();
    let source = world.write("rows.csv", rows(1));
    let build = Build { shards: 8, ..plan(&source) };
    let id: PartsId = "a".parse().unwrap();
    build_parts(&world, &build, &id, 0..8).await;
    assert_eq!(build.finish(&id, &world.repository).await.unwrap().manifest.keys, 1);
}

#[tokio::test]
async fn nothing_is_published_while_a_shard_is_missing() {
    let world = World::new();
    let source = world.write("rows.csv", rows(10));
    let build = Build { shards: 3, ..plan(&source) };
    let id: PartsId = "a".parse().unwrap();
    build_parts(&world, &build, &id, [0, 2].into_iter()).await;
    let error = build.clone().finish(&id, &world.repository).await.unwrap_err();
    assert!(matches!(error, Error::PartMissing { shard: 1, of: 3, .. }), "{error}");
    assert!(world.repository.versions().await.unwrap().is_empty());
    let error = build.run_part(3, &id, &world.repository, silent()).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchShard { shard: 3, of: 3 }), "{error}");
    assert!("a/b".parse::<PartsId>().is_err() && "".parse::<PartsId>().is_err());
}

#[tokio::test]
async fn rows_of_one_key_are_found_in_their_shard() {
    let world = World::new();
    let source = world.write("rows.csv", "key,value\na,1\nb,2\na,3\n");
    let build = Build { shards: 2, ..plan(&source) };
    let id: PartsId = "a".parse().unwrap();
    let mut errors = Vec::new();
    for shard in 0..2 {
        errors.extend(build.clone().run_part(shard, &id, &world.repository, silent()).await.err());
    }
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].to_string().contains("row 1, and again in") && errors[0].to_string().contains("row 3"),
        "{}",
        errors[0]
    );
}
