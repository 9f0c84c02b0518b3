use std::sync::{Arc, OnceLock};

use corpus::{FileEntry, Hashes, Manifest, Source};
use types::{LeaseId, RulesetId, RulesetKey, RulesetVersion, Tenant};

use super::*;
use crate::job::{plan::Share, request::Version};

const OLD: Digest = Digest::from_bytes([1; 32]);
const NEW: Digest = Digest::from_bytes([2; 32]);

fn artifact(rules: &[&str]) -> types::RulesetArtifact {
    let text = rules.iter().map(|rule| format!("rule {rule} {{ condition: true }}\n")).collect();
    rules::split(vec![types::RulesetSource { namespace: "n".to_owned(), text }])
}

/// From a version with the rule `kept` to one with `added` as well.
fn parts() -> (TargetParts, Digest, Digest) {
    let (old, new) = (artifact(&["kept"]), artifact(&["kept", "added"]));
    let whole = Part::new(String::new(), None, NEW, rules::program(&new, None));
    let delta = Part::new(String::new(), Some(OLD), NEW, rules::program(&new, Some(&old)));
    let (kept, added) = (whole.owners.get("n", "kept").unwrap(), whole.owners.get("n", "added").unwrap());
    assert!(delta.failure.get().is_none() && OnceLock::<String>::new().get().is_none());
    (TargetParts { delta: Arc::new(delta), whole: Arc::new(whole) }, kept, added)
}

fn target(excepted: &[u32]) -> Target {
    Target {
        id: RulesetId(1),
        key: RulesetKey { tenant: Tenant::default(), name: "r".parse().unwrap() },
        from: Some(Version { number: RulesetVersion(1), digest: OLD }),
        to: Version { number: RulesetVersion(2), digest: NEW },
        prior: Some((RulesetVersion(1), LeaseId { index: 1, slot: 0 })),
        excepted: excepted.iter().copied().map(FileOrdinal).collect(),
    }
}

fn answer(file: u32, whole: bool, fate: FileFate) -> FileAnswer {
    FileAnswer { file: FileOrdinal(file), shares: [Share { target: 0, whole }].into(), fate }
}

fn hits(rules: &[&str]) -> FileFate {
    let hit = |rule: &&str| Hit {
        part: 0,
        namespace: "n".to_owned(),
        rule: (*rule).to_owned(),
        tags: Vec::new(),
        metadata: Vec::new(),
        matches: Vec::new(),
        truncated: false,
    };
    FileFate::Scanned { bytes: 10, sha256: Some(NEW), hits: rules.iter().map(hit).collect() }
}

fn merged(target: &Target, planned: &[u32], prior: Vec<Finding>, answers: &[FileAnswer]) -> Result<Merged, Unanswered> {
    let entry = |number: u8| FileEntry { key: vec![b'a' + number], size: 10, etag: String::new() };
    let manifest = Manifest { files: (0..4).map(entry).collect() };
    let segment = Segment {
        corpus: "c",
        ordinal: SegmentOrdinal(5),
        manifest: &manifest,
        hashes: &Hashes::unknown(4),
        source: &crate::origin::Origin::Folder(Source::open("file:///").unwrap()),
        facts: &Facts::default(),
    };
    let planned = planned.iter().copied().map(FileOrdinal).collect();
    merge(&segment, 0, target, &parts().0, &planned, prior, answers)
}

/// What an earlier scan found: the rule `kept` in each of these files.
fn prior(files: &[u32], unit: Digest) -> Vec<Finding> {
    let scanned: Vec<_> = files.iter().map(|file| answer(*file, true, hits(&["kept"]))).collect();
    let mut rows = merged(&target(&[0, 1, 2, 3]), files, Vec::new(), &scanned).unwrap().rows;
    for row in &mut rows {
        (row.version, row.found_in, row.unit) = (1, 1, unit);
    }
    rows
}

fn told(merged: &Merged) -> Vec<(u32, &str, u32)> {
    merged.rows.iter().map(|row| (row.file, row.rule.as_str(), row.found_in)).collect()
}

#[test]
fn rows_of_kept_units_are_carried_over() {
    let (_, kept, _) = parts();
    let answers = [answer(0, false, hits(&[])), answer(1, false, hits(&["added"]))];
    let merged = merged(&target(&[]), &[0, 1], prior(&[0, 1], kept), &answers).unwrap();
    assert_eq!(told(&merged), [(1, "added", 2), (0, "kept", 1), (1, "kept", 1)]);
    assert!(merged.rows.iter().all(|row| row.version == 2));
    assert_eq!((merged.done.matched, merged.done.findings, merged.done.scanned_bytes), (2, 3, 20));
}

#[test]
fn rows_of_units_that_are_no_more_are_not() {
    let gone = Digest::from_bytes([9; 32]);
    let merged = merged(&target(&[]), &[], prior(&[0], gone), &[]).unwrap();
    assert_eq!((told(&merged), merged.done.matched), (vec![], 0));
}

#[test]
fn a_hit_of_a_rule_that_others_only_depend_on_does_not_count() {
    let merged = merged(&target(&[]), &[0], Vec::new(), &[answer(0, false, hits(&["kept"]))]).unwrap();
    assert_eq!(told(&merged), []);
}

#[test]
fn a_file_scanned_whole_carries_nothing() {
    let (_, kept, _) = parts();
    let merged = merged(&target(&[1]), &[1], prior(&[1], kept), &[answer(1, true, hits(&["kept"]))]).unwrap();
    assert_eq!(told(&merged), [(1, "kept", 2)]);
}

#[test]
fn a_file_without_an_answer_keeps_no_rows() {
    let (_, kept, _) = parts();
    let answers = [answer(0, false, FileFate::Excepted(Exception::Gone)), answer(1, false, hits(&[]))];
    let merged = merged(&target(&[]), &[0, 1], prior(&[0, 1], kept), &answers).unwrap();
    assert_eq!(told(&merged), [(1, "kept", 1)]);
    assert_eq!((merged.done.matched, merged.done.findings, merged.done.excepted.len()), (1, 1, 1));
}

#[test]
fn a_planned_file_that_nobody_answered_for_is_never_clean() {
    let result = merged(&target(&[]), &[0, 1, 2], Vec::new(), &[answer(0, false, hits(&[]))]);
    assert_eq!(result, Err(Unanswered { files: 2 }));
}
