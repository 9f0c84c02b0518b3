use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use protocol::v1::{FileException, ruleset_result::Verdict};
use store::keys;
use types::{FileOrdinal, LeaseId};

use crate::world::{World, delta, digest_of, target};

const RULES: &str = r#"
private rule helper { strings: $a = "evil" condition: $a }
rule evil : bad worse { meta: family = "test" score = 7 sure = true strings: $a = "evil" condition: $a and helper }
rule big { condition: file_size > 100000 }
rule named { condition: filename == "name.txt" and extension == ".txt" and filepath endswith "/files/name.txt" }
"#;

fn pair(file: &str, rule: &str) -> (String, String) {
    (file.to_owned(), rule.to_owned())
}

#[tokio::test]
async fn findings_and_receipt_are_exact() {
    let world = World::new(&[]).await;
    world.write("a", "something evil, very evil");
    world.write("b", "nothing");
    world.write("empty", "");
    world.write("large", [&vec![b'x'; 200_000][..], b"evil"].concat());
    world.write("name.txt", "a name");
    let segment = world.segment(0).await;
    let rules = world.rules(3, RULES).await;

    let (lease, results) = world.scan(&segment, vec![target(1, &rules)]).await;

    let done = results.done(1);
    assert_eq!((done.matched, done.findings, done.excepted.len()), (3, 4, 0));
    assert_eq!(done.scanned_bytes, segment.wire.bytes);
    let expected = [pair("a", "evil"), pair("large", "big"), pair("large", "evil"), pair("name.txt", "named")];
    assert_eq!(world.found(1, 3, lease).await, expected);

    let rows = world.rows(1, 3, lease).await;
    let row = rows.iter().find(|row| row.key == b"a").unwrap();
    assert_eq!(row.sha256, digest_of(b"something evil, very evil"));
    assert_eq!(row.tags, ["bad", "worse"]);
    assert_eq!(row.metadata, r#"[["family","test"],["score",7],["sure",true]]"#);
    assert_eq!(row.matches.iter().map(|found| found.offset).collect::<Vec<_>>(), [10, 21]);
    assert_eq!((row.version, row.found_in, row.size), (3, 3, 25));
    let large = rows.iter().find(|row| row.key == b"large").unwrap();
    assert_eq!(large.sha256, digest_of(&[&vec![b'x'; 200_000][..], b"evil"].concat()));

    let hashes = world.store.get(&keys::hashes(&segment.wire.manifest().unwrap())).await.unwrap();
    let hashes = corpus::Hashes::decode(&hashes).unwrap();
    assert_eq!(hashes.get(FileOrdinal(segment.place_of("b"))), Some(digest_of(b"nothing")));
    assert!(hashes.0.iter().all(Option::is_some));
}

#[tokio::test]
async fn a_clean_segment_has_no_findings_object() {
    let world = World::new(&[]).await;
    world.write("a", "good");
    let segment = world.segment(0).await;
    let rules = world.rules(1, RULES).await;
    let (lease, results) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert_eq!((results.done(1).matched, results.done(1).findings), (0, 0));
    assert!(world.found(1, 1, lease).await.is_empty());
}

#[tokio::test]
async fn a_segment_is_read_once_for_two_rulesets_with_the_same_rule_names() {
    let world = World::new(&[]).await;
    world.write("a", "one");
    world.write("b", "two");
    let segment = world.segment(0).await;
    let first = world.rules(1, r#"rule same { strings: $a = "one" condition: $a }"#).await;
    let second = world.rules(1, r#"rule same { strings: $a = "two" condition: $a }"#).await;
    let (lease, results) = world.scan(&segment, vec![target(1, &first), target(2, &second)]).await;
    assert_eq!((results.done(1).matched, results.done(2).matched), (1, 1));
    assert_eq!(world.found(1, 1, lease).await, [pair("a", "same")]);
    assert_eq!(world.found(2, 1, lease).await, [pair("b", "same")]);
}

#[tokio::test]
async fn a_delta_carries_rows_over_and_drops_those_of_removed_rules() {
    let world = World::new(&[]).await;
    world.write("a", "one two");
    world.write("b", "two three");
    let segment = world.segment(0).await;
    let rule = |word: &str| format!("rule {word} {{ strings: $a = \"{word}\" condition: $a }}\n");
    let first = world.rules(1, &[rule("one"), rule("two")].concat()).await;
    let second = world.rules(2, &[rule("two"), rule("three")].concat()).await;

    let (old, _) = world.scan(&segment, vec![target(1, &first)]).await;
    let (new, results) = world.scan(&segment, vec![delta(1, &first, &second, Some(old))]).await;

    assert_eq!(world.found(1, 2, new).await, [pair("a", "two"), pair("b", "three"), pair("b", "two")]);
    assert_eq!((results.done(1).matched, results.done(1).findings), (2, 3));
    let rows = world.rows(1, 2, new).await;
    let found_in = |rule: &str| rows.iter().find(|row| row.rule == rule).unwrap().found_in;
    assert_eq!((found_in("two"), found_in("three")), (1, 2));
    assert!(rows.iter().all(|row| row.version == 2));
}

#[tokio::test]
async fn a_version_without_new_rules_reads_nothing() {
    let world = World::new(&[]).await;
    world.write("a", "one two");
    let segment = world.segment(0).await;
    let first = world.rules(1, r#"rule one { strings: $a = "one" condition: $a } rule two { condition: true }"#).await;
    let second = world.rules(2, r#"rule one { strings: $a = "one" condition: $a }"#).await;
    let (old, _) = world.scan(&segment, vec![target(1, &first)]).await;
    std::fs::remove_file(world.path("a")).unwrap();
    let (new, results) = world.scan(&segment, vec![delta(1, &first, &second, Some(old))]).await;
    assert_eq!(results.done(1).scanned_bytes, 0);
    assert_eq!(world.found(1, 2, new).await, [pair("a", "one")]);
}

#[tokio::test]
async fn an_excepted_file_is_scanned_whole_on_a_delta() {
    let world = World::new(&[]).await;
    world.write("a", "one");
    world.write("b", "one");
    let segment = world.segment(0).await;
    let first = world.rules(1, r#"rule one { strings: $a = "one" condition: $a }"#).await;
    let second = world
        .rules(2, r#"rule one { strings: $a = "one" condition: $a } rule two { strings: $a = "two" condition: $a }"#)
        .await;

    // As if "b" had no answer at the first version: its rows there do not count either.
    let (old, _) = world.scan(&segment, vec![target(1, &first)]).await;
    let mut delta = delta(1, &first, &second, Some(old));
    delta.excepted = vec![segment.place_of("b")];
    let (new, results) = world.scan(&segment, vec![delta]).await;

    let rows = world.rows(1, 2, new).await;
    let found_in = |key: &[u8]| rows.iter().filter(|row| row.key == key).map(|row| row.found_in).collect::<Vec<_>>();
    assert_eq!((found_in(b"a"), found_in(b"b")), (vec![1], vec![2]));
    assert_eq!((results.done(1).matched, results.done(1).findings), (2, 2));
}

#[tokio::test]
async fn lost_findings_of_the_version_before_are_found_again() {
    let world = World::new(&[]).await;
    world.write("a", "one");
    let segment = world.segment(0).await;
    let first = world.rules(1, r#"rule one { strings: $a = "one" condition: $a }"#).await;
    let second =
        world.rules(2, r#"rule one { strings: $a = "one" condition: $a } rule two { condition: false }"#).await;
    let never = LeaseId { index: 1, slot: 1 };
    let (new, _) = world.scan(&segment, vec![delta(1, &first, &second, Some(never.into()))]).await;
    assert_eq!(world.found(1, 2, new).await, [pair("a", "one")]);
}

#[tokio::test]
async fn rules_that_do_not_compile_cost_only_their_own_target() {
    let world = World::new(&[]).await;
    world.write("a", "one");
    let segment = world.segment(0).await;
    let good = world.rules(1, r#"rule one { strings: $a = "one" condition: $a }"#).await;
    let bad = world.rules(1, r#"rule broken { condition: undefined_thing > 3 }"#).await;
    for _ in 0..2 {
        let (lease, results) = world.scan(&segment, vec![target(1, &bad), target(2, &good)]).await;
        assert!(
            matches!(results.verdict(1), Verdict::Failed(reason) if reason.contains("undefined_thing")),
            "{results:?}"
        );
        assert_eq!(world.found(2, 1, lease).await, [pair("a", "one")]);
    }
}

#[tokio::test]
async fn names_need_not_be_text() {
    let world = World::new(&[]).await;
    let name = OsStr::from_bytes(b"\xff\xfe\n odd");
    std::fs::write(world.folder.path().join("files").join(name), "one").unwrap();
    let segment = world.segment(0).await;
    let rules =
        world.rules(1, r#"rule one { strings: $a = "one" condition: $a and filename == "\xff\xfe\n odd" }"#).await;
    let (lease, results) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert_eq!(results.done(1).matched, 1);
    assert_eq!(world.rows(1, 1, lease).await[0].key, name.as_bytes());
}

#[tokio::test]
async fn files_above_the_limit_are_not_read() {
    let world = World::new(&[]).await;
    let huge = std::fs::File::create(world.path("huge")).unwrap();
    huge.set_len((64 << 20) + 1).unwrap();
    world.write("a", "one");
    let segment = world.segment(0).await;
    let rules = world.rules(1, "rule every { condition: true }").await;
    let (_, results) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert_eq!(results.excepted(1, &segment), [("huge".to_owned(), FileException::TooLarge)].into());
    assert_eq!(results.done(1).matched, 1);
}

#[tokio::test]
async fn more_files_than_fit_a_batch_and_more_matches_than_fit_a_socket() {
    let world = World::new(&[]).await;
    for number in 0..1500 {
        world.write(&format!("f{number}"), "spam ".repeat(200));
    }
    let segment = world.segment(0).await;
    let rules = world.rules(1, r#"rule spam { strings: $a = "spam" condition: $a }"#).await;
    let (lease, results) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert_eq!((results.done(1).matched, results.done(1).findings), (1500, 1500));
    assert!(world.rows(1, 1, lease).await.iter().all(|row| row.matches.len() == 200));
}
