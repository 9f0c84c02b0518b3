//! A corpus in a local folder.
//!
//! Everything below the root is reached by descriptor and key, never by an absolute path, so that a
//! rename of the root or a symbolic link put in our way leads nowhere.

mod beneath;
mod kernel_view;
mod walk;

use std::{
    fmt,
    fs::File,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::PathBuf,
};

use rustix::{
    fs::{FileType, Mode, OFlags, Stat, fstat, open},
    io::Errno,
};
use types::Exception;

pub(crate) use walk::Walk;

use crate::{Error, FileEntry};

#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Folders that a walk does not enter.
    pub(crate) never_list: Vec<PathBuf>,
}

impl Folder {
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let folder = Self { path, never_list: Vec::new() };
        folder.descriptor()?;
        Ok(folder)
    }

    pub(crate) fn walk(&self) -> Walk {
        Walk::begin(self.clone())
    }

    /// The folder as it is now. Not to be kept: hours later it would hold on to a folder that was replaced, and all
    /// its files would be gone.
    pub(crate) fn root(&self) -> Result<Root, Exception> {
        self.descriptor().map(Root).map_err(|_| Exception::Unreadable)
    }

    pub(crate) fn path_of(&self, key: &[u8]) -> Vec<u8> {
        let mut path = self.path.as_os_str().as_bytes().to_vec();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(key);
        path
    }

    fn descriptor(&self) -> Result<OwnedFd, Error> {
        let path = || self.path.clone();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(&self.path, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOENT => Error::Missing { path: path() },
            Errno::NOTDIR => Error::NotAFolder { path: path() },
            error => Error::Open { path: path(), source: error.into() },
        })
    }
}

/// The folder of a corpus, open.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    pub(crate) fn open_file(&self, entry: &FileEntry) -> Result<File, Exception> {
        // Without NONBLOCK, a FIFO that took the file's place would block us for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = beneath::open(&self.0, &entry.key, flags).map_err(exception)?;
        let stat = fstat(&file).map_err(exception)?;
        if is_listed(entry, &stat) { Ok(file.into()) } else { Err(Exception::Gone) }
    }
}

pub(crate) fn still_same(entry: &FileEntry, file: &File) -> bool {
    fstat(file).is_ok_and(|stat| is_listed(entry, &stat))
}

fn is_listed(entry: &FileEntry, stat: &Stat) -> bool {
    let is_same = |etag: &mut Comparison<'_>| write_etag(etag, stat).is_ok() && etag.rest.is_empty();
    file_type(stat) == FileType::RegularFile && is_same(&mut Comparison { rest: &entry.etag })
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Inode, time of modification and size. The time of change (ctime) is left out: it also moves with
/// permissions and hard links, and a file does not become another one by that.
fn etag(stat: &Stat) -> String {
    let mut etag = String::new();
    write_etag(&mut etag, stat).expect("a string takes everything");
    etag
}

fn write_etag(to: &mut impl fmt::Write, stat: &Stat) -> fmt::Result {
    let mtime_ns = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    write!(to, "{:x}-{mtime_ns:x}-{:x}", stat.st_ino, size(stat))
}

/// Takes the text it expects and nothing else: two comparisons per scanned file need no strings.
struct Comparison<'e> {
    rest: &'e str,
}

impl fmt::Write for Comparison<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.rest = self.rest.strip_prefix(text).ok_or(fmt::Error)?;
        Ok(())
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// What a failed open says about the file: another thing in its place is as good as nothing there.
fn exception(error: Errno) -> Exception {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR | Errno::NXIO | Errno::NODEV | Errno::STALE => {
            Exception::Gone
        }
        _ => Exception::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_listed_one_by_its_whole_etag_alone() {
        let stat = fstat(tempfile::tempfile().unwrap()).unwrap();
        let entry = |etag: &str| FileEntry { key: b"file".to_vec(), size: size(&stat), etag: etag.to_owned() };
        let right = etag(&stat);
        assert!(is_listed(&entry(&right), &stat));
        for wrong in [format!("{right}0"), right[..right.len() - 1].to_owned(), format!("0{right}"), String::new()] {
            assert!(!is_listed(&entry(&wrong), &stat), "{wrong} is not {right}");
        }
    }
}
