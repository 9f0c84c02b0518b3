use std::{fs::File, os::unix::fs::FileExt, time::Duration};

use engine::{FileFacts, KindScanner, ScanError};
use sha2::{Digest as _, Sha256};

use crate::wire::{FileToScan, FileVerdict, HashWish, Hit};

/// Up to this size one `read` into a warm buffer beats mapping, faulting in and unmapping.
const MAX_READ_BYTES: u64 = 64 << 10;
const HASH_STEP_BYTES: usize = 256 << 10;

/// Scans one open file with everything that is owed to it.
pub(super) fn scan(
    scanner: &mut KindScanner<'_>,
    file: &File,
    wanted: &FileToScan,
    timeout: Duration,
    buffer: &mut Vec<u8>,
) -> FileVerdict {
    let mut facts = FileFacts::new(&wanted.path, wanted.size);
    if let Some(known) = &wanted.known {
        facts = facts.with(known.into());
    }
    if wanted.size > MAX_READ_BYTES {
        let hits = match scanner.scan_fd(file, &facts, timeout) {
            Ok(hits) => hits,
            Err(error) => return failed(error),
        };
        return match hash_wanted(wanted.hash, &hits).then(|| hash_file(file, buffer)).transpose() {
            Ok(sha256) => scanned(sha256, hits),
            Err(_) => FileVerdict::Unreadable,
        };
    }
    let Ok(bytes) = read(file, wanted.size, buffer) else { return FileVerdict::Unreadable };
    match scanner.scan_mem(bytes, &facts, timeout) {
        Ok(hits) => scanned(hash_wanted(wanted.hash, &hits).then(|| Sha256::digest(bytes).into()), hits),
        Err(error) => failed(error),
    }
}

fn hash_wanted(wish: HashWish, hits: &[engine::Hit]) -> bool {
    match wish {
        HashWish::Always => true,
        HashWish::IfMatched => !hits.is_empty(),
        HashWish::Never => false,
    }
}

fn scanned(sha256: Option<[u8; 32]>, hits: Vec<engine::Hit>) -> FileVerdict {
    FileVerdict::Scanned { sha256, hits: hits.into_iter().map(Hit::from).collect() }
}

fn failed(error: ScanError) -> FileVerdict {
    match error {
        ScanError::TimedOut => FileVerdict::TimedOut,
        ScanError::Unreadable => FileVerdict::Unreadable,
        ScanError::Engine { message } => FileVerdict::Failed { message },
    }
}

/// The file's bytes, at most `size`: whether it grew meanwhile is the supervisor's to find.
fn read<'b>(file: &File, size: u64, buffer: &'b mut Vec<u8>) -> std::io::Result<&'b [u8]> {
    let size = usize::try_from(size).expect("below MAX_READ_BYTES");
    buffer.resize(size.max(buffer.len()), 0);
    let mut read = 0;
    while read < size {
        match file.read_at(&mut buffer[read..size], read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..read])
}

fn hash_file(file: &File, buffer: &mut Vec<u8>) -> std::io::Result<[u8; 32]> {
    buffer.resize(HASH_STEP_BYTES.max(buffer.len()), 0);
    let mut hasher = Sha256::new();
    let mut offset = 0;
    loop {
        match file.read_at(&mut buffer[..HASH_STEP_BYTES], offset) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                offset += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
