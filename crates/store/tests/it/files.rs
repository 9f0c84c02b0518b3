//! Ranges, listings, and files that become objects.

use std::{fs, os::unix::fs::MetadataExt as _};

use store::{Error, Listed};
use tempfile::TempDir;

use crate::open;

#[tokio::test]
async fn a_range_is_read_and_ends_where_the_object_does() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    store.put("a/b", "0123456789".into()).await.unwrap();
    assert_eq!(store.get_range("a/b", 2..5).await.unwrap(), "234");
    assert_eq!(store.get_range("a/b", 8..99).await.unwrap(), "89");
    assert!(matches!(store.get_range("a/c", 0..1).await, Err(Error::NotFound { .. })));
    assert_eq!((store.size("a/b").await.unwrap(), store.size("a/c").await.unwrap()), (Some(10), None));
}

#[tokio::test]
async fn listings_show_what_is_whole() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    assert_eq!((store.list("a").await.unwrap(), store.list_folders("a").await.unwrap()), (vec![], vec![]));
    for key in ["a/y/2", "a/x/1", "a/x/z/3", "a/plain", "b/other"] {
        store.put(key, "12".into()).await.unwrap();
    }
    fs::write(folder.path().join("a/x/1#7"), "left over by a crash").unwrap();
    let listed = |key: &str| Listed { key: key.to_owned(), bytes: 2 };
    assert_eq!(store.list("a").await.unwrap(), ["a/plain", "a/x/1", "a/x/z/3", "a/y/2"].map(listed));
    assert_eq!(store.list_folders("a").await.unwrap(), ["x", "y"]);
    store.remove_folder("a/x").await.unwrap();
    store.remove_folder("a/never").await.unwrap();
    assert_eq!(store.list("a").await.unwrap(), ["a/plain", "a/y/2"].map(listed));
}

#[tokio::test]
async fn a_local_file_becomes_an_object_without_a_copy_where_it_can() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("store"));
    let file = folder.path().join("file");
    fs::write(&file, "content").unwrap();
    let told = std::sync::atomic::AtomicU64::new(0);
    let progress = |bytes| {
        told.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    };
    assert_eq!(store.put_file("a/b/c", &file, progress).await.unwrap(), 7);
    assert_eq!(told.into_inner(), 7);
    assert_eq!(store.get("a/b/c").await.unwrap(), "content");
    let object = store.local_path("a/b/c").unwrap();
    assert_eq!(fs::metadata(&object).unwrap().ino(), fs::metadata(&file).unwrap().ino());
    fs::remove_file(&file).unwrap();
    assert_eq!(fs::read(&object).unwrap(), b"content", "the object does not go with the file");

    fs::write(&file, "other").unwrap();
    store.put_file("a/b/c", &file, |_| ()).await.unwrap();
    assert_eq!(store.get("a/b/c").await.unwrap(), "other");
    assert_eq!(store.list("a").await.unwrap().len(), 1, "nothing else is left");
    assert!(store.put_file("a/b/d", &folder.path().join("none"), |_| ()).await.is_err());
    assert_eq!(store.size("a/b/d").await.unwrap(), None);
}
