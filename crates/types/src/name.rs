use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A name of a tenant, corpus or ruleset: 1 to 63 characters of `a-z`, `0-9`, `-` and `.`, beginning
/// and ending with a letter or digit, so that it is a valid Kubernetes object name and a safe path part.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no valid name: use 1 to 63 characters of a-z, 0-9, '-' and '.', beginning and ending with a letter or digit"
)]
pub struct NameError {
    name: String,
}

impl Name {
    pub const MAX_LEN: usize = 63;

    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
        let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let bytes = name.as_bytes();
        if bytes.len() <= Self::MAX_LEN
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().copied().all(inner)
            && !name.contains("..")
        {
            Ok(Self(name))
        } else {
            Err(NameError { name: name.chars().take(80).collect() })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// Who owns rulesets and corpora; `default` unless told otherwise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenant(pub Name);

impl Default for Tenant {
    fn default() -> Self {
        Self(Name("default".to_owned()))
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Tenant {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Name::new(text).map(Self)
    }
}

macro_rules! key {
    ($(#[$doc:meta])* $key:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub struct $key {
            pub tenant: Tenant,
            pub name: Name,
        }

        impl fmt::Display for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.tenant, self.name)
            }
        }
    };
}

key! {
    /// A corpus by its tenant and name.
    CorpusKey
}
key! {
    /// A ruleset by its tenant and name.
    RulesetKey
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_path_parts() {
        for good in ["a", "default", "web-shells.v2", "0"] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a/b", "a..b", ".", "ä", &"x".repeat(64)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }
}
