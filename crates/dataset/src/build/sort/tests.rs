//! The external sort against the sort of the standard library.

use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::{arena::Arena, *};

type Owned = (u16, Vec<u8>, Vec<u8>, u64);

/// Sorts through runs of at most `limit` bytes, of which the last stays in memory.
fn sort_externally(rows: &[Owned], limit: usize, folder: &Path) -> Sorted {
    let mut runs = Vec::new();
    let mut arena = Arena::new(limit);
    for (shard, key, value, row) in rows {
        if !arena.has_room(key, value) {
            arena.sort();
            runs.push(Run::write_arena(&arena, folder).unwrap());
            arena.clear();
        }
        arena.push(*shard, key, value, *row);
    }
    arena.sort();
    runs.push(Run::in_memory(arena));
    Sorted { runs, memory: MIN_MEMORY, rows: rows.len() as u64, first_rows: vec![0] }
}

fn collect(sorted: &Sorted, shards: u16) -> Vec<Owned> {
    let mut rows = Vec::new();
    for shard in 0..shards {
        sorted
            .rows_of(shard, 2, |Row { key, value, row }| {
                rows.push((shard, key.to_vec(), value.to_vec(), row));
                Ok(())
            })
            .unwrap();
    }
    rows
}

fn rows() -> impl Strategy<Value = Vec<Owned>> {
    // Few letters and lengths around that of the prefix, so that keys often share it or are equal.
    let key = prop_oneof![
        prop::collection::vec(prop_oneof![Just(0_u8), Just(b'a'), Just(0xff)], 1..12),
        prop::collection::vec(any::<u8>(), 1..40),
    ];
    let value = prop::collection::vec(any::<u8>(), 0..200);
    let row = (0..3_u16, key, value);
    prop::collection::vec(row, 0..200).prop_map(|rows| {
        let numbered = rows.into_iter().zip(1..);
        numbered.map(|((shard, key, value), number)| (shard, key, value, number)).collect()
    })
}

proptest! {
    #[test]
    fn rows_come_out_by_shard_key_and_row(rows in rows(), limit in 1..20_000_usize) {
        let folder = TempDir::new().unwrap();
        let sorted = sort_externally(&rows, limit, folder.path());
        let mut expected = rows;
        expected.sort_by(|left, right| (left.0, &left.1, left.3).cmp(&(right.0, &right.1, right.3)));
        prop_assert_eq!(collect(&sorted, 3), expected);
    }

    #[test]
    fn merging_runs_beforehand_changes_nothing(rows in rows(), limit in 1..2_000_usize) {
        let folder = TempDir::new().unwrap();
        let sorted = sort_externally(&rows, limit, folder.path());
        let merged = Run::write_merged(&sorted.runs, MIN_MEMORY, folder.path()).unwrap();
        let merged = Sorted { runs: vec![merged], memory: MIN_MEMORY, rows: sorted.rows, first_rows: vec![0] };
        prop_assert_eq!(collect(&merged, 3), collect(&sorted, 3));
    }
}

#[test]
fn more_runs_than_can_be_merged_at_once_are_merged_in_steps() {
    let folder = TempDir::new().unwrap();
    let rows: Vec<Owned> =
        (1..=400).map(|row| (0, format!("{:04}", row * 7919 % 1000).into_bytes(), b"value".to_vec(), row)).collect();
    let mut sorted = sort_externally(&rows, 1, folder.path()); // a run for each row
    assert!(sorted.runs.len() > 3 * MAX_FAN_IN);
    sorted.reduce(folder.path()).unwrap();
    assert!(sorted.runs.len() <= MAX_FAN_IN);
    let keys: Vec<_> = collect(&sorted, 1).into_iter().map(|row| row.1).collect();
    assert!(keys.len() == 400 && keys.is_sorted());
}

#[test]
fn a_value_longer_than_any_buffer_is_read_back_whole() {
    let folder = TempDir::new().unwrap();
    let long: Vec<u8> = (0..5_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let rows = vec![(0, b"b".to_vec(), long.clone(), 1), (0, b"a".to_vec(), vec![1], 2), (0, b"c".to_vec(), long, 3)];
    let sorted = sort_externally(&rows, 1, folder.path());
    let mut expected = rows;
    expected.sort_by(|left, right| left.1.cmp(&right.1));
    assert!(collect(&sorted, 1) == expected);
}

#[test]
fn a_row_is_found_again_in_its_file() {
    let build = Build {
        name: types::Name::new("d").unwrap(),
        sources: ["a.csv", "b.csv", "c.csv"]
            .map(|path| super::super::SourceFile { path: path.into(), format: source::Format::Csv })
            .into(),
        key: "k".to_owned(),
        value: super::super::Value::Json,
        shards: 1,
        key_prefix: String::new(),
        on_duplicate: super::super::OnDuplicate::Error,
        memory: MIN_MEMORY,
        temp_dir: None,
        announce: false,
        builder: crate::manifest::Builder { program: String::new(), host: String::new() },
        now: types::Timestamp(0),
    };
    let build = Arc::new(build);
    // The second file has no rows.
    let sorted = Sorted { runs: Vec::new(), memory: MIN_MEMORY, rows: 15, first_rows: vec![0, 10, 10] };
    for (row, file, expected) in [(1, "a.csv", 1), (10, "a.csv", 10), (11, "c.csv", 1), (15, "c.csv", 5)] {
        assert_eq!(sorted.place(&build, row), Place { file: file.into(), row: expected });
    }
}
