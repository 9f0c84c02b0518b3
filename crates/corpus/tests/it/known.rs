use corpus::{FileEntry, Known, Listed, Manifest, Seen};
use types::{FileOrdinal, SegmentOrdinal};

fn entry(key: &str, etag: &str) -> FileEntry {
    FileEntry { key: key.as_bytes().to_vec(), size: 1, etag: etag.to_owned() }
}

/// Segments from lists of (key, etag), numbered from 0.
fn known(segments: &[&[(&str, &str)]]) -> Known {
    let mut known = Known::new();
    for (segment, files) in (0..).map(SegmentOrdinal).zip(segments) {
        known.add(segment, &manifest(files));
    }
    known
}

fn manifest(files: &[(&str, &str)]) -> Manifest {
    Manifest { files: files.iter().map(|(key, etag)| entry(key, etag)).collect() }
}

fn unreadable(folders: &[&str]) -> Listed {
    Listed { unreadable: folders.iter().map(|key| key.as_bytes().to_vec()).collect(), ..Listed::default() }
}

/// What a listing of these files makes of each of them, and which files are gone.
fn compare(known: &Known, files: &[(&str, &str)], listed: &Listed) -> (Vec<Seen>, Vec<(u32, Vec<u32>)>) {
    let mut diff = known.diff();
    let seen = files.iter().map(|(key, etag)| diff.see(&entry(key, etag))).collect();
    let plain =
        |(segment, files): (SegmentOrdinal, Vec<FileOrdinal>)| (segment.0, files.iter().map(|file| file.0).collect());
    (seen, diff.finish(listed).into_iter().map(plain).collect())
}

#[test]
fn files_are_known_new_or_changed_and_the_rest_is_gone() {
    let known = known(&[&[("a", "1"), ("b", "1"), ("c", "1")], &[("d/e", "1"), ("d/f", "1")]]);
    let files = [("d/f", "1"), ("a", "2"), ("x", "1"), ("c", "1")];
    let (seen, gone) = compare(&known, &files, &Listed::default());
    assert_eq!(seen, [Seen::Known, Seen::Changed, Seen::New, Seen::Known]);
    assert_eq!(gone, [(0, vec![0, 1]), (1, vec![0])]);
}

#[test]
fn nothing_known_makes_everything_new() {
    let (seen, gone) = compare(&Known::new(), &[("a", "1")], &Listed::default());
    assert_eq!((seen, gone), (vec![Seen::New], vec![]));
    assert!(Known::new().is_empty());
}

#[test]
fn files_below_unreadable_folders_are_not_gone() {
    let files: &[_] = &[("d/in", "1"), ("d/sub/in", "1"), ("dd", "1"), ("e/d/in", "1"), ("d", "1")];
    let known = known(&[files]);
    assert_eq!(compare(&known, &[], &unreadable(&["d"])).1, [(0, vec![2, 3, 4])]);
    assert_eq!(compare(&known, &[], &unreadable(&["d/sub", "e"])).1, [(0, vec![0, 2, 4])]);
    assert_eq!(compare(&known, &[], &unreadable(&[""])).1, []);
}

#[test]
fn a_changed_file_replaces_its_old_one_even_in_a_folder_read_in_part() {
    let known = known(&[&[("d/a", "1"), ("d/b", "1")]]);
    let (seen, gone) = compare(&known, &[("d/a", "2")], &unreadable(&["d"]));
    assert_eq!((seen, gone), (vec![Seen::Changed], vec![(0, vec![0])]));
}

#[test]
fn gone_files_are_new_when_they_come_back_and_are_not_reported_again() {
    let mut known = known(&[&[("a", "1"), ("b", "1"), ("c", "1")]]);
    known.remove_gone(SegmentOrdinal(0), &[FileOrdinal(1), FileOrdinal(99)]);
    known.remove_gone(SegmentOrdinal(7), &[FileOrdinal(0)]);
    assert_eq!(known.len(), 2);
    let (seen, gone) = compare(&known, &[("b", "1")], &Listed::default());
    assert_eq!((seen, gone), (vec![Seen::New], vec![(0, vec![0, 2])]));
}

#[test]
fn compaction_forgets_only_what_is_gone() {
    let mut known = known(&[&[("a", "1"), ("b", "1"), ("c", "1")], &[("d", "1")]]);
    known.remove_gone(SegmentOrdinal(0), &[FileOrdinal(0), FileOrdinal(1), FileOrdinal(2)]);
    assert_eq!(known.len(), 1);
    known.add(SegmentOrdinal(0), &manifest(&[("a", "1")])); // known to be gone as a whole
    known.add(SegmentOrdinal(2), &manifest(&[("e", "1"), ("f", "1")]));
    let (seen, gone) = compare(&known, &[("a", "1"), ("f", "1")], &Listed::default());
    assert_eq!((seen, gone), (vec![Seen::New, Seen::Known], vec![(1, vec![0]), (2, vec![0])]));
    known.remove_gone(SegmentOrdinal(2), &[FileOrdinal(1)]);
    assert_eq!(compare(&known, &[("f", "1")], &Listed::default()).0, [Seen::New]);
}

#[test]
fn of_two_stored_contents_of_a_key_only_the_listed_one_stays() {
    let known = known(&[&[("a", "1")], &[("a", "2")], &[("a", "3")]]);
    let (seen, gone) = compare(&known, &[("a", "2")], &Listed::default());
    assert_eq!((seen, gone), (vec![Seen::Known], vec![(0, vec![0]), (2, vec![0])]));
    let (seen, gone) = compare(&known, &[("a", "4")], &Listed::default());
    assert_eq!((seen, gone), (vec![Seen::Changed], vec![(0, vec![0]), (1, vec![0]), (2, vec![0])]));
}

#[test]
fn a_segment_added_twice_counts_once() {
    let mut known = known(&[&[("a", "1")]]);
    known.add(SegmentOrdinal(0), &manifest(&[("a", "1")]));
    assert_eq!(known.len(), 1);
}
