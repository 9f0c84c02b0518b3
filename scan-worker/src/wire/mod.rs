//! What the supervisor and a scanner process say to each other over their Unix socket.
//!
//! ```text
//!  supervisor ── Load · Forget · Scan + file descriptors ──► scanner
//!             ◄── Loaded · Scanned ─────────────────────────
//! ```
//!
//! A frame is its length (u32, little endian) and a MessagePack value; file descriptors travel beside the
//! frame's first byte, one per file and in order. Both ends are the same binary, so frames have no versions.

mod progress;
mod socket;

pub use progress::Progress;
pub use socket::{Blocking, Connection, Error, Received};

use std::sync::Arc;

use rules::KindSources;
use serde::{Deserialize, Serialize};

/// Files in one message. The kernel takes 253 descriptors at most; beyond some dozens nothing is gained.
pub const MAX_FILES_PER_BATCH: usize = 64;

/// Bytes of files in one message, so that answers to large files are not kept waiting by others.
pub const MAX_BYTES_PER_BATCH: u64 = 2 << 20;

/// A frame beyond this is a bug: rulesets are 16 MiB each, and a job has as many as fit a gRPC message.
const MAX_FRAME_BYTES: usize = 1 << 30;

/// Names a program to a scanner; chosen by its slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ProgramId(pub u32);

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// The first message; its descriptor is that of [`Progress`].
    Hello {
        file_timeout_ms: u64,
    },
    Load {
        program: ProgramId,
        parts: Vec<LoadPart>,
    },
    Forget {
        program: ProgramId,
    },
    Scan {
        program: ProgramId,
        files: Vec<FileToScan>,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadPart {
    /// Who is named when it does not compile.
    pub name: String,
    pub sources: Arc<KindSources>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct FileToScan {
    /// From 1, in the order sent to this process.
    pub sequence: u64,
    pub size: u64,
    pub hash: HashWish,
    /// What datasets know of it, if anything.
    pub known: Option<Known>,
    /// Its absolute path, `/`-separated, whatever its encoding.
    #[serde(with = "as_bytes")]
    pub path: Vec<u8>,
}

/// [`engine::Known`] on its way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Known {
    good: bool,
    package: String,
    package_version: String,
    prevalence: i64,
}

impl From<&engine::Known> for Known {
    fn from(known: &engine::Known) -> Self {
        let (package, package_version) = (known.package().into_owned(), known.package_version().into_owned());
        Self { good: known.known_good, package, package_version, prevalence: known.prevalence }
    }
}

impl From<&Known> for engine::Known {
    fn from(known: &Known) -> Self {
        let Known { good, package, package_version, prevalence } = known;
        Self::new(*good, package, package_version, *prevalence)
    }
}

/// When to compute a file's SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HashWish {
    Always,
    IfMatched,
    Never,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Loaded {
        program: ProgramId,
        guilty: Vec<GuiltyPart>,
    },
    /// The answers of one message's files, and how long they took together, in microseconds.
    Scanned {
        answers: Vec<Answer>,
        engine_us: u64,
    },
}

/// A part that does not compile; the others do, without it.
#[derive(Debug, Serialize, Deserialize)]
pub struct GuiltyPart {
    pub part: usize,
    pub message: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    pub sequence: u64,
    pub verdict: FileVerdict,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum FileVerdict {
    Scanned {
        sha256: Option<[u8; 32]>,
        hits: Vec<Hit>,
    },
    TimedOut,
    Unreadable,
    /// The engine gave up on the file.
    Failed {
        message: String,
    },
}

/// [`engine::Hit`] on its way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hit {
    pub part: usize,
    pub namespace: String,
    pub rule: String,
    pub tags: Vec<String>,
    pub metadata: Vec<(String, MetadataValue)>,
    pub matches: Vec<PatternMatch>,
    pub truncated: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MetadataValue {
    Integer(i64),
    Text(String),
    Boolean(bool),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PatternMatch {
    pub pattern: String,
    pub offset: u64,
    pub length: u64,
    #[serde(with = "as_bytes")]
    pub data: Vec<u8>,
}

impl From<engine::Hit> for Hit {
    fn from(hit: engine::Hit) -> Self {
        let engine::Hit { part, namespace, rule, tags, metadata, matches, truncated } = hit;
        let metadata = metadata.into_iter().map(|(name, value)| (name, value.into())).collect();
        let matches = matches.into_iter().map(PatternMatch::from).collect();
        Self { part, namespace, rule, tags, metadata, matches, truncated }
    }
}

impl From<engine::MetadataValue> for MetadataValue {
    fn from(value: engine::MetadataValue) -> Self {
        match value {
            engine::MetadataValue::Integer(value) => Self::Integer(value),
            engine::MetadataValue::Text(value) => Self::Text(value),
            engine::MetadataValue::Boolean(value) => Self::Boolean(value),
        }
    }
}

impl From<engine::PatternMatch> for PatternMatch {
    fn from(found: engine::PatternMatch) -> Self {
        let engine::PatternMatch { pattern, offset, length, data } = found;
        Self { pattern, offset, length, data }
    }
}

/// Bytes as one MessagePack binary instead of an array of numbers: half the size and a copy instead of a loop.
mod as_bytes {
    use std::fmt;

    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}
