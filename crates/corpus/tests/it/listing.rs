use std::{fs, os::unix::fs::PermissionsExt as _};

use corpus::{Error, FileEntry, Source};
use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat},
    process::geteuid,
};
use types::Skipped;

use crate::folder::{Folder, url_of};

#[test]
fn files_come_in_the_order_of_names_each_folder_before_its_subfolders() {
    let folder = Folder::with_files(&["b", "a/2", "a/1", "a/x/1", "a-1/1", "c", "B"]);
    assert_eq!(folder.keys(), ["B", "b", "c", "a/1", "a/2", "a/x/1", "a-1/1"]);
    assert_eq!(folder.keys(), folder.keys());
}

#[test]
fn names_need_not_be_text() {
    let folder = Folder::new();
    let names: [&[u8]; 4] = [b"\x01\n", b"back\\slash", b"latin-\xe9", b"\xff\xfe/\x80"];
    names.iter().for_each(|name| folder.write(name, "x"));
    let keys: Vec<_> = folder.list().0.into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, names);
}

#[test]
fn an_empty_corpus_is_complete() {
    let (entries, listed) = Folder::new().list();
    assert_eq!((entries, listed), Default::default());
}

#[test]
fn links_and_special_files_are_counted_and_never_opened() {
    let folder = Folder::with_files(&["d/file"]);
    folder.fifo("fifo"); // to open it would block for ever
    folder.socket("socket");
    folder.link("to-file", "d/file");
    folder.link("to-nothing", "nowhere");
    folder.link("d/loop", "..");
    folder.link("outside", "/etc");
    let (_, listed) = folder.list();
    assert_eq!(folder.keys(), ["d/file"]);
    assert_eq!(listed.skipped, Skipped { special: 2, symlinks: 4, ..Skipped::default() });
    assert!(listed.unreadable.is_empty());
}

#[test]
fn the_root_itself_may_be_a_link() {
    let folder = Folder::with_files(&["real/file"]);
    folder.link("link", "real");
    let source = Source::open(&format!("{}/link", folder.url())).unwrap();
    let entries: Vec<_> = source.list().collect();
    assert_eq!(entries.len(), 1);
    assert!(source.open_file(&entries[0], 100).is_ok());
}

#[test]
fn a_root_with_blanks_and_odd_bytes_is_reached_by_its_url() {
    let folder = Folder::new();
    folder.write(b"my files \xff/one", "1");
    for url in [format!("{}/my%20files%20%FF", folder.url()), format!("{}/my files %ff/", folder.url())] {
        let source = Source::open(&url).unwrap();
        let entry = source.list().next().unwrap();
        assert_eq!(entry.key, b"one");
        assert!(source.path_of(&entry).ends_with(b"/my files \xff/one"), "{url}");
        assert!(!source.path_of(&entry).ends_with(b"//one"), "{url}");
    }
}

#[test]
fn what_is_no_corpus_is_refused_with_its_reason() {
    let folder = Folder::with_files(&["file"]);
    let url = |key: &str| url_of(folder.path(key).to_str().unwrap());
    assert!(matches!(Source::open(&url("missing")), Err(Error::Missing { .. })));
    assert!(matches!(Source::open(&url("file")), Err(Error::NotAFolder { .. })));
    assert!(matches!(Source::open(&url("file/below")), Err(Error::NotAFolder { .. })));

    let reason = |url: &str| match Source::open(url) {
        Err(error @ Error::Url { .. }) => error.to_string(),
        other => panic!("{url}: {other:?}"),
    };
    assert!(reason("s3://bucket/prefix").contains("this build lists file:// only"));
    assert!(reason("/usr/bin").contains("file:///usr/bin"));
    for relative in ["file:usr/bin", "file://usr/bin", "file://./bin", "file:///a?b", "file:///a#b", "", "bin", "file:"]
    {
        reason(relative);
    }
}

#[test]
fn files_that_vanish_during_the_listing_are_counted() {
    let folder = Folder::with_files(&["1", "2", "later/3"]);
    let mut listing = folder.source().list();
    assert_eq!(listing.next().unwrap().key, b"1"); // the names of this folder are read, their files not yet met
    folder.remove("2");
    fs::remove_dir_all(folder.path("later")).unwrap();
    assert_eq!(listing.next(), None);
    assert_eq!(listing.finish().unwrap().skipped, Skipped { vanished: 2, ..Skipped::default() });
}

#[test]
fn a_folder_replaced_by_a_link_during_the_listing_is_not_followed() {
    let folder = Folder::with_files(&["1", "later/2"]);
    let elsewhere = Folder::with_files(&["secret"]);
    let mut listing = folder.source().list();
    listing.next().unwrap();
    fs::remove_dir_all(folder.path("later")).unwrap();
    folder.link("later", elsewhere.path("").to_str().unwrap());
    assert_eq!(listing.next(), None);
    assert_eq!(listing.skipped().vanished, 1);
}

