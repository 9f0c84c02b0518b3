use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use dataset::{
    Announced, ContentDigest, Slotting,
    build::{Build, OnDuplicate, SourceFile, Step},
};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::world::{World, names, open, plan, records, run, silent, verify};

fn rows(pairs: &BTreeMap<String, String>) -> String {
    pairs.iter().map(|(key, value)| format!("{key},{value}\n")).collect()
}

fn pairs(count: u32) -> BTreeMap<String, String> {
    (0..count).map(|number| (format!("key-{number}"), format!("value {number}"))).collect()
}

#[tokio::test]
async fn a_version_holds_every_row_in_the_shard_of_its_slot() {
    let (world, pairs) = (World::new(), pairs(1000));
    let manifest = world.build_rows(&rows(&pairs), 3).await.manifest;
    assert_eq!(records(&world.repository, &manifest), pairs);
    assert_eq!((manifest.keys, manifest.source.rows, manifest.source.duplicate_rows), (1000, 1000, 0));
    assert!(manifest.shards.iter().all(|shard| shard.keys > 200), "{:?}", manifest.shards);
    verify(&world.repository, &manifest).unwrap();
    let read = world.repository.manifest(&manifest.version).await.unwrap();
    assert_eq!(read, manifest);
    assert_eq!(world.repository.announcement().await.unwrap().target(), Some(manifest.version));
    assert_eq!(world.left(), [".announced.json.lock", "announced.json", "sequences", "versions"]);
}

