//! The configuration file: JSON with the published filter's fields, or the same and more in YAML.
//!
//! Everything that can be said about one entry is checked while it is read, so that the parser adds line and column.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use crate::rules::{Patterns, PrefixList};

/// A million prefixes of 60 bytes are 64 MB; beyond this it is the wrong file.
const LARGEST_BYTES: u64 = 256 << 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} has {bytes} bytes; {LARGEST_BYTES} is the most")]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{path} is no valid configuration")]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{path} is no valid configuration")]
    Yaml { path: PathBuf, source: yaml_serde::Error },
}

/// What the file says; all of it may be missing.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) listen_host: Option<String>,
    pub(super) listen_port: Option<u16>,
    pub(super) listen_socket: Option<PathBuf>,
    pub(super) target_host: Option<String>,
    pub(super) target_port: Option<u16>,
    pub(super) target_socket: Option<PathBuf>,
    pub(super) metric_blocklist: PrefixList,
    pub(super) metric_blocklist_regex: PatternList,
    pub(super) metric_allowlist: Option<PrefixList>,
    pub(super) metric_allowlist_regex: Option<PatternList>,
    pub(super) multi_thread: Option<bool>,
    pub(super) max_datagram_bytes: Option<usize>,
    pub(super) max_line_bytes: Option<usize>,
    pub(super) pack_delay_us: Option<u64>,
    pub(super) receive_buffer_bytes: Option<usize>,
    pub(super) resolve_interval_ms: Option<u64>,
    pub(super) metrics_listen: Option<SocketAddr>,
    pub(super) dry_run: Option<bool>,
}

impl File {
    /// JSON if the name ends in `.json` or the text begins with a brace, else YAML.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let bytes = fs::metadata(path).map_err(read_error)?.len();
        if bytes > LARGEST_BYTES {
            return Err(Error::TooLarge { path: path.to_owned(), bytes });
        }
        let file = fs::File::open(path).map_err(read_error)?;
        let mut reader = BufReader::new(file);
        let begins = reader.fill_buf().map_err(read_error)?.trim_ascii_start();
        if path.extension().is_some_and(|extension| extension == "json") || begins.starts_with(b"{") {
            // Piece by piece: a long list is never in memory as text, which the allocator would keep when it is gone.
            serde_json::from_reader(reader).map_err(|source| Error::Json { path: path.to_owned(), source })
        } else {
            yaml_serde::from_reader(reader).map_err(|source| Error::Yaml { path: path.to_owned(), source })
        }
    }
}

/// Regular expressions, each known to compile.
#[derive(Clone, Debug, Default)]
pub(super) struct PatternList(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for PrefixList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = PrefixList;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of prefixes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<PrefixList, A::Error> {
                let mut list = PrefixList::default();
                while entries.next_element_seed(Prefix(&mut list))?.is_some() {}
                Ok(list)
            }
        }
        deserializer.deserialize_seq(Entries)
    }
}

/// Puts one entry where the list keeps its text, so that a million of them need no million strings in between.
struct Prefix<'a>(&'a mut PrefixList);

impl<'de> de::DeserializeSeed<'de> for Prefix<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Prefix<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a prefix")
    }
    fn visit_str<E: de::Error>(self, prefix: &str) -> Result<(), E> {
        self.0.push(prefix).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for PatternList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = PatternList;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of regular expressions")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<PatternList, A::Error> {
                let mut list = Vec::new();
                while let Some(pattern) = entries.next_element_seed(Pattern)? {
                    list.push(pattern);
                }
                Ok(PatternList(list))
            }
        }
        deserializer.deserialize_seq(Entries)
    }
}

/// One expression, compiled alone for its mistakes: those of a set come without a line.
struct Pattern;

impl<'de> de::DeserializeSeed<'de> for Pattern {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Pattern {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a regular expression")
    }
    fn visit_str<E: de::Error>(self, pattern: &str) -> Result<String, E> {
        Patterns::new([pattern]).map_err(E::custom)?;
        Ok(pattern.to_owned())
    }
}
