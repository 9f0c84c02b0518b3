use types::Digest;

use crate::Fact;

/// One rule that fired on one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub tenant: String,
    pub ruleset: String,
    pub version: u32,
    pub corpus: String,
    /// Ordinal of the segment in its corpus.
    pub segment: u32,
    /// Ordinal of the file in its segment.
    pub file: u32,
    /// Key of the file below the corpus root, raw bytes.
    pub key: Vec<u8>,
    /// Where the file was, raw bytes; the external variable `filepath` of the rules.
    pub path: Vec<u8>,
    /// Bytes of the file.
    pub size: u64,
    pub sha256: Digest,
    pub namespace: String,
    pub rule: String,
    pub tags: Vec<String>,
    /// The rule's metadata as a JSON array of `[name, value]`, in the rule's order, as `yr` prints it:
    /// a name may occur twice.
    pub metadata: String,
    /// The unit that the rule was scanned as; a finding stays valid as long as its unit does.
    pub unit: Digest,
    pub engine: String,
    pub engine_version: String,
    pub matches: Vec<Match>,
    /// True if there were more matches than are kept here.
    pub matches_truncated: bool,
    /// Version whose scan found it: smaller than `version` when carried over.
    pub found_in: u32,
    /// What the corpus's datasets knew of the file when it was found, in the order in which the corpus names them. Empty where it
    /// names none, and in findings from before there were any.
    pub enrichment: Vec<Fact>,
}

/// One hit of one pattern.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Match {
    /// Identifier with its `$`.
    pub pattern: String,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Bytes matched, which may be more than `data` keeps.
    pub length: u64,
    /// The matched bytes, or the first of them.
    pub data: Vec<u8>,
}