#[test]
fn a_root_that_vanishes_is_an_error_and_not_an_empty_corpus() {
    let folder = Folder::with_files(&["root/1", "root/2"]);
    let source = Source::open(&format!("{}/root", folder.url())).unwrap();

    let mut listing = source.list();
    listing.next().unwrap();
    fs::rename(folder.path("root"), folder.path("away")).unwrap();
    assert!(matches!(listing.finish(), Err(Error::Vanished { .. })));

    assert!(matches!(source.list().finish(), Err(Error::Missing { .. })));

    // Another folder under the same name, empty like a mount point whose disk is not there.
    fs::create_dir(folder.path("root")).unwrap();
    let mut listing = source.list();
    assert_eq!(listing.next(), None);
    fs::remove_dir(folder.path("root")).unwrap();
    fs::rename(folder.path("away"), folder.path("root")).unwrap();
    assert!(matches!(listing.finish(), Err(Error::Vanished { .. })));
}

/// Builds folders of 200-letter names inside one another, deeper than any path can say.
fn build_deep_tree(folder: &Folder, levels: usize) {
    let name = "d".repeat(200);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = openat(CWD, folder.path(""), flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = openat(&at, &name, flags, Mode::empty()).unwrap();
        let create = OFlags::WRONLY | OFlags::CREATE;
        drop(openat(&at, "file", create, Mode::RUSR).unwrap());
    }
}

#[test]
fn a_tree_deeper_than_the_longest_path_is_listed_as_far_as_paths_reach() {
    let folder = Folder::new();
    build_deep_tree(&folder, 40);
    let (entries, listed) = folder.list();
    // Each level costs 201 bytes of key: 20 of them leave room for "/file" below 4,096, a 21st does not.
    assert_eq!(entries.len(), 20);
    assert_eq!(listed.skipped, Skipped { unreadable: 1, ..Skipped::default() });
    assert!(folder.source().open_file(entries.last().unwrap(), 100).is_ok());
}

#[test]
fn a_long_chain_of_folders_needs_few_descriptors() {
    let folder = Folder::new();
    let key = "d/".repeat(1500) + "file";
    folder.write(&key, "x");
    assert_eq!(folder.list().0, [folder.entry(&key)]);
    assert!(FileEntry::MAX_KEY_BYTES > key.len());
}

/// Runs `test` as a user who is subject to permissions. Root first becomes one, in this thread only.
fn without_privileges(test: impl FnOnce() + Send) {
    if !geteuid().is_root() {
        return test();
    }
    let run = || {
        // Permissions bind root as soon as these two capabilities are gone.
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective -= rustix::thread::CapabilitySet::DAC_OVERRIDE | rustix::thread::CapabilitySet::DAC_READ_SEARCH;
        rustix::thread::set_capabilities(None, sets).unwrap();
        test();
    };
    // Capabilities belong to the thread; it ends with its test.
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap();
}

#[test]
fn a_folder_without_permission_is_counted_and_named() {
    let folder = Folder::with_files(&["closed/in", "no-search/in", "open/in"]);
    let set_mode = |key: &str, mode| fs::set_permissions(folder.path(key), fs::Permissions::from_mode(mode)).unwrap();
    set_mode("closed", 0o000);
    set_mode("no-search", 0o600); // names can be read, files not be reached
    without_privileges(|| {
        let (entries, listed) = folder.list();
        assert_eq!(entries.iter().map(|entry| &*entry.key).collect::<Vec<_>>(), [b"open/in"]);
        assert_eq!(listed.skipped, Skipped { unreadable: 2, ..Skipped::default() });
        assert_eq!(listed.unreadable, [&b"closed"[..], b"no-search"]);
    });
    set_mode("closed", 0o700);
    set_mode("no-search", 0o700);
}

#[test]
fn a_root_without_permission_is_refused() {
    let folder = Folder::with_files(&["root/in"]);
    fs::set_permissions(folder.path("root"), fs::Permissions::from_mode(0o000)).unwrap();
    without_privileges(|| {
        let error = Source::open(&format!("{}/root", folder.url())).unwrap_err();
        assert!(matches!(error, Error::Open { .. }) && !error.is_retryable(), "{error:?}");
    });
}

#[test]
fn the_kernel_is_no_corpus() {
    let error = Source::open("file:///proc/self").unwrap().list().finish().unwrap_err();
    assert!(matches!(error, Error::NotStored { .. }) && !error.is_retryable(), "{error}");
}

#[test]
fn a_listing_does_not_enter_what_the_kernel_shows_as_files() {
    let is_proc = |path: &std::path::Path| path == std::path::Path::new("/proc");
    let other_folders = fs::read_dir("/").unwrap().map(|entry| entry.unwrap().path()).filter(|path| !is_proc(path));
    let source = Source::open("file:///").unwrap().never_list(other_folders.collect());
    let entries: Vec<_> = source.list().take(1000).collect(); // were it entered, there would be no end to it
    assert!(entries.iter().all(|entry| !entry.key.starts_with(b"proc/")), "{} entries", entries.len());
}
