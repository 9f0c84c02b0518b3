//! Where the files of a corpus are: a folder, or a bucket.
//!
//! ```text
//! Origin::list ──FileEntry──► listing        Origin::opener ──File──► scanner
//!     folder: corpus::Source                     as it is
//!     bucket: store::Store                       fetched into memory, or into an unlinked file when large
//! ```
//!
//! Either way a scanner gets a descriptor and never a name, and the bytes are those that were listed: a file by its etag
//! before and after the scan, an object because it is read on condition of its own.

mod bucket;
mod held;

use std::{collections::BTreeMap, fs::File, path::PathBuf, sync::Mutex};

use corpus::{FileEntry, Listed, Source};
use store::Store;
use types::Exception;

pub use bucket::Bucket;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Folder(#[from] corpus::Error),
    #[error("the bucket of the corpus cannot be used")]
    Bucket(#[from] store::Error),
}

impl Error {
    /// The URL is at fault: no try will help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Folder(corpus::Error::Url { .. }) | Self::Bucket(store::Error::Url { .. }))
    }
}

/// Why a file is not open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotOpened {
    /// Its outcome.
    Excepted(Exception),
    /// The surroundings are at fault: it says nothing about the file.
    Hindered(String),
}

/// Where the files are. Cheap to clone; holds no open files.
#[derive(Clone, Debug)]
pub enum Origin {
    Folder(Source),
    Bucket(Bucket),
}

/// Opens the files it was made for, in their order.
pub type Opener<'o> = Box<dyn FnMut(&FileEntry) -> Result<File, NotOpened> + 'o>;

/// Buckets by URL, each opened once, so that jobs share their connections.
#[derive(Debug, Default)]
pub struct Buckets(Mutex<BTreeMap<String, Store>>);

impl Buckets {
    /// Opens the origin. Blocks; to be called inside the runtime.
    pub fn open(&self, url: &str) -> Result<Origin, Error> {
        if !Bucket::is_url(url) {
            return Ok(Origin::Folder(Source::open(url)?));
        }
        let mut stores = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let store = match stores.get(url) {
            Some(store) => store.clone(),
            None => {
                let store = Store::open(url)?;
                stores.insert(url.to_owned(), store.clone());
                store
            }
        };
        Ok(Origin::Bucket(Bucket::new(store)))
    }
}

/// A listing under way; blocks.
pub enum Listing {
    Folder(corpus::Listing),
    Bucket(Box<bucket::Listing>),
}

impl Origin {
    /// Keeps listings out of folders of our own, and out of our own object storage.
    #[must_use]
    pub fn never_list(self, folders: Vec<PathBuf>, storage_url: &str) -> Self {
        match self {
            Self::Folder(source) => Self::Folder(source.never_list(folders)),
            Self::Bucket(bucket) => Self::Bucket(bucket.never_list(storage_url)),
        }
    }

    pub fn list(&self) -> Listing {
        match self {
            Self::Folder(source) => Listing::Folder(source.list()),
            Self::Bucket(bucket) => Listing::Bucket(Box::new(bucket.list())),
        }
    }

    /// Opens several files in a row; those of a bucket are fetched together. Blocks.
    pub fn opener<'o>(&'o self, files: Vec<&'o FileEntry>, max_bytes: u64) -> Opener<'o> {
        match self {
            Self::Folder(source) => {
                let mut opener = source.opener();
                Box::new(move |entry| opener.open_file(entry, max_bytes).map_err(NotOpened::Excepted))
            }
            Self::Bucket(bucket) => {
                let mut fetched = bucket.fetch(files, max_bytes).into_iter();
                // In the order asked for; what was not asked for is a bug of ours, and no answer about the file.
                let bug = || NotOpened::Hindered("a file was opened out of turn".to_owned());
                Box::new(move |entry| match fetched.next() {
                    Some((key, file)) if key == entry.key => file,
                    _ => Err(bug()),
                })
            }
        }
    }

    /// Whether the open file still has the content that was listed.
    pub fn still_same(&self, entry: &FileEntry, file: &File) -> bool {
        match self {
            Self::Folder(source) => source.still_same(entry, file),
            Self::Bucket(_) => true, // it is a copy of what was listed
        }
    }

    /// Absolute path or URL, for people and for the external variable `filepath` of rules.
    pub fn path_of(&self, entry: &FileEntry) -> Vec<u8> {
        match self {
            Self::Folder(source) => source.path_of(entry),
            Self::Bucket(bucket) => bucket.path_of(entry),
        }
    }
}

impl Iterator for Listing {
    type Item = FileEntry;

    fn next(&mut self) -> Option<FileEntry> {
        match self {
            Self::Folder(listing) => listing.next(),
            Self::Bucket(listing) => listing.next(),
        }
    }
}

impl Listing {
    /// Ends the listing. Errors: it was not complete, and nothing may be concluded from it.
    pub fn finish(self) -> Result<Listed, Error> {
        match self {
            Self::Folder(listing) => Ok(listing.finish()?),
            Self::Bucket(listing) => Ok(listing.finish()?),
        }
    }
}
