use corpus::{Manifest, Packer, Patterns, Seen};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use types::{FileOrdinal, SegmentOrdinal, Skipped};

use super::memory::Memory;
use crate::origin::{self, Origin};

/// What a walk can only say at its end.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) gone: Vec<(SegmentOrdinal, Vec<FileOrdinal>)>,
    pub(super) skipped: Skipped,
}

/// Walks the corpus and sends segments of new and changed files as they fill. Blocks; gives the memory back.
/// Nothing: it was stopped.
pub(super) fn walk(
    origin: Result<Origin, origin::Error>,
    patterns: &Patterns,
    memory: Memory,
    segments: &mpsc::Sender<Manifest>,
    stop: &CancellationToken,
) -> (Result<Option<Walked>, origin::Error>, Memory) {
    let walked = compare(origin, patterns, &memory, segments, stop);
    (walked, memory)
}

fn compare(
    origin: Result<Origin, origin::Error>,
    patterns: &Patterns,
    memory: &Memory,
    segments: &mpsc::Sender<Manifest>,
    stop: &CancellationToken,
) -> Result<Option<Walked>, origin::Error> {
    let mut listing = origin?.list();
    let mut diff = memory.known.diff();
    let mut packer = Packer::new();
    for entry in listing.by_ref() {
        if stop.is_cancelled() {
            return Ok(None);
        }
        if !patterns.mean(&entry.key) {
            continue;
        }
        let full = match diff.see(&entry) {
            Seen::Known => None,
            Seen::New | Seen::Changed => packer.push(entry),
        };
        if full.is_some_and(|full| segments.blocking_send(full).is_err()) {
            return Ok(None);
        }
    }
    // The files are there, whether the walk was complete or not.
    let listed = listing.finish();
    if packer.finish().is_some_and(|last| segments.blocking_send(last).is_err()) {
        return Ok(None);
    }
    let listed = listed?;
    Ok(Some(Walked { gone: diff.finish(&listed), skipped: listed.skipped }))
}
