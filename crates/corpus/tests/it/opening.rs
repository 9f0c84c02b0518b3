use std::{
    fs::{self, File, FileTimes},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, UNIX_EPOCH},
};

use corpus::FileEntry;
use types::Exception;

use crate::folder::Folder;

const NO_LIMIT: u64 = u64::MAX;

fn forged(key: &[u8], like: &FileEntry) -> FileEntry {
    FileEntry { key: key.to_vec(), ..like.clone() }
}

/// Sets a time that no write of this test could have, so that no clock has to move on.
fn touch(folder: &Folder, key: &str, at: Duration) {
    let file = File::options().write(true).open(folder.path(key)).unwrap();
    file.set_times(FileTimes::new().set_modified(UNIX_EPOCH + at)).unwrap();
}

#[test]
fn a_listed_file_opens_and_reads() {
    let folder = Folder::with_files(&["d/file"]);
    let entry = folder.entry("d/file");
    let mut file = folder.source().open_file(&entry, entry.size).unwrap();
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "d/file");
    assert!(folder.source().still_same(&entry, &file));
}

#[test]
fn a_file_above_the_limit_is_too_large_even_if_it_is_gone() {
    let folder = Folder::with_files(&["file"]);
    let entry = folder.entry("file");
    assert_eq!(folder.source().open_file(&entry, entry.size - 1).unwrap_err(), Exception::TooLarge);
    folder.remove("file");
    assert_eq!(folder.source().open_file(&entry, 0).unwrap_err(), Exception::TooLarge);
}

#[test]
fn a_file_that_is_not_the_listed_one_is_gone() {
    type Change = fn(&Folder);
    let cases: [(&str, Change); 9] = [
        ("removed", |folder| folder.remove("d/file")),
        ("grown", |folder| folder.write("d/file", "something longer")),
        ("same size, other time", |folder| touch(folder, "d/file", Duration::from_nanos(1_000_000_001))),
        ("a folder", |folder| {
            folder.remove("d/file");
            fs::create_dir(folder.path("d/file")).unwrap();
        }),
        ("a FIFO", |folder| {
            folder.remove("d/file");
            folder.fifo("d/file");
        }),
        ("a socket", |folder| {
            folder.remove("d/file");
            folder.socket("d/file");
        }),
        ("a link to the very file", |folder| {
            fs::rename(folder.path("d/file"), folder.path("moved")).unwrap();
            folder.link("d/file", "../moved");
        }),
        ("below a link to the very folder", |folder| {
            fs::rename(folder.path("d"), folder.path("moved")).unwrap();
            folder.link("d", "moved");
        }),
        ("below a file", |folder| {
            fs::remove_dir_all(folder.path("d")).unwrap();
            folder.write("d", "");
        }),
    ];
    for (case, change) in cases {
        let folder = Folder::with_files(&["d/file"]);
        let entry = folder.entry("d/file");
        change(&folder);
        assert_eq!(folder.source().open_file(&entry, NO_LIMIT).unwrap_err(), Exception::Gone, "{case}");
    }
}

#[test]
fn permissions_and_further_links_do_not_make_another_file() {
    let folder = Folder::with_files(&["file"]);
    let entry = folder.entry("file");
    fs::set_permissions(folder.path("file"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::hard_link(folder.path("file"), folder.path("second")).unwrap();
    assert!(folder.source().open_file(&entry, NO_LIMIT).is_ok());
}

#[test]
fn no_key_leads_outside() {
    let folder = Folder::with_files(&["root/file", "secret"]);
    folder.link("root/out", "..");
    let source = corpus::Source::open(&format!("{}/root", folder.url())).unwrap();
    let secret = folder.entry("secret"); // with its right etag, so that only the path can be refused
    let absolute = folder.path("secret").to_str().unwrap().to_owned();
    let up_again = format!("../../../../../../../../{absolute}");
    let keys: [&[u8]; 12] = [
        b"../secret",
        b"./../secret",
        b"file/../../secret",
        b"out/secret",
        b"out/../secret",
        absolute.as_bytes(),
        up_again.as_bytes(),
        b"..",
        b"",
        b"/",
        b"../secret\0",
        b"//secret",
    ];
    for key in keys {
        let result = source.open_file(&forged(key, &secret), NO_LIMIT);
        assert!(matches!(result, Err(Exception::Gone | Exception::Unreadable)), "{}", corpus::display_key(key));
    }
    // The same etag inside the root would have opened: the refusals above are about the path.
    fs::hard_link(folder.path("secret"), folder.path("root/inside")).unwrap();
    assert!(source.open_file(&forged(b"inside", &secret), NO_LIMIT).is_ok());
}

#[test]
fn a_key_longer_than_any_path_is_unreadable() {
    let folder = Folder::with_files(&["file"]);
    let entry = forged(&b"x/".repeat(5000), &folder.entry("file"));
    assert!(folder.source().open_file(&entry, NO_LIMIT).is_err());
    let entry = forged(&b"x".repeat(300), &folder.entry("file"));
    assert_eq!(folder.source().open_file(&entry, NO_LIMIT).unwrap_err(), Exception::Unreadable);
}

#[test]
fn a_vanished_root_makes_no_file_gone() {
    let folder = Folder::with_files(&["root/file"]);
    let source = corpus::Source::open(&format!("{}/root", folder.url())).unwrap();
    let entry = source.list().next().unwrap();
    fs::rename(folder.path("root"), folder.path("away")).unwrap();
    assert_eq!(source.open_file(&entry, NO_LIMIT).unwrap_err(), Exception::Unreadable);
    fs::rename(folder.path("away"), folder.path("root")).unwrap();
    assert!(source.open_file(&entry, NO_LIMIT).is_ok());
}

#[test]
fn a_change_during_the_scan_is_noticed() {
    let folder = Folder::with_files(&["file"]);
    let (source, entry) = (folder.source(), folder.entry("file"));
    let file = source.open_file(&entry, NO_LIMIT).unwrap();
    folder.remove("file"); // what was scanned was the listed file all the same
    assert!(source.still_same(&entry, &file));

    folder.write("file", "x");
    let entry = folder.entry("file");
    let file = source.open_file(&entry, NO_LIMIT).unwrap();
    touch(&folder, "file", Duration::from_secs(7));
    assert!(!source.still_same(&entry, &file));
}

#[test]
fn times_before_the_epoch_have_an_etag_too() {
    let folder = Folder::with_files(&["file"]);
    let file = File::options().write(true).open(folder.path("file")).unwrap();
    file.set_times(FileTimes::new().set_modified(UNIX_EPOCH - Duration::from_secs(1))).unwrap();
    assert!(folder.source().open_file(&folder.entry("file"), NO_LIMIT).is_ok());
}
