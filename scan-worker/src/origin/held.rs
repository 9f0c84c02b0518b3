//! Bytes of an object as a file that a scanner can map and nobody can change.

use std::{fs::File, io};

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create, openat};

/// Larger objects go to disk, where the kernel can take their pages back: a worker's memory is for scanners.
const IN_MEMORY: u64 = 32 << 20;

/// An empty file without a name, for `bytes` bytes.
pub(super) fn create(bytes: u64) -> io::Result<File> {
    if bytes > IN_MEMORY {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        match openat(CWD, std::env::temp_dir(), flags, mode) {
            Ok(file) => return Ok(file.into()),
            // No such folder, or one whose file system has no unnamed files.
            Err(error) => tracing::debug!(%error, "a large object is held in memory"),
        }
    }
    Ok(memfd_create("dragnet-object", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into())
}

/// Nobody writes to it any more. On disk it has no name by which anybody else could.
pub(super) fn seal(file: &File) {
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    let _ = fcntl_add_seals(file, seals); // no seals on a file of a disk
}
