use serde::{Deserialize, Serialize};

use crate::Digest;

/// A segment holds at most this many files ...
pub const MAX_SEGMENT_FILES: usize = 4096;
/// ... or this many bytes, whichever comes first; a single larger file is a segment alone.
pub const MAX_SEGMENT_BYTES: u64 = 256 << 20;

/// What the orchestrator knows of a segment. The list of its files is the manifest, an object in storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub struct SegmentDescriptor {
    /// Digest of the manifest; the segment's name in storage.
    pub manifest: Digest,
    /// Files in the manifest, 1 to [`MAX_SEGMENT_FILES`].
    pub files: u32,
    /// Sum of the files' sizes at discovery.
    pub bytes: u64,
}

/// What the user said about a corpus.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub struct CorpusSpec {
    /// Where the files are, as a URL: `file:///usr/bin`.
    pub url: String,
    /// Files above this many bytes become `too_large`.
    pub max_file_bytes: u64,
    /// Time between the end of one listing and the start of the next, in milliseconds.
    pub listing_interval_ms: u64,
}
