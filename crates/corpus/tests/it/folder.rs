use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener},
    path::PathBuf,
};

use corpus::{FileEntry, Listed, Source};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// A temporary corpus folder, filled by names that need not be text.
pub(crate) struct Folder {
    dir: TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub(crate) fn with_files(keys: &[&str]) -> Self {
        let folder = Self::new();
        for key in keys {
            folder.write(key, key);
        }
        folder
    }

    pub(crate) fn path(&self, key: impl AsRef<[u8]>) -> PathBuf {
        self.dir.path().join(OsStr::from_bytes(key.as_ref()))
    }

    /// Writes a file, its folders included.
    pub(crate) fn write(&self, key: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = self.path(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn remove(&self, key: &str) {
        fs::remove_file(self.path(key)).unwrap();
    }

    pub(crate) fn link(&self, key: &str, target: &str) {
        symlink(target, self.path(key)).unwrap();
    }

    pub(crate) fn fifo(&self, key: &str) {
        mknodat(CWD, self.path(key), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    /// The socket stays when the listener goes.
    pub(crate) fn socket(&self, key: &str) {
        drop(UnixListener::bind(self.path(key)).unwrap());
    }

    pub(crate) fn url(&self) -> String {
        url_of(self.dir.path().to_str().unwrap())
    }

    pub(crate) fn source(&self) -> Source {
        Source::open(&self.url()).unwrap()
    }

    pub(crate) fn list(&self) -> (Vec<FileEntry>, Listed) {
        let mut listing = self.source().list();
        let entries = listing.by_ref().collect();
        (entries, listing.finish().unwrap())
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.list().0.iter().map(|entry| corpus::display_key(&entry.key)).collect()
    }

    pub(crate) fn entry(&self, key: &str) -> FileEntry {
        self.list().0.into_iter().find(|entry| entry.key == key.as_bytes()).unwrap()
    }
}

pub(crate) fn url_of(path: &str) -> String {
    format!("file://{path}")
}
