//! The store against a real folder.

mod changing;
mod files;

use std::{fs, os::unix::fs::symlink, path::Path};

use bytes::Bytes;
use store::{Error, Store};
use tempfile::TempDir;

const KEY: &str = "manifests/ab/abcd";

fn open(folder: &Path) -> Store {
    Store::open(&format!("file://{}", folder.display())).expect("a temporary folder opens")
}

#[tokio::test]
async fn an_object_is_read_as_it_was_written() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    store.put(KEY, Bytes::from_static(b"content")).await.unwrap();
    assert_eq!(store.get(KEY).await.unwrap(), "content");
    store.put("empty", Bytes::new()).await.unwrap();
    assert_eq!(store.get_optional("empty").await.unwrap(), Some(Bytes::new()));
    assert_eq!(open(folder.path()).get(KEY).await.unwrap(), "content");
}

#[tokio::test]
async fn a_repeat_is_fine_and_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    for _ in 0..3 {
        store.put(KEY, Bytes::from_static(b"content")).await.unwrap();
    }
    let names: Vec<_> =
        fs::read_dir(folder.path().join("manifests/ab")).unwrap().map(|name| name.unwrap().file_name()).collect();
    assert_eq!(names, ["abcd"]);
}

#[tokio::test]
async fn a_missing_object_is_told_from_a_failure() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    assert_eq!(store.get_optional(KEY).await.unwrap(), None);
    let error = store.get(KEY).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { key } if key == KEY) && !error.is_retryable());

    fs::create_dir_all(folder.path().join("manifests/ab")).unwrap();
    symlink("abcd", folder.path().join(KEY)).unwrap(); // a link to itself: a failure that root meets as well
    assert!(matches!(store.get_optional(KEY).await, Err(Error::Get { .. })));
}

#[tokio::test]
async fn a_left_over_of_a_crash_is_neither_read_nor_in_the_way() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    fs::create_dir_all(folder.path().join("manifests/ab")).unwrap();
    fs::write(folder.path().join("manifests/ab/abcd#1"), "half").unwrap();
    assert_eq!(store.get_optional(KEY).await.unwrap(), None);
    store.put(KEY, Bytes::from_static(b"whole")).await.unwrap();
    assert_eq!(store.get(KEY).await.unwrap(), "whole");
}

/// Many writers replace one object while readers read it: each read gives one whole version.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_whole_objects_only() {
    const BYTES: usize = 1 << 16;
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    store.put(KEY, Bytes::from(vec![0; BYTES])).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 1..=4 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..10 {
                store.put(KEY, Bytes::from(vec![writer; BYTES])).await.unwrap();
            }
        });
    }
    while !tasks.is_empty() {
        let read = store.get(KEY).await.unwrap();
        assert!(read.len() == BYTES && read.iter().all(|&byte| byte == read[0]), "a mixture");
        while let Some(ended) = tasks.try_join_next() {
            ended.unwrap();
        }
    }
}

#[tokio::test]
async fn no_key_leads_outside() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("inside"));
    fs::write(folder.path().join("secret"), "secret").unwrap();
    for key in ["../secret", "a/../../secret", "./../secret", ""] {
        let error = store.put(key, Bytes::from_static(b"overwritten")).await.unwrap_err();
        assert!(matches!(error, Error::Put { .. }) && !error.is_retryable(), "{key}: {error:?}");
        assert!(store.get_optional(key).await.is_err(), "{key}");
    }
    assert_eq!(fs::read(folder.path().join("secret")).unwrap(), b"secret");
}

#[test]
fn a_missing_folder_is_created_and_anything_else_is_explained() {
    let folder = TempDir::new().unwrap();
    let deep = folder.path().join("a/b c/d");
    let store = Store::open(&format!("file://{}", folder.path().join("a/b%20c/d").display())).unwrap();
    assert!(deep.is_dir());
    assert!(store.url().ends_with("a/b%20c/d"));

    fs::write(folder.path().join("file"), "").unwrap();
    let error = Store::open(&format!("file://{}/file", folder.path().display())).unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error:?}");

    let reason = |url: &str| match Store::open(url) {
        Err(error @ Error::Url { .. }) => error.to_string(),
        other => panic!("{url}: {other:?}"),
    };
    assert!(reason("az://account/container").contains("this build has no az support"));
    assert!(reason("gs://bucket").contains("this build has no gs support"));
    assert!(reason("memory:///").contains("no memory support"));
    assert!(reason("/var/lib/dragnet").contains("file:///var/lib/dragnet"));
    for relative in ["file:data", "file://data/objects", "data", "", "file:///a?b", "file:///a#b"] {
        reason(relative);
    }
}
