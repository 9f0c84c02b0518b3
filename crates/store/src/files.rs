//! Large local files that become objects.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    process,
};

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutPayload, WriteMultipart, path::Path as Key};

use crate::{
    Error, Store,
    durable::sync_folder,
    store::{local_error, parse_key},
};

/// Files up to this size go in one request, larger ones in parts of at least it. S3 takes no parts below 5 MiB.
const PART_BYTES: u64 = 8 << 20;
/// S3 takes at most 10,000 parts.
const MAX_PARTS: u64 = 9_000;
/// Parts under way at a time: 32 MiB of memory, unless a file is larger than 72 GB.
const PARTS_IN_FLIGHT: usize = 4;

impl Store {
    /// Writes the content of a local file as an object, durable when this returns, and gives its size. Never holds
    /// more than a few parts in memory.
    ///
    /// On the same local disk the object is a hard link to the file, which must not be written to any more.
    /// `progress` is told how many bytes more were written.
    pub async fn put_file(&self, key: &str, file: &Path, progress: impl Fn(u64)) -> Result<u64, Error> {
        let path = parse_key(key).map_err(|source| Error::Put { key: key.to_owned(), source: Box::new(source) })?;
        if let Some(target) = self.local_path(key) {
            let file = file.to_owned();
            let placed = tokio::task::spawn_blocking(move || place(&file, &target)).await;
            let placed = placed.map_err(io::Error::other).flatten();
            let failed = |source| Error::Put { key: key.to_owned(), source: Box::new(local_error(source)) };
            let bytes = placed.map_err(failed)?;
            self.sync_above(&path).await?;
            progress(bytes);
            return Ok(bytes);
        }
        self.upload(&path, file, progress).await
    }

    /// Makes an object that has the content of another one, within this store: S3 copies by itself, up to 5 GB.
    pub async fn copy(&self, from: &str, to: &str) -> Result<(), Error> {
        let failed = |source| Error::Put { key: to.to_owned(), source: Box::new(source) };
        let (source, target) = (parse_key(from).map_err(failed)?, parse_key(to).map_err(failed)?);
        if let (Some(source), Some(place_at)) = (self.local_path(from), self.local_path(to)) {
            let placed = tokio::task::spawn_blocking(move || place(&source, &place_at)).await;
            placed.map_err(io::Error::other).flatten().map_err(|error| failed(local_error(error)))?;
            return self.sync_above(&target).await;
        }
        self.inner.objects.copy(&source, &target).await.map_err(failed)
    }

    async fn upload(&self, key: &Key, path: &Path, progress: impl Fn(u64)) -> Result<u64, Error> {
        let failed = |source| Error::Put { key: key.to_string(), source: Box::new(source) };
        let unreadable = |source| Error::File { file: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        if size <= PART_BYTES {
            let (_, bytes) = read_part(file, PART_BYTES).await.map_err(unreadable)?;
            let written = bytes.len() as u64;
            self.inner.objects.put(key, PutPayload::from_bytes(bytes)).await.map_err(failed)?;
            progress(written);
            return Ok(written);
        }
        let part_bytes = PART_BYTES.max(size.div_ceil(MAX_PARTS));
        let chunk = usize::try_from(part_bytes).expect("a part fits in memory");
        let upload = self.inner.objects.put_multipart(key).await.map_err(failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, chunk);
        let mut written = 0;
        loop {
            let (rest, part) = match read_part(file, part_bytes).await {
                Ok(read) => read,
                Err(source) => {
                    // The parts so far are of no use; what the store does not remove now, its own rules will.
                    let _ = upload.abort().await;
                    return Err(unreadable(source));
                }
            };
            file = rest;
            if part.is_empty() {
                break;
            }
            if let Err(source) = upload.wait_for_capacity(PARTS_IN_FLIGHT).await {
                let _ = upload.abort().await;
                return Err(failed(source));
            }
            written += part.len() as u64;
            progress(part.len() as u64);
            upload.put(part);
        }
        upload.finish().await.map_err(failed)?; // it aborts by itself
        Ok(written)
    }
}

async fn read_part(mut file: File, limit: u64) -> io::Result<(File, Bytes)> {
    let read = tokio::task::spawn_blocking(move || {
        let mut part = Vec::new();
        (&mut file).take(limit).read_to_end(&mut part)?;
        Ok((file, part.into()))
    });
    read.await.map_err(io::Error::other)?
}

/// Puts a file at `target`: whole or not at all.
fn place(file: &Path, target: &Path) -> io::Result<u64> {
    let folder = target.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    fs::create_dir_all(folder)?;
    let staged = stage(file, target)?;
    let placed = (|| {
        let staged_file = File::open(&staged)?;
        staged_file.sync_all()?;
        fs::rename(&staged, target)?;
        sync_folder(folder)?;
        Ok(staged_file.metadata()?.len())
    })();
    if placed.is_err() {
        let _ = fs::remove_file(&staged); // it is no object in any case
    }
    placed
}

/// Links or copies `file` to a name beside `target` that no listing shows: digits after a `#`.
fn stage(file: &Path, target: &Path) -> io::Result<PathBuf> {
    for attempt in 0_u32.. {
        let mut staged = target.as_os_str().to_owned();
        staged.push(format!("#{}{attempt:03}", process::id()));
        let staged = PathBuf::from(staged);
        match fs::hard_link(file, &staged) {
            Ok(()) => return Ok(staged),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Err(_) => {
                // Another disk, or one without links.
                return match fs::copy(file, &staged) {
                    Ok(_) => Ok(staged),
                    Err(error) => {
                        let _ = fs::remove_file(&staged);
                        Err(error)
                    }
                };
            }
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}
