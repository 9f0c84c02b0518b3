//! Manifests that lie are refused before anything is fetched.

use dataset::{Error, Manifest, SlotRange};
use serde_json::{Value, json};
use types::Digest;

use crate::world::{World, chain};

/// What is said about a version after its manifest was changed.
async fn told(change: impl FnOnce(&mut Value)) -> String {
    let world = World::new();
    let version = world.build_rows("a,1\nb,2\nc,3\nd,4\n", 2).await.manifest.version;
    let path = world.folder.path().join(format!("facts/versions/{version}/manifest.json"));
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    std::fs::write(&path, manifest.to_string()).unwrap();
    let error = world.repository.manifest(&version).await.unwrap_err();
    assert!(matches!(error, Error::Manifest { .. }) && !error.is_retryable());
    chain(&error)
}

#[tokio::test]
async fn counts_and_digests_that_do_not_add_up_are_refused() {
    let other = "0123456789abcdef0123456789abcdef";
    let cases: [(&str, Value, &str); 6] = [
        ("/keys", json!(5), "it says keys 5 where 4 is true"),
        ("/bytes", json!(u64::MAX), "it says bytes 18446744073709551615 where 8 is true"),
        ("/content_digest", json!(other), "it says content_digest 0123"),
        ("/shards/0/content_digest", json!(other), "it says content_digest"),
        ("/version", json!("000001-00000000"), "it says version 000001-00000000 where"),
        ("/shards/0/bytes", json!(u64::MAX), "do not fit its files"),
    ];
    for (place, value, expected) in cases {
        let told = told(|manifest| *manifest.pointer_mut(place).unwrap() = value).await;
        assert!(told.contains(expected), "{place}: {told}");
    }
}

#[tokio::test]
async fn slots_that_overlap_or_are_missing_are_refused() {
    let cases: [(&str, Value, &str); 6] = [
        ("/shards/1/slots", json!([8191, 16383]), "shard 1: its hash slots 8191 to 16383 overlap those before"),
        ("/shards/1/slots", json!([8193, 16383]), "shard 1: its hash slots 8193 to 16383 leave out those before"),
        ("/shards/1/slots", json!([8192, 16382]), "hash slots 16383 to 16383 belong to no shard"),
        ("/shards/1/slots", json!([8192, 16384]), "8192 to 16384 is no range of hash slots"),
        ("/shards/0/slots", json!([0, 65535]), "0 to 65535 is no range of hash slots"),
        ("/shards/1/index", json!(0), "its index is 0"),
    ];
    for (place, value, expected) in cases {
        let told = told(|manifest| *manifest.pointer_mut(place).unwrap() = value).await;
        assert!(told.contains(expected), "{place}: {told}");
    }
    assert!(told(|manifest| manifest["shards"] = json!([])).await.contains("shards 0 where 1 to 4096"));
}

#[tokio::test]
async fn file_names_that_lead_elsewhere_are_refused() {
    for name in ["../x", "/etc/passwd", "a/b", "..", ".", "", ".hidden", "a\\b", "a\0b", "ä", &"x".repeat(256)] {
        let told = told(|manifest| manifest["shards"][0]["files"][0]["name"] = json!(name)).await;
        assert!(told.contains("the name is no plain file name"), "{name:?}: {told}");
    }
    let told = told(|manifest| {
        let first = manifest["shards"][0]["files"][0].clone();
        manifest["shards"][0]["files"].as_array_mut().unwrap().push(first);
    });
    assert!(told.await.contains("it is listed twice"));
}

#[tokio::test]
async fn absurd_sizes_are_refused() {
    for (size, expected) in [
        (json!(u64::MAX), "no file is that large"),
        (json!((5_u64 << 40) + 1), "no file is that large"),
        (json!(5 << 20), "the number of chunk digests does not fit its size"),
        (json!(0), "the number of chunk digests does not fit its size"),
        (json!(-1), "it is no manifest"),
        (json!(1e30), "it is no manifest"),
    ] {
        let told = told(|manifest| manifest["shards"][0]["files"][0]["size"] = size).await;
        assert!(told.contains(expected), "{told}");
    }
    assert!(told(|manifest| manifest["shards"][0]["files"] = json!([])).await.contains("it has 0 files"));
}

#[tokio::test]
async fn a_later_format_is_told_from_nonsense() {
    assert!(told(|manifest| *manifest = json!({ "format": 2, "all": "new" })).await.contains("its format is 2"));
    assert!(told(|manifest| *manifest = json!("text")).await.contains("it is no manifest"));
    assert!(told(|manifest| manifest["dataset"] = json!("../x")).await.contains("it is no manifest"));
}

#[tokio::test]
async fn a_manifest_of_absurd_size_is_not_read() {
    let world = World::new();
    let version = world.build_rows("a,1\n", 1).await.manifest.version;
    let path = world.folder.path().join(format!("facts/versions/{version}/manifest.json"));
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(300 << 20).unwrap();
    let error = world.repository.manifest(&version).await.unwrap_err();
    assert!(matches!(error, Error::ManifestSize { bytes, .. } if bytes == 300 << 20), "{error}");
}

#[tokio::test]
async fn shards_of_unequal_ranges_are_fine_as_long_as_they_cover_all() {
    let world = World::new();
    let mut manifest = world.build_rows("a,1\n", 2).await.manifest;
    manifest.shards[0].slots = SlotRange { first: 0, last: 99 };
    manifest.shards[1].slots = SlotRange { first: 100, last: 16_383 };
    let read = Manifest::parse(&manifest.to_json(), manifest.version).unwrap();
    assert_eq!([99, 100, 16_383].map(|slot| read.shard_of(slot).index), [0, 1, 1]);
    assert_ne!(read.shards[0].files[0].sha256, Digest::of(b""));
}
