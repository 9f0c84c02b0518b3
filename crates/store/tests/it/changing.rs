//! Objects with several writers, on a local folder. The same on S3 is tested where datasets are.

use bytes::Bytes;
use store::Swap;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::open;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_one_takes_a_name() {
    let folder = TempDir::new().unwrap();
    let mut tasks = JoinSet::new();
    for writer in 0..16_u8 {
        let store = open(folder.path());
        tasks.spawn(
            async move { store.put_new("names/one", Bytes::from(vec![writer])).await.unwrap().then_some(writer) },
        );
    }
    let winners: Vec<u8> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(open(folder.path()).get("names/one").await.unwrap(), winners);
}

/// Each writer adds one to a number many times: no addition is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_swap_is_lost() {
    const WRITERS: u64 = 4;
    const TIMES: u64 = 10;
    let folder = TempDir::new().unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..WRITERS {
        let store = open(folder.path()); // its own, as in another process
        tasks.spawn(async move {
            let mut done = 0;
            while done < TIMES {
                let found = store.get_tagged("number").await.unwrap();
                let number: u64 =
                    found.as_ref().map_or(0, |(text, _)| std::str::from_utf8(text).unwrap().parse().unwrap());
                let next = Bytes::from((number + 1).to_string());
                match store.compare_and_swap("number", found.as_ref().map(|(_, tag)| tag), next).await.unwrap() {
                    Swap::Done => done += 1,
                    Swap::Conflict => {}
                }
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(open(folder.path()).get("number").await.unwrap(), (WRITERS * TIMES).to_string());
}

#[tokio::test]
async fn a_swap_from_another_state_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    assert_eq!(store.compare_and_swap("a", None, "one".into()).await.unwrap(), Swap::Done);
    assert_eq!(store.compare_and_swap("a", None, "two".into()).await.unwrap(), Swap::Conflict);
    let (bytes, tag) = store.get_tagged("a").await.unwrap().unwrap();
    assert_eq!(bytes, "one");
    assert_eq!(store.compare_and_swap("a", Some(&tag), "two".into()).await.unwrap(), Swap::Done);
    assert_eq!(store.compare_and_swap("a", Some(&tag), "three".into()).await.unwrap(), Swap::Conflict);
    assert_eq!(store.get("a").await.unwrap(), "two");
    std::fs::remove_file(folder.path().join("a")).unwrap();
    assert_eq!(store.compare_and_swap("a", Some(&tag), "four".into()).await.unwrap(), Swap::Conflict);
    assert_eq!(store.get_tagged("a").await.unwrap(), None);
}
