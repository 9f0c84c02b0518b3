use serde::{Deserialize, Serialize};

use crate::{Digest, Name};

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

/// A corpus names at most this many datasets.
pub const MAX_DATASETS: usize = 16;

/// What the user said about a corpus.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub struct CorpusSpec {
    /// Where the files are, as a URL: `file:///usr/bin`.
    pub url: String,
    /// Files above this many bytes become `too_large`.
    pub max_file_bytes: u64,
    /// Time between the end of one listing and the start of the next, in milliseconds.
    pub listing_interval_ms: u64,
    /// Datasets that its files are looked up in, without repetition, the first asked first believed.
    ///
    /// Left out when empty, so that states and log entries without datasets are to the byte what they were before
    /// there were any: members of two versions compare them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<Name>,
    /// Only files whose path below the URL matches one of these; all without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// No files whose path below the URL matches one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_from_before_there_were_datasets_opens_and_is_written_as_it_was() {
        let before = r#"{"url":"file:///usr/bin","max_file_bytes":536870912,"listing_interval_ms":5000}"#;
        let spec: CorpusSpec = serde_json::from_str(before).unwrap();
        assert_eq!(spec.datasets, []);
        assert_eq!(serde_json::to_string(&spec).unwrap(), before);
        let with = CorpusSpec { datasets: vec![Name::new("packages").unwrap()], ..spec };
        let text = serde_json::to_string(&with).unwrap();
        assert_eq!(serde_json::from_str::<CorpusSpec>(&text).unwrap(), with);
    }
}
