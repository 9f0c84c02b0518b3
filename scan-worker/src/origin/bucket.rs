use std::{fs::File, io::Write as _};

use corpus::{FileEntry, Listed};
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use store::{Entry, Read, Store};
use tokio::runtime::Handle;
use types::{Exception, Skipped};

use super::{NotOpened, held};

/// Objects fetched at a time for one scanner: enough to hide a round trip of milliseconds behind the scan of the last batch.
const AT_A_TIME: usize = 16;

/// A corpus in object storage.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Store,
    runtime: Handle,
    /// Keys that begin so are our own.
    own: Option<String>,
}

impl Bucket {
    pub(super) fn is_url(url: &str) -> bool {
        url.split_once("://").is_some_and(|(scheme, _)| !scheme.eq_ignore_ascii_case("file"))
    }

    pub(super) fn new(store: Store) -> Self {
        Self { store, runtime: Handle::current(), own: None }
    }

    pub(super) fn never_list(mut self, storage_url: &str) -> Self {
        let corpus = format!("{}/", self.store.url().trim_end_matches('/'));
        let storage = format!("{}/", storage_url.trim_end_matches('/'));
        self.own = storage.strip_prefix(&corpus).map(str::to_owned);
        self
    }

    pub(super) fn list(&self) -> Listing {
        Listing {
            entries: self.store.entries().fuse().boxed(), // it may be asked again after its end
            runtime: self.runtime.clone(),
            own: self.own.clone(),
            skipped: Skipped::default(),
            failed: None,
        }
    }

    /// The files by key, in the order given.
    pub(super) fn fetch(&self, files: Vec<&FileEntry>, max_bytes: u64) -> Vec<(Vec<u8>, Result<File, NotOpened>)> {
        let fetched = stream::iter(files)
            .map(|entry| async move { (entry.key.clone(), self.fetch_one(entry, max_bytes).await) })
            .buffered(AT_A_TIME)
            .collect();
        self.runtime.block_on(fetched)
    }

    async fn fetch_one(&self, entry: &FileEntry, max_bytes: u64) -> Result<File, NotOpened> {
        if entry.size > max_bytes {
            return Err(NotOpened::Excepted(Exception::TooLarge));
        }
        let Ok(key) = std::str::from_utf8(&entry.key) else {
            return Err(NotOpened::Excepted(Exception::Unreadable)); // no object has such a key
        };
        let hindered = |error: &dyn std::error::Error| NotOpened::Hindered(crate::job::chain(error));
        let mut content = match self.store.read_if_same(key, &entry.etag).await {
            Ok(Read::Content(content)) => content,
            Ok(Read::Gone) => return Err(NotOpened::Excepted(Exception::Gone)),
            Ok(Read::Forbidden) => return Err(NotOpened::Excepted(Exception::Unreadable)),
            Err(error) => return Err(hindered(&error)),
        };
        let mut file = held::create(entry.size).map_err(|error| hindered(&error))?;
        let mut bytes = 0;
        while let Some(piece) = content.next().await {
            let piece = piece.map_err(|error| hindered(&error))?;
            bytes += piece.len() as u64;
            if bytes > entry.size {
                break;
            }
            file.write_all(&piece).map_err(|error| hindered(&error))?;
        }
        if bytes != entry.size {
            return Err(NotOpened::Excepted(Exception::Gone));
        }
        held::seal(&file);
        Ok(file)
    }

    pub(super) fn path_of(&self, entry: &FileEntry) -> Vec<u8> {
        let mut path = self.store.url().trim_end_matches('/').as_bytes().to_vec();
        path.push(b'/');
        path.extend_from_slice(&entry.key);
        path
    }
}

/// The objects of a bucket, as they come.
pub struct Listing {
    entries: BoxStream<'static, Result<Entry, store::Error>>,
    runtime: Handle,
    own: Option<String>,
    skipped: Skipped,
    failed: Option<store::Error>,
}

impl Iterator for Listing {
    type Item = FileEntry;

    fn next(&mut self) -> Option<FileEntry> {
        loop {
            if self.failed.is_some() {
                return None;
            }
            let Entry { key, bytes, etag } = match self.runtime.block_on(self.entries.next())? {
                Ok(entry) => entry,
                Err(error) => {
                    self.failed = Some(error);
                    return None;
                }
            };
            if self.own.as_ref().is_some_and(|own| key.starts_with(own)) {
                self.skipped.special += 1;
            } else if key.len() > FileEntry::MAX_KEY_BYTES || etag.len() > FileEntry::MAX_ETAG_BYTES {
                self.skipped.unreadable += 1;
            } else {
                return Some(FileEntry { key: key.into_bytes(), size: bytes, etag });
            }
        }
    }
}

impl Listing {
    pub(super) fn finish(mut self) -> Result<Listed, store::Error> {
        self.by_ref().for_each(drop);
        match self.failed {
            Some(error) => Err(error),
            None => Ok(Listed { skipped: self.skipped, unreadable: Vec::new() }),
        }
    }
}
