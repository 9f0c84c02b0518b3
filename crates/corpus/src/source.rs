use std::{fs::File, path::PathBuf};

use types::{Exception, Skipped};
use url::Url;

use crate::{Error, FileEntry, local};

/// Where the files of a corpus are. Holds no open files, so it may be kept and cloned.
#[derive(Clone, Debug)]
pub struct Source {
    kind: Kind,
}

/// One variant per kind of storage; a bucket will be the next.
#[derive(Clone, Debug)]
enum Kind {
    Local(local::Folder),
}

/// The files of a corpus, one after the other, in an order that depends on their names alone.
///
/// What it meets and leaves out is counted, see [`Listing::skipped`]. It cannot fail halfway as an
/// iterator: ask [`Listing::finish`] whether it was complete.
#[derive(Debug)]
pub struct Listing {
    kind: ListingKind,
}

#[derive(Debug)]
enum ListingKind {
    Local(Box<local::Walk>),
}

/// Proof of a listing that ran to its end, and what it could not see.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listed {
    pub skipped: Skipped,
    /// Keys of folders that could not be read, or not wholly; the root is the empty key. Nothing may be
    /// concluded about files below them.
    pub unreadable: Vec<Vec<u8>>,
}

impl Source {
    /// Opens `file:///absolute/folder`. The folder itself may be reached through symbolic links.
    ///
    /// Errors: [`Error::Url`], [`Error::Missing`], [`Error::NotAFolder`], [`Error::Open`].
    pub fn open(url: &str) -> Result<Self, Error> {
        let refused = |reason: &str| Error::Url { url: url.to_owned(), reason: reason.to_owned() };
        if url.starts_with('/') {
            return Err(refused(&format!("write it as a URL, file://{url}")));
        }
        let parsed = Url::parse(url).map_err(|error| refused(&error.to_string()))?;
        if parsed.scheme() != "file" {
            return Err(refused("this build lists file:// only"));
        }
        // The URL parser would read `file:data` as `/data`: a guess that must not decide what is scanned.
        if !url.to_ascii_lowercase().starts_with("file://") || parsed.host().is_some() {
            return Err(refused("the path must be absolute, with three slashes: file:///usr/bin"));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(refused("write '?' as %3F and '#' as %23"));
        }
        let path = parsed.to_file_path().map_err(|()| refused("it names no local path"))?;
        Ok(Self { kind: Kind::Local(local::Folder::open(path)?) })
    }

    /// Keeps listings out of these folders, wherever in the corpus they turn up: a scanner that reads what it
    /// wrote itself finds new files for ever. They count as special; as the corpus's own folder they are an error.
    #[must_use]
    pub fn never_list(mut self, folders: Vec<PathBuf>) -> Self {
        match &mut self.kind {
            Kind::Local(folder) => folder.never_list = folders,
        }
        self
    }

    /// Begins a listing of the corpus as it is now.
    pub fn list(&self) -> Listing {
        let kind = match &self.kind {
            Kind::Local(folder) => ListingKind::Local(Box::new(folder.walk())),
        };
        Listing { kind }
    }

    /// Opens a file of the corpus for reading; see [`Opener::open_file`].
    pub fn open_file(&self, entry: &FileEntry, max_bytes: u64) -> Result<File, Exception> {
        self.opener().open_file(entry, max_bytes)
    }

    /// Opens several files in a row, the corpus itself once. Not to be kept: it holds on to the folder as it was.
    pub fn opener(&self) -> Opener<'_> {
        Opener { source: self, root: None }
    }

    /// Whether a file from [`Source::open_file`] still has the content that was listed. Ask after a scan:
    /// findings in a file that changed meanwhile are about no file at all.
    pub fn still_same(&self, entry: &FileEntry, file: &File) -> bool {
        match &self.kind {
            Kind::Local(_) => local::still_same(entry, file),
        }
    }

    /// Absolute path, for people and for the external variable `filepath` of rules.
    pub fn path_of(&self, entry: &FileEntry) -> Vec<u8> {
        match &self.kind {
            Kind::Local(folder) => folder.path_of(&entry.key),
        }
    }
}

/// See [`Source::opener`].
#[derive(Debug)]
pub struct Opener<'s> {
    source: &'s Source,
    root: Option<local::Root>,
}

impl Opener<'_> {
    /// Opens a file of the corpus for reading, if it is still the one that was listed. Never leaves the
    /// corpus: symbolic links are not followed, whatever the key says.
    ///
    /// Errors, as outcomes of the file: `TooLarge` if it was listed with more than `max_bytes` (it is not
    /// touched then), `Gone` if there is nothing or something else by now, `Unreadable` for anything that
    /// keeps us from knowing, a vanished corpus folder and a key that can name no file included.
    pub fn open_file(&mut self, entry: &FileEntry, max_bytes: u64) -> Result<File, Exception> {
        if entry.size > max_bytes {
            return Err(Exception::TooLarge);
        }
        let root = match (self.root.take(), &self.source.kind) {
            (Some(root), Kind::Local(_)) => root,
            (None, Kind::Local(folder)) => folder.root()?,
        };
        self.root.insert(root).open_file(entry)
    }
}

impl Iterator for Listing {
    type Item = FileEntry;

    fn next(&mut self) -> Option<FileEntry> {
        match &mut self.kind {
            ListingKind::Local(walk) => walk.next(),
        }
    }
}

impl Listing {
    /// What was left out so far.
    pub fn skipped(&self) -> Skipped {
        match &self.kind {
            ListingKind::Local(walk) => walk.listed().skipped,
        }
    }

    /// Ends the listing; entries not yet taken are still walked over.
    ///
    /// Errors: those of [`Source::open`] if the corpus folder could not be opened when the listing began,
    /// [`Error::Vanished`] if it is not the same folder any more. Then nothing may be concluded from it,
    /// least of all that files are gone.
    pub fn finish(mut self) -> Result<Listed, Error> {
        self.by_ref().for_each(drop);
        match self.kind {
            ListingKind::Local(walk) => walk.finish(),
        }
    }
}
