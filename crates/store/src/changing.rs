//! Objects that more than one writer wants: names taken once, and the few objects that are replaced.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path as FilePath,
};

use bytes::Bytes;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion, path::Path};
use types::Digest;

use crate::{
    Error, Store,
    store::{local_error, parse_key},
};

/// One state of an object that changes. Only good for [`Store::compare_and_swap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(State);

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Remote(UpdateVersion),
    Local(Digest),
}

/// What came of a [`Store::compare_and_swap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Swap {
    Done,
    /// The object is no longer as expected, and was left alone. Read it again.
    Conflict,
}

impl Store {
    /// Writes an object that must not exist yet: of any number of writers exactly one gets `true`.
    ///
    /// After a lost answer the client asks again and may be told `false` by what it wrote itself.
    pub async fn put_new(&self, key: &str, bytes: Bytes) -> Result<bool, Error> {
        let failed = |source| Error::Put { key: key.to_owned(), source: Box::new(source) };
        let path = parse_key(key).map_err(failed)?;
        match self.inner.objects.put_opts(&path, PutPayload::from_bytes(bytes), PutMode::Create.into()).await {
            Ok(_) => self.sync_above(&path).await.map(|()| true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(source) => Err(failed(source)),
        }
    }

    /// Reads an object that changes, with the tag of what was read. `None` if there is none.
    pub async fn get_tagged(&self, key: &str) -> Result<Option<(Bytes, Tag)>, Error> {
        let failed = |source| Error::Get { key: key.to_owned(), source: Box::new(source) };
        let path = parse_key(key).map_err(failed)?;
        let found = match self.inner.objects.get(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let bytes = found.bytes().await.map_err(failed)?;
        let state = match self.is_local() {
            true => State::Local(Digest::of(&bytes)),
            false => State::Remote(version),
        };
        Ok(Some((bytes, Tag(state))))
    }

    /// Replaces an object if it still is what `expected` says; `None`: if there still is none.
    ///
    /// Content that returns to what it was counts as unchanged: put something into it that never returns.
    pub async fn compare_and_swap(&self, key: &str, expected: Option<&Tag>, bytes: Bytes) -> Result<Swap, Error> {
        let failed = |source| Error::Put { key: key.to_owned(), source: Box::new(source) };
        let path = parse_key(key).map_err(failed)?;
        let _lock = match self.local_path(key) {
            Some(file) => Some(lock(&file).await.map_err(|source| failed(local_error(source)))?),
            None => None,
        };
        let mode = match expected {
            None => PutMode::Create,
            Some(Tag(State::Remote(version))) => PutMode::Update(version.clone()),
            Some(Tag(State::Local(digest))) => {
                if !self.is_still(&path, digest).await.map_err(failed)? {
                    return Ok(Swap::Conflict);
                }
                PutMode::Overwrite
            }
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        use object_store::Error as Failure;
        match self.inner.objects.put_opts(&path, PutPayload::from_bytes(bytes), options).await {
            Ok(_) => self.sync_above(&path).await.map(|()| Swap::Done),
            // Not found: it was removed, and some stores say so instead of a failed precondition.
            Err(Failure::AlreadyExists { .. } | Failure::Precondition { .. } | Failure::NotFound { .. }) => {
                Ok(Swap::Conflict)
            }
            Err(source) => Err(failed(source)),
        }
    }

    pub(crate) fn is_local(&self) -> bool {
        self.inner.folders.is_some()
    }

    async fn is_still(&self, path: &Path, digest: &Digest) -> Result<bool, object_store::Error> {
        match self.inner.objects.get(path).await {
            Ok(found) => Ok(Digest::of(&found.bytes().await?) == *digest),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Local disks know no conditional write, so writers of an object that changes take turns. Readers need no lock.
async fn lock(file: &FilePath) -> io::Result<File> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let lock = file.with_file_name(format!(".{name}.lock"));
    let locked = tokio::task::spawn_blocking(move || {
        if let Some(folder) = lock.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock)?;
        file.lock()?;
        Ok(file)
    });
    locked.await.map_err(io::Error::other)?
}
