use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ContentDigest;

/// A version of a dataset: when it was built, and from what. Ordered by its sequence number.
///
/// Written `000007-1f0c22ab`: the sequence number, at least six digits, and the first eight hex digits of the
/// content digest. No two versions of a dataset share a sequence number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionId {
    sequence: u32,
    digest: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no version: write it like 000007-1f0c22ab")]
pub struct VersionIdError {
    text: String,
}

impl VersionId {
    pub fn new(sequence: u32, content: &ContentDigest) -> Self {
        let digest = u32::from_str_radix(&content.short(), 16).expect("a digest is hex digits");
        Self { sequence, digest }
    }

    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Whether it may be the id of something with this content.
    pub fn matches(&self, content: &ContentDigest) -> bool {
        *self == Self::new(self.sequence, content)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{:06}-{:08x}", self.sequence, self.digest))
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for VersionId {
    type Err = VersionIdError;

    fn from_str(text: &str) -> Result<Self, VersionIdError> {
        let refused = || VersionIdError { text: text.chars().take(80).collect() };
        let (sequence, digest) = text.split_once('-').ok_or_else(refused)?;
        let sequence = sequence.parse().map_err(|_| refused())?;
        let digest = u32::from_str_radix(digest, 16).map_err(|_| refused())?;
        let id = Self { sequence, digest };
        // One version, one spelling: it names folders, too.
        if id.to_string() == text { Ok(id) } else { Err(refused()) }
    }
}

impl TryFrom<String> for VersionId {
    type Error = VersionIdError;

    fn try_from(text: String) -> Result<Self, VersionIdError> {
        text.parse()
    }
}

impl From<VersionId> for String {
    fn from(id: VersionId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_written_in_one_way() {
        let id: VersionId = "000007-1f0c22ab".parse().unwrap();
        assert_eq!((id.sequence(), id.to_string().as_str()), (7, "000007-1f0c22ab"));
        assert_eq!("1234567-00000000".parse::<VersionId>().unwrap().sequence(), 1_234_567);
        for text in ["", "7-1f0c22ab", "000007", "000007-1F0C22AB", "000007-1f0c22ab0", "+00007-1f0c22ab", "../7-0"] {
            assert!(text.parse::<VersionId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn versions_are_ordered_by_sequence() {
        let [older, newer] = ["999999-ffffffff", "1000000-00000000"].map(|text| text.parse::<VersionId>().unwrap());
        assert!(older < newer);
    }
}
