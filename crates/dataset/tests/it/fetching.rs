//! Downloads: whole and checked, or not at all.

use std::{
    fs,
    num::NonZeroU64,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dataset::{Fetch, FetchError, Manifest, RateLimit, VersionId};
use tempfile::TempDir;

use crate::world::{World, names};

fn stored(world: &World, manifest: &Manifest, shard: u16, file: usize) -> std::path::PathBuf {
    world.shard_folder(manifest, shard).join(&manifest.shards[usize::from(shard)].files[file].name)
}

#[tokio::test]
async fn chosen_shards_arrive_with_the_manifest_and_nothing_else() {
    let (world, local) = (World::new(), TempDir::new().unwrap());
    let manifest = world.build_rows("a,1\nb,2\nc,3\nd,4\n", 3).await.manifest;
    let folder = local.path().join("facts").join(manifest.version.to_string());
    let told = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&told);
    let progress = Arc::new(move |bytes| {
        sum.fetch_add(bytes, Ordering::Relaxed);
    });
    world.repository.fetch(&manifest, &[0, 2], &folder, &Fetch { progress, ..Fetch::default() }).await.unwrap();
    assert_eq!(names(&folder), ["manifest.json", "shard-0000", "shard-0002"]);
    assert_eq!(names(folder.parent().unwrap()), [manifest.version.to_string()]);
    let copy = Manifest::parse(&fs::read(folder.join("manifest.json")).unwrap(), manifest.version).unwrap();
    assert_eq!(copy, manifest);
    for shard in [0, 2] {
        let entry = &manifest.shards[shard];
        let watch = &mut |_| std::ops::ControlFlow::Continue(());
        dataset::verify::shard(&folder.join(entry.folder()), &manifest, entry, watch).unwrap();
    }
    let bytes = manifest.shards[0].file_bytes() + manifest.shards[2].file_bytes();
    assert_eq!(told.load(Ordering::Relaxed), bytes);
}

/// Fetches, expects an error, and that nothing is left behind.
async fn refused(world: &World, manifest: &Manifest, shards: &[u16]) -> FetchError {
    let local = TempDir::new().unwrap();
    let folder = local.path().join("version");
    let error = world.repository.fetch(manifest, shards, &folder, &Fetch::default()).await.unwrap_err();
    assert_eq!(names(local.path()), [""; 0], "{error}");
    error
}

#[tokio::test]
async fn other_bytes_in_storage_are_told_by_file_and_offset() {
    let world = World::new();
    let manifest = world.build_rows("a,1\n", 1).await.manifest;
    let file = stored(&world, &manifest, 0, 0);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, vec![b'x'; whole.len()]).unwrap();
    let error = refused(&world, &manifest, &[0]).await;
    assert!(matches!(&error, FetchError::Chunk { offset: 0, .. }), "{error}");
    assert!(error.to_string().contains(&manifest.shards[0].files[0].name), "{error}");

    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let error = refused(&world, &manifest, &[0]).await;
    assert!(matches!(&error, FetchError::Short { .. } | FetchError::Download { .. }), "{error}");
    fs::remove_file(&file).unwrap();
    let error = refused(&world, &manifest, &[0]).await;
    assert!(matches!(&error, FetchError::Download { offset: 0, .. }) && !error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_manifest_that_contradicts_itself_and_a_shard_that_is_not_there_are_refused() {
    let world = World::new();
    let mut manifest = world.build_rows("a,1\n", 1).await.manifest;
    assert!(matches!(refused(&world, &manifest, &[1]).await, FetchError::NoShard { shard: 1, .. }));
    manifest.shards[0].files[0].sha256 = types::Digest::of(b"other");
    assert!(matches!(refused(&world, &manifest, &[0]).await, FetchError::Whole { .. }));
}

#[tokio::test]
async fn a_download_that_nobody_waits_for_leaves_nothing() {
    let (world, local) = (World::new(), TempDir::new().unwrap());
    let manifest = world.build_rows("a,1\n", 1).await.manifest;
    let folder = local.path().join("version");
    // Slow enough never to end: the second chunk is due in years.
    let how = Fetch { rate: RateLimit::new(NonZeroU64::new(1)), ..Fetch::default() };
    let fetching = world.repository.fetch(&manifest, &[0], &folder, &how);
    let waiting = async {
        while names(local.path()).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        done = fetching => panic!("{done:?}"),
        () = waiting => {}
    }
    assert_eq!(names(local.path()), [""; 0]);
}

#[tokio::test]
async fn a_folder_that_is_there_is_not_replaced() {
    let (world, local) = (World::new(), TempDir::new().unwrap());
    let manifest = world.build_rows("a,1\n", 1).await.manifest;
    let folder = local.path().join("version");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("mine"), "").unwrap();
    let error = world.repository.fetch(&manifest, &[0], &folder, &Fetch::default()).await.unwrap_err();
    assert!(matches!(&error, FetchError::Write { path, offset: None, .. } if *path == folder), "{error}");
    assert_eq!((names(&folder), names(local.path())), (vec!["mine".to_owned()], vec!["version".to_owned()]));
}

#[test]
fn versions_make_safe_folder_names() {
    for version in ["000001-00000000", "4294967295-ffffffff"] {
        let version: VersionId = version.parse().unwrap();
        assert_eq!(Path::new(&version.to_string()).components().count(), 1);
    }
}
