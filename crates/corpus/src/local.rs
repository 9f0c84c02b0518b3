//! A corpus in a local folder.
//!
//! Everything below the root is reached by descriptor and key, never by an absolute path, so that a
//! rename of the root or a symbolic link put in our way leads nowhere.

mod beneath;
mod kernel_view;
mod walk;

use std::{
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
        self.descriptor().map(Root::new).map_err(|_| Exception::Unreadable)
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

/// The folder of a corpus, open. Holds on to folders as they are, so it is for some files in a row.
#[derive(Debug)]
pub(crate) struct Root {
    folder: OwnedFd,
    /// Key of the folder that the last file was in.
    last: Vec<u8>,
    /// That folder, once a second file in it was asked for: the way there is half of what opening a file costs.
    open: Option<OwnedFd>,
}

impl Root {
    fn new(folder: OwnedFd) -> Self {
        Self { folder, last: Vec::new(), open: None }
    }

    pub(crate) fn open_file(&mut self, entry: &FileEntry) -> Result<File, Exception> {
        let file = self.open_key(&entry.key).map_err(exception)?;
        let stat = fstat(&file).map_err(exception)?;
        if is_listed(entry, &stat) { Ok(file.into()) } else { Err(Exception::Gone) }
    }

    fn open_key(&mut self, key: &[u8]) -> Result<OwnedFd, Errno> {
        // Without NONBLOCK, a FIFO that took the file's place would block us for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Some(slash) = key.iter().rposition(|byte| *byte == b'/') else {
            return beneath::open(&self.folder, key, flags);
        };
        let (parent, name) = (&key[..slash], &key[slash + 1..]);
        if parent != self.last {
            self.last.clear();
            self.last.extend_from_slice(parent);
            self.open = None;
            return beneath::open(&self.folder, key, flags);
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => beneath::open(&self.folder, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?,
        };
        beneath::open_in(self.open.insert(open), name, flags)
    }
}

pub(crate) fn still_same(entry: &FileEntry, file: &File) -> bool {
    fstat(file).is_ok_and(|stat| is_listed(entry, &stat))
}

fn is_listed(entry: &FileEntry, stat: &Stat) -> bool {
    file_type(stat) == FileType::RegularFile && Etag::parse(&entry.etag) == Some(Etag::of(stat))
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn etag(stat: &Stat) -> String {
    let Etag { inode, modified_ns, size } = Etag::of(stat);
    format!("{inode:x}-{modified_ns:x}-{size:x}")
}

/// Inode, time of modification and size. The time of change (ctime) is left out: it also moves with
/// permissions and hard links, and a file does not become another one by that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Etag {
    inode: u64,
    /// Nanoseconds since 1970. Negative ones are written as their two's complement.
    modified_ns: i128,
    size: u64,
}

impl Etag {
    fn of(stat: &Stat) -> Self {
        let modified_ns = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
        Self { inode: stat.st_ino, modified_ns, size: size(stat) }
    }

    /// Two of these per scanned file are cheaper than two texts. None: nothing that `etag` writes.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('-').map(hexadecimal);
        let (inode, modified_ns, size) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let is_all = numbers.next().is_none();
        let (inode, size) = (inode.try_into().ok()?, size.try_into().ok()?);
        is_all.then_some(Self { inode, modified_ns: modified_ns.cast_signed(), size })
    }
}

/// A number in the only way to write it.
fn hexadecimal(text: &str) -> Option<u128> {
    let is_canonical = text == "0" || !text.starts_with(['0', '+']);
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_canonical && is_lower { u128::from_str_radix(text, 16).ok() } else { None }
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

    #[test]
    fn an_etag_is_read_as_it_was_written_and_in_no_other_way() {
        for modified_ns in [0, 1_700_000_000_123_456_789, -1, i128::from(i64::MIN) * 1_000_000_000] {
            let written = Etag { inode: 0xa1, modified_ns, size: u64::MAX };
            let text = format!("{:x}-{modified_ns:x}-{:x}", written.inode, written.size);
            assert_eq!(Etag::parse(&text), Some(written), "{text}");
        }
        for wrong in [
            "",
            "-",
            "--",
            "1-2",
            "1-2-3-4",
            "1-2-3-",
            "+1-2-3",
            "01-2-3",
            "A-2-3",
            "1-2-x",
            "1--3",
            "1-2-1ffffffffffffffff",
        ] {
            assert_eq!(Etag::parse(wrong), None, "{wrong}");
        }
    }
}
