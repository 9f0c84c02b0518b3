//! Versions whose files or records are not what the manifest says.

use std::{
    fs::{self, OpenOptions},
    ops::ControlFlow,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use dataset::{
    ContentDigest, Manifest, hash_file,
    manifest::CHUNK_BYTES,
    proof,
    verify::{self, Error},
};

use crate::world::{World, verify as check};

/// A version of one shard with a file of several chunks.
async fn large(world: &World) -> (Manifest, PathBuf) {
    let value = "0123456789abcdef".repeat(640);
    let rows: String = (0..1000).map(|row| format!("{row},{value}{row}\n")).collect();
    let manifest = world.build_rows(&rows, 1).await.manifest;
    let file = manifest.shards[0].files.iter().max_by_key(|file| file.size).unwrap();
    assert!(file.size > 2 * CHUNK_BYTES);
    let path = world.shard_folder(&manifest, 0).join(&file.name);
    (manifest, path)
}

fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 4], offset).unwrap();
}

#[tokio::test]
async fn a_flipped_bit_is_told_by_file_and_offset() {
    let world = World::new();
    let (manifest, path) = large(&world).await;
    check(&world.repository, &manifest).unwrap();
    flip(&path, CHUNK_BYTES + 12_345);
    let error = check(&world.repository, &manifest).unwrap_err();
    assert!(
        matches!(&error, Error::Chunk { file, offset: CHUNK_BYTES, length: CHUNK_BYTES } if *file == path),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()) && text.contains("at offset 4194304"), "{text}");
}

#[tokio::test]
async fn cut_off_missing_swapped_and_foreign_files_are_told_by_name() {
    let world = World::new();
    let (manifest, path) = large(&world).await;
    let verdict = || check(&world.repository, &manifest).unwrap_err();
    let whole = fs::read(&path).unwrap();

    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(verdict(), Error::Size { file, .. } if file == path));
    fs::remove_file(&path).unwrap();
    assert!(matches!(verdict(), Error::Missing { file } if file == path));
    fs::create_dir(&path).unwrap();
    assert!(matches!(verdict(), Error::Unexpected { file } if file == path));
    fs::remove_dir(&path).unwrap();
    let mut swapped = whole.clone(); // two chunks in each other's place
    let (first, second) = swapped.split_at_mut(usize::try_from(CHUNK_BYTES).unwrap());
    first.swap_with_slice(&mut second[..usize::try_from(CHUNK_BYTES).unwrap()]);
    fs::write(&path, swapped).unwrap();
    assert!(matches!(verdict(), Error::Chunk { offset: 0, .. }));
    fs::write(&path, whole).unwrap();
    check(&world.repository, &manifest).unwrap();
    let log = path.with_file_name("000099.log");
    fs::write(&log, "RocksDB would read it").unwrap();
    assert!(matches!(verdict(), Error::Unexpected { file } if file == log));
}

#[tokio::test]
async fn records_that_are_not_what_the_manifest_says_are_found_by_the_scan() {
    let world = World::new();
    let manifest = world.build_rows("a,1\nb,2\nc,3\n", 2).await.manifest;
    let folder = |shard| world.shard_folder(&manifest, shard);
    let scan = |entry: &dataset::manifest::ShardEntry, prefix: &str| {
        verify::content(&folder(entry.index), prefix, entry, &mut |_| ControlFlow::Continue(()))
    };
    let full = manifest.shards.iter().find(|shard| shard.keys > 0).unwrap();
    scan(full, "").unwrap();
    let mut lie = full.clone();
    lie.keys += 1;
    assert!(matches!(scan(&lie, ""), Err(Error::Content { what: "keys", .. })));
    let mut lie = full.clone();
    lie.bytes += 1;
    assert!(matches!(scan(&lie, ""), Err(Error::Content { what: "bytes of records", .. })));
    let mut lie = full.clone();
    lie.content_digest = ContentDigest::default();
    assert!(matches!(scan(&lie, ""), Err(Error::Content { what: "records of content digest", .. })));
    let mut lie = full.clone();
    lie.slots = dataset::SlotRange { first: 0, last: 0 };
    let error = scan(&lie, "").unwrap_err();
    assert!(matches!(error, Error::Slot { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_contradicts_only_the_digest_of_the_whole_is_found() {
    let world = World::new();
    let mut manifest = world.build_rows("a,1\n", 1).await.manifest;
    let file = &mut manifest.shards[0].files[0];
    file.sha256 = types::Digest::of(b"something else");
    assert!(matches!(check(&world.repository, &manifest), Err(Error::Whole { .. })));
}

#[tokio::test]
async fn verifying_stops_when_told() {
    let world = World::new();
    let (manifest, _) = large(&world).await;
    let folder = world.shard_folder(&manifest, 0);
    let stopped = verify::files(&folder, &manifest.shards[0], &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Stopped)));
}

#[tokio::test]
async fn what_was_verified_is_remembered_until_a_file_changes() {
    let world = World::new();
    let manifest = world.build_rows("a,1\nb,2\nc,3\n", 2).await.manifest;
    let shard = world.shard_folder(&manifest, 0);
    let version = shard.parent().unwrap();
    let holds = || proof::holds(version, &manifest, &manifest.shards).unwrap();
    assert!(!holds(), "nothing was noted");
    proof::record(version, &manifest, &manifest.shards).unwrap();
    assert!(holds());
    let mut other = manifest.clone();
    other.builder.host = "elsewhere".to_owned();
    assert!(!proof::holds(version, &other, &other.shards).unwrap(), "it was another manifest");

    let file = shard.join(&manifest.shards[0].files[0].name);
    let content = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(!holds());
    fs::write(&file, content).unwrap();
    assert!(!holds(), "another inode");
    fs::write(version.join(proof::FILE), "{").unwrap();
    assert!(!holds());
    assert_eq!(hash_file(&file).unwrap(), manifest.shards[0].files[0]);
}
