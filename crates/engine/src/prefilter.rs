//! Telling files that cannot match apart before libyara sees them.
//!
//! libyara needs two nanoseconds a byte even for a single rule. A search for the few literals of which a match must
//! hold one (`rules::Literals`) needs a tenth of that, reading included, and leaves few files to scan.

#![expect(clippy::disallowed_types, reason = "libyara measures real time against the same timeout")]

use std::{
    fs::File,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use aho_corasick::packed::Searcher;
use rules::Literals;

use crate::ScanError;

/// Files are read in pieces of this many bytes: they stay in the core's own cache until they are searched.
const PIECE_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(crate) struct Prefilter {
    searcher: Searcher,
    /// Of the piece before, so that no literal is cut in two.
    overlap: usize,
}

impl Prefilter {
    /// None: this processor has no instructions for it.
    pub(crate) fn new(literals: &Literals) -> Option<Self> {
        let longest = literals.iter().map(<[u8]>::len).max()?;
        Some(Self { searcher: Searcher::new(literals.iter())?, overlap: longest - 1 })
    }

    /// False: libyara would find nothing in these bytes.
    pub(crate) fn admits(&self, bytes: &[u8]) -> bool {
        self.searcher.find(bytes).is_some()
    }

    /// What is left of `timeout` for scanning the file. None: libyara would find nothing in it. `buffer` is only kept to
    /// be used again.
    pub(crate) fn admits_file(
        &self,
        file: &File,
        buffer: &mut Vec<u8>,
        timeout: Duration,
    ) -> Result<Option<Duration>, ScanError> {
        buffer.resize(buffer.len().max(self.overlap + PIECE_BYTES), 0);
        let started = Instant::now();
        let (mut offset, mut kept) = (0, 0);
        loop {
            let read = match file.read_at(&mut buffer[kept..kept + PIECE_BYTES], offset) {
                Ok(0) => return Ok(None),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(ScanError::Unreadable),
            };
            let filled = kept + read;
            let left = timeout.checked_sub(started.elapsed()).ok_or(ScanError::TimedOut)?;
            if self.admits(&buffer[..filled]) {
                return Ok(Some(left));
            }
            offset += read as u64;
            kept = self.overlap.min(filled);
            buffer.copy_within(filled - kept..filled, 0);
        }
    }
}
