use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Digest, Name};

/// A ruleset's sources, includes resolved, are at most this many bytes together.
pub const MAX_RULESET_BYTES: usize = 16 << 20;

/// Which corpora of its tenant a ruleset hunts in.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorpusSelection {
    All,
    Named(BTreeSet<Name>),
}

impl CorpusSelection {
    pub fn contains(&self, corpus: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(corpus),
        }
    }
}

/// One YARA source file with its includes resolved. The namespace is the file's path below the pushed
/// folder without its extension, so two files may use one rule name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RulesetSource {
    pub namespace: String,
    pub text: String,
}

/// What a file is, as far as its first bytes tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum FileKind {
    Other,
    /// Begins with `7f 45 4c 46`, whatever follows.
    Elf,
    /// Begins with `MZ`, whatever follows.
    Pe,
}

impl FileKind {
    pub const ALL: [Self; 3] = [Self::Other, Self::Elf, Self::Pe];

    /// As many first bytes as [`FileKind::of`] looks at.
    pub const LOOKS_AT: usize = 4;

    /// The kind of a file that begins so.
    pub fn of(first_bytes: &[u8]) -> Self {
        match first_bytes {
            [0x7f, b'E', b'L', b'F', ..] => Self::Elf,
            [b'M', b'Z', ..] => Self::Pe,
            _ => Self::Other,
        }
    }
}

/// Which files a unit can match at all. A unit is left out of the program that scans other files, and with it
/// the modules it imports: libyara builds all of a module's structures for every file it scans.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Nothing is known.
    #[default]
    Any,
    /// No file but of [`FileKind::Elf`], proven from the condition.
    Elf,
    /// No file but of [`FileKind::Pe`], proven from the condition.
    Pe,
    /// No file of [`FileKind::Other`], proven from the condition.
    ElfOrPe,
}

impl Gate {
    /// Whether a unit with this gate must see files of that kind.
    pub fn admits(self, kind: FileKind) -> bool {
        match self {
            Self::Any => true,
            Self::Elf => kind == FileKind::Elf,
            Self::Pe => kind == FileKind::Pe,
            Self::ElfOrPe => kind != FileKind::Other,
        }
    }

    /// Of what holds when both hold. What can never hold keeps the first gate.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, gate) | (gate, Self::Any) => gate,
            (Self::ElfOrPe, gate) | (gate, Self::ElfOrPe) => gate,
            (gate @ (Self::Elf | Self::Pe), Self::Elf | Self::Pe) => gate,
        }
    }

    /// Of what holds when one of them holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => Self::Any,
            (one, same) if one == same => one,
            (Self::Elf | Self::Pe | Self::ElfOrPe, Self::Elf | Self::Pe | Self::ElfOrPe) => Self::ElfOrPe,
        }
    }

    fn is_any(&self) -> bool {
        *self == Self::Any
    }
}

/// One unit: a rule with everything its answer depends on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnitSource {
    /// Digest of the rule's tokens and of all it depends on; equal digests give equal answers.
    pub digest: Digest,
    /// Index into [`RulesetArtifact::sources`].
    pub source: u32,
    /// Rules whose findings this unit owns: one, or all of the file when it could not be split.
    pub rules: Vec<String>,
    /// Byte ranges of the source, in ascending order, that compile to this unit alone: imports, the
    /// rules it needs, the global rules, itself. Empty: the whole source.
    pub ranges: Vec<(u32, u32)>,
    /// Derived from the rule's text, so the digest does not cover it.
    #[serde(default, skip_serializing_if = "Gate::is_any")]
    pub gate: Gate,
}

/// An immutable ruleset version as kept in object storage: sources and how they split into units.
/// Written as JSON, so that a person can read what was hunted with years later.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RulesetArtifact {
    /// Format of this object; 1.
    pub format: u32,
    pub sources: Vec<RulesetSource>,
    /// Sorted by digest, without duplicates.
    pub units: Vec<UnitSource>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    #[error("the ruleset is empty: it has no sources with rules")]
    Empty,
    #[error("the ruleset has {bytes} bytes of sources, the limit is {MAX_RULESET_BYTES}")]
    TooLarge { bytes: usize },
    #[error("the ruleset's artifact has format {format}, this program reads format 1")]
    Format { format: u32 },
    #[error("the ruleset's artifact is inconsistent: {what}")]
    Inconsistent { what: &'static str },
}

impl RulesetArtifact {
    pub const FORMAT: u32 = 1;

    /// The version's name: digest of its sources in order of namespace.
    pub fn digest(&self) -> Digest {
        let mut sources: Vec<_> = self.sources.iter().collect();
        sources.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        Digest::of_parts(sources.iter().flat_map(|source| [source.namespace.as_bytes(), source.text.as_bytes()]))
    }

    pub fn unit_digests(&self) -> Vec<Digest> {
        self.units.iter().map(|unit| unit.digest).collect()
    }

    pub fn source_bytes(&self) -> usize {
        self.sources.iter().map(|source| source.text.len()).sum()
    }

    /// Checks all that can be checked without parsing rules.
    pub fn validate(&self) -> Result<(), VersionError> {
        let Self { format, sources, units } = self;
        let inconsistent = |what| Err(VersionError::Inconsistent { what });
        if *format != Self::FORMAT {
            return Err(VersionError::Format { format: *format });
        }
        if self.source_bytes() > MAX_RULESET_BYTES {
            return Err(VersionError::TooLarge { bytes: self.source_bytes() });
        }
        if sources.is_empty() || units.is_empty() {
            return Err(VersionError::Empty);
        }
        let namespaces: BTreeSet<_> = sources.iter().map(|source| &source.namespace).collect();
        if namespaces.len() != sources.len() {
            return inconsistent("two sources share a namespace");
        }
        if !units.is_sorted_by(|a, b| a.digest < b.digest) {
            return inconsistent("units are not sorted by digest or not unique");
        }
        for unit in units {
            let Some(source) = sources.get(unit.source as usize) else {
                return inconsistent("a unit names a source that is not there");
            };
            let fits = |&(from, to): &(u32, u32)| from <= to && source.text.get(from as usize..to as usize).is_some();
            if !unit.ranges.iter().all(fits) || !unit.ranges.is_sorted_by(|a, b| a.1 <= b.0) {
                return inconsistent("a unit's ranges do not fit its source");
            }
            if unit.rules.is_empty() {
                return inconsistent("a unit owns no rule");
            }
        }
        Ok(())
    }
}
