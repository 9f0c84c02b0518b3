use std::{ffi::CStr, os::fd::OwnedFd, vec};

use rustix::{
    fs::{AtFlags, Dir, FileType, OFlags, Stat, fstat, stat, statat},
    io::Errno,
};

use super::{Folder, beneath, etag, file_type, kernel_view, size};
use crate::{Error, FileEntry, Listed};

/// A walk through a folder: the files of a folder in the order of their names, then its subfolders in
/// the order of theirs, each with all below it.
///
/// Holds at most two descriptors, however deep the tree, because only the folder whose files are being
/// given out is open. Memory: the names of that folder, and the keys of folders still to visit.
#[derive(Debug)]
pub(crate) struct Walk {
    folder: Folder,
    /// The root as it was opened, or why not, or what happened to it since.
    root: Result<OwnedFd, Error>,
    /// The device that the root lies on.
    device: Option<u64>,
    /// Keys of folders still to visit, the next one last.
    pending: Vec<Vec<u8>>,
    current: Option<OpenFolder>,
    /// Device and inode of the folders that are not entered.
    never: Vec<(u64, u64)>,
    listed: Listed,
}

#[derive(Debug)]
struct OpenFolder {
    descriptor: OwnedFd,
    key: Vec<u8>,
    /// What is left of its entries that are, or may be, files; sorted.
    names: vec::IntoIter<Box<CStr>>,
    subfolders: Vec<Vec<u8>>,
}

impl Walk {
    pub(super) fn begin(folder: Folder) -> Self {
        let root = folder.descriptor();
        // By inode, so that no link and no spelling of a path leads in. One that is not there cannot be entered.
        let stats = folder.never_list.iter().filter_map(|path| stat(path).ok());
        let never: Vec<_> = stats.map(|stat| (stat.st_dev, stat.st_ino)).collect();
        let own = |root: &OwnedFd| fstat(root).is_ok_and(|stat| never.contains(&(stat.st_dev, stat.st_ino)));
        let root = match root {
            Ok(root) if own(&root) => Err(Error::OwnState { path: folder.path.clone() }),
            Ok(root) if kernel_view::is_one(&root) => Err(Error::NotStored { path: folder.path.clone() }),
            root => root,
        };
        let pending = if root.is_ok() { vec![Vec::new()] } else { Vec::new() };
        let device = root.as_ref().ok().and_then(|root| fstat(root).ok()).map(|stat| stat.st_dev);
        Self { folder, root, device, pending, current: None, never, listed: Listed::default() }
    }

    pub(crate) fn listed(&self) -> &Listed {
        &self.listed
    }

    /// Checks that the path still leads to the folder that was walked. A folder that was deleted looks
    /// empty through its descriptor, and one moved away or unmounted says nothing about the corpus.
    pub(crate) fn finish(self) -> Result<Listed, Error> {
        let walked = self.root?;
        let vanished = || Error::Vanished { path: self.folder.path.clone() };
        let now = self.folder.descriptor().map_err(|_| vanished())?;
        match (fstat(&walked), fstat(&now)) {
            (Ok(walked), Ok(now)) if (walked.st_dev, walked.st_ino) == (now.st_dev, now.st_ino) => Ok(self.listed),
            _ => Err(vanished()),
        }
    }

    fn next_file(&mut self) -> Option<FileEntry> {
        loop {
            let Some(mut current) = self.current.take() else {
                let key = self.pending.pop()?;
                self.current = self.enter(key);
                continue;
            };
            let Some(name) = current.names.next() else {
                self.leave(current);
                continue;
            };
            let entry = self.visit(&mut current, &name);
            self.current = Some(current);
            if entry.is_some() {
                return entry;
            }
        }
    }

