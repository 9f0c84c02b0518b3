use std::{fs::File, io, path::Path};

use sha2::{Digest as _, Sha256};
use types::Digest;

use crate::manifest::{CHUNK_BYTES, FileEntry};

/// SHA-256 of a file, of each chunk, and its size.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileHasher {
    whole: Sha256,
    chunks: Vec<Digest>,
    size: u64,
}

impl FileHasher {
    /// Adds the next chunk: [`CHUNK_BYTES`], only the last one fewer. Returns the chunk's digest.
    pub(crate) fn add(&mut self, chunk: &[u8]) -> Digest {
        self.whole.update(chunk);
        self.size += chunk.len() as u64;
        let digest = Digest::of(chunk);
        self.chunks.push(digest);
        digest
    }

    pub(crate) fn finish(self, name: String) -> FileEntry {
        let sha256 = Digest::from_bytes(self.whole.finalize().into());
        FileEntry { name, size: self.size, sha256, chunks: self.chunks }
    }
}

/// Describes a local file as a manifest does.
pub fn hash_file(path: &Path) -> io::Result<FileEntry> {
    let mut hasher = FileHasher::default();
    read_chunks(path, |chunk| {
        hasher.add(chunk);
        Ok(())
    })?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(hasher.finish(name))
}

/// Reads a file chunk by chunk.
pub(crate) fn read_chunks(path: &Path, mut visit: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    use io::Read as _;
    let mut file = File::open(path)?;
    let mut chunk = Vec::new();
    loop {
        chunk.clear();
        if (&mut file).take(CHUNK_BYTES).read_to_end(&mut chunk)? == 0 {
            return Ok(());
        }
        visit(&chunk)?;
    }
}