#[tokio::test]
async fn the_digest_is_the_sum_over_all_rows_and_names_the_version() {
    let (world, pairs) = (World::new(), pairs(100));
    let manifest = world.build_rows(&rows(&pairs), 2).await.manifest;
    let mut expected = ContentDigest::default();
    pairs.iter().for_each(|(key, value)| expected.add(key.as_bytes(), value.as_bytes()));
    assert_eq!(manifest.content_digest, expected);
    assert_eq!(manifest.version.to_string(), format!("000001-{}", expected.short()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_same_rows_give_the_same_digest_whatever_their_order_and_shards(
        pairs in prop::collection::btree_map("[a-z{}]{1,9}", "[a-z ]{0,30}", 1..60),
        shards in prop::collection::vec(1..40_u16, 2),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let ordered = rows(&pairs);
        let reversed: String = ordered.lines().rev().map(|line| format!("{line}\n")).collect();
        let mut digests = Vec::new();
        for (rows, shards) in [(&ordered, shards[0]), (&reversed, shards[1])] {
            let world = World::new();
            let manifest = runtime.block_on(world.build_rows(rows, shards)).manifest;
            prop_assert_eq!(records(&world.repository, &manifest), pairs.clone());
            digests.push(manifest.content_digest);
        }
        prop_assert_eq!(digests[0], digests[1]);
    }
}

/// Rows of which memory holds a part only, so that runs are spilled to the disk.
#[tokio::test(flavor = "multi_thread")]
async fn more_rows_than_memory_are_sorted_all_the_same() {
    const ROWS: u64 = 60_000;
    let world = World::new();
    let value = "v".repeat(1000);
    let source: String =
        (0..ROWS).map(|row| format!("{:016x},{value}{row}\n", row.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let built = world.build_rows(&source, 4).await;
    assert_eq!(built.manifest.keys, ROWS);
    assert!(built.manifest.bytes > 3 * (16 << 20), "it would fit in memory");
    verify(&world.repository, &built.manifest).unwrap();
}

#[tokio::test]
async fn duplicates_are_refused_with_both_rows_or_resolved_as_told() {
    let world = World::new();
    let first = world.write("first.csv", "key,value\na,1\nb,2\n");
    let second = world.write("second.csv", "key,value\nc,3\na,4\na,5\n");
    let sources = [&first, &second].map(|path| plan(path).sources.remove(0));
    let build = |on_duplicate| Build { sources: sources.to_vec(), on_duplicate, shards: 2, ..plan(&first) };
    let told = world.refusal(build(OnDuplicate::Error)).await;
    assert!(told.contains("key a stands in"), "{told}");
    assert!(told.contains("first.csv, row 1,") && told.contains("second.csv, row 2"), "{told}");
    for (on_duplicate, expected) in [(OnDuplicate::First, "1"), (OnDuplicate::Last, "5")] {
        let manifest = run(build(on_duplicate), &world.repository).await.unwrap().manifest;
        let found = records(&world.repository, &manifest);
        assert_eq!(
            found.iter().map(|(key, value)| format!("{key}{value}")).collect::<String>(),
            format!("a{expected}b2c3")
        );
        assert_eq!((manifest.keys, manifest.source.rows, manifest.source.duplicate_rows), (3, 5, 2));
        verify(&world.repository, &manifest).unwrap();
    }
}

#[tokio::test]
async fn the_prefix_decides_the_shard_and_is_not_stored() {
    let world = World::new();
    let source = world.write("rows.csv", "key,value\na,1\nb,2\nc,3\n");
    let build = Build { key_prefix: "{files}:".to_owned(), shards: 8, ..plan(&source) };
    let manifest = run(build, &world.repository).await.unwrap().manifest;
    let slot = Slotting::new("{files}:").slot(b"a");
    let filled: Vec<_> = manifest.shards.iter().filter(|shard| shard.keys > 0).map(|shard| shard.index).collect();
    assert_eq!(filled, [manifest.shard_of(slot).index], "the hash tag keeps all keys in one slot");
    assert!(records(&world.repository, &manifest).contains_key("a"));
    verify(&world.repository, &manifest).unwrap();
}

#[tokio::test]
async fn a_build_tells_how_far_it_is_and_may_keep_quiet_about_the_result() {
    let world = World::new();
    let source = world.write("rows.csv", "key,value\na,1\n");
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let build = Build { announce: false, ..plan(&source) };
    let built = build.run(&world.repository, Arc::new(move |step| seen.lock().unwrap().push(step))).await.unwrap();
    assert_eq!(built.announced, None);
    assert_eq!(world.repository.announcement().await.unwrap().target(), None);
    assert_eq!(world.repository.versions().await.unwrap(), [built.manifest.version]);
    let size = source.metadata().unwrap().len();
    let steps = steps.lock().unwrap();
    assert!(steps.contains(&Step::Read { done: size, of: size }) && steps.contains(&Step::Write { done: 1, of: 1 }));
    let files = built.manifest.file_bytes();
    assert!(steps.contains(&Step::Hash { done: files, of: files }));
    assert!(steps.contains(&Step::Upload { done: files, of: files }));
}

#[tokio::test]
async fn temporary_files_lie_where_told_and_are_gone_afterwards() {
    let (world, temp) = (World::new(), TempDir::new().unwrap());
    let source = world.write("rows.csv", "key,value\na,1\n");
    let there = temp.path().to_owned();
    let build = Build { temp_dir: Some(there.clone()), ..plan(&source) };
    let seen = Arc::new(Mutex::new(0));
    let most = Arc::clone(&seen);
    let look = move |_: Step| {
        let mut most = most.lock().unwrap();
        *most = names(&there).len().max(*most);
    };
    build.run(&world.repository, Arc::new(look)).await.unwrap();
    assert_eq!((*seen.lock().unwrap(), names(temp.path())), (1, Vec::new()));
    let missing = Build { temp_dir: Some(temp.path().join("none")), ..plan(&source) };
    let error = run(missing, &world.repository).await.unwrap_err();
    assert!(error.to_string().contains("none"), "{error}");
}

/// Eight builders at a time: each gets a number of its own, and the last one is announced.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn builders_at_a_time_share_no_number_and_lose_no_announcement() {
    let world = World::new();
    let mut tasks = tokio::task::JoinSet::new();
    for builder in 0..8 {
        let source = world.write(&format!("{builder}.csv"), format!("key,value\n{builder},{builder}\n"));
        let repository = open(&world.folder.path().join("facts"));
        tasks.spawn(async move { plan(&source).run(&repository, silent()).await.unwrap() });
    }
    let built = tasks.join_all().await;
    let mut numbers: Vec<_> = built.iter().map(|built| built.manifest.version.sequence()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=8));
    let versions = world.repository.versions().await.unwrap();
    let announcement = world.repository.announcement().await.unwrap();
    assert_eq!((announcement.version, announcement.previous), (versions.last().copied(), Some(versions[6])));
    for built in built {
        let is_last = built.manifest.version == versions[7];
        assert!(!is_last || built.announced == Some(Announced::Current));
    }
}

#[tokio::test]
async fn a_build_that_nobody_waits_for_leaves_nothing() {
    let world = World::new();
    let source = world.write("rows.csv", format!("key,value\n{}", rows(&pairs(200_000))));
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let on_step = move |_: Step| {
        if let Some(sender) = sender.lock().unwrap().take() {
            let _ = sender.send(());
        }
    };
    let building = plan(&source).run(&world.repository, Arc::new(on_step));
    tokio::select! {
        _ = building => panic!("it was faster than its first report"),
        _ = receiver => {}
    }
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while world.left() != [""; 0] {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", world.left());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_sources_are_read_one_after_another() {
    let world = World::new();
    let csv = world.write("a.csv", "value,key\n1,a\n");
    let jsonl = world.write("b.jsonl", "{\"key\":\"b\",\"value\":\"2\"}\n");
    let sources: Vec<SourceFile> = [&csv, &jsonl].iter().flat_map(|path| plan(path).sources).collect();
    let manifest = run(Build { sources, ..plan(&csv) }, &world.repository).await.unwrap().manifest;
    assert_eq!(records(&world.repository, &manifest).into_values().collect::<String>(), "12");
}