    /// Opens a folder and reads its names.
    fn enter(&mut self, key: Vec<u8>) -> Option<OpenFolder> {
        let root = self.root.as_ref().ok()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = match beneath::open(root, &key, flags) {
            Ok(descriptor) => descriptor,
            // Removed, or replaced by something that is no folder: its files are gone with it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                self.listed.skipped.vanished += 1;
                return None;
            }
            Err(_) => {
                self.listed.skipped.unreadable += 1;
                self.listed.unreadable.push(key);
                return None;
            }
        };
        if self.is_never_entered(&descriptor) {
            self.listed.skipped.special += 1;
            return None;
        }
        let mut names = Vec::new();
        let mut subfolders = Vec::new();
        let read = self.read_names(&descriptor, &key, &mut names, &mut subfolders);
        if read.is_err() {
            self.listed.skipped.unreadable += 1;
            self.mark_unreadable(&key);
        }
        names.sort_unstable();
        Some(OpenFolder { descriptor, key, names: names.into_iter(), subfolders })
    }

    /// Our own state, and what the kernel shows as files without storing them: `/proc` alone would be millions
    /// of files that change with every listing, and some of `/sys` act when they are read.
    fn is_never_entered(&self, folder: &OwnedFd) -> bool {
        let Ok(Stat { st_dev, st_ino, .. }) = fstat(folder) else { return false };
        // Only a mount can bring another kind of file system: on the root's own device there is nothing to ask.
        self.never.contains(&(st_dev, st_ino)) || (self.device != Some(st_dev) && kernel_view::is_one(folder))
    }

    fn read_names(
        &mut self,
        descriptor: &OwnedFd,
        key: &[u8],
        names: &mut Vec<Box<CStr>>,
        subfolders: &mut Vec<Vec<u8>>,
    ) -> Result<(), Errno> {
        for entry in Dir::read_from(descriptor)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match entry.file_type() {
                // Not every file system says; then a stat will.
                FileType::RegularFile | FileType::Unknown => names.push(name.into()),
                FileType::Directory => self.note_subfolder(subfolders, key, name),
                other => self.skip(other),
            }
        }
        Ok(())
    }

    fn visit(&mut self, current: &mut OpenFolder, name: &CStr) -> Option<FileEntry> {
        let stat = match statat(&current.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => {
                self.listed.skipped.vanished += 1;
                return None;
            }
            Err(_) => {
                self.listed.skipped.unreadable += 1;
                self.mark_unreadable(&current.key);
                return None;
            }
        };
        match file_type(&stat) {
            FileType::RegularFile => self.file(&current.key, name, &stat),
            FileType::Directory => {
                self.note_subfolder(&mut current.subfolders, &current.key, name);
                None
            }
            other => {
                self.skip(other);
                None
            }
        }
    }

    fn leave(&mut self, left: OpenFolder) {
        let mut subfolders = left.subfolders;
        subfolders.sort_unstable_by(|a, b| b.cmp(a)); // the first by name is popped first
        self.pending.append(&mut subfolders);
    }

    fn file(&mut self, folder: &[u8], name: &CStr, stat: &Stat) -> Option<FileEntry> {
        let key = self.child(folder, name)?;
        Some(FileEntry { key, size: size(stat), etag: etag(stat) })
    }

    fn note_subfolder(&mut self, subfolders: &mut Vec<Vec<u8>>, folder: &[u8], name: &CStr) {
        subfolders.extend(self.child(folder, name));
    }

    /// The key of an entry, unless it is too long to be opened again: then it counts as unreadable.
    fn child(&mut self, folder: &[u8], name: &CStr) -> Option<Vec<u8>> {
        let name = name.to_bytes();
        let key = if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() };
        if key.len() > FileEntry::MAX_KEY_BYTES {
            self.listed.skipped.unreadable += 1;
            return None;
        }
        Some(key)
    }

    fn skip(&mut self, file_type: FileType) {
        let skipped = &mut self.listed.skipped;
        match file_type {
            FileType::Symlink => skipped.symlinks += 1,
            _ => skipped.special += 1,
        }
    }

    /// Once per folder: a folder without permission to search it fails for each of its entries.
    fn mark_unreadable(&mut self, folder: &[u8]) {
        if self.listed.unreadable.last().is_none_or(|last| last != folder) {
            self.listed.unreadable.push(folder.to_vec());
        }
    }
}

impl Iterator for Walk {
    type Item = FileEntry;

    fn next(&mut self) -> Option<FileEntry> {
        self.next_file()
    }
}
