use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a file has no answer. An exception is never folded into *clean*.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exception {
    /// The scan ran into the per-file time limit.
    TimedOut,
    /// The scanner process died on the file (signal, memory limit, engine error).
    Crashed,
    /// The file is larger than the corpus allows.
    TooLarge,
    /// The file is there but cannot be opened or read.
    Unreadable,
    /// The file vanished or changed between discovery and scan; a changed file is a new file.
    Gone,
    /// Every attempt at the segment failed before this file had its turn.
    Abandoned,
}

impl Exception {
    pub const ALL: [Self; 6] =
        [Self::TimedOut, Self::Crashed, Self::TooLarge, Self::Unreadable, Self::Gone, Self::Abandoned];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Crashed => "crashed",
            Self::TooLarge => "too_large",
            Self::Unreadable => "unreadable",
            Self::Gone => "gone",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What became of one file under one ruleset version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Matched,
    Clean,
    Excepted(Exception),
}

/// Files by outcome. The sum of all fields is the number of files that have an outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct OutcomeCounts {
    pub matched: u64,
    pub clean: u64,
    pub timed_out: u64,
    pub crashed: u64,
    pub too_large: u64,
    pub unreadable: u64,
    pub gone: u64,
    pub abandoned: u64,
}

impl OutcomeCounts {
    pub fn total(&self) -> u64 {
        self.matched + self.clean + self.excepted()
    }

    /// Files without an answer.
    pub fn excepted(&self) -> u64 {
        Exception::ALL.iter().map(|exception| self.of(*exception)).sum()
    }

    pub fn of(&self, exception: Exception) -> u64 {
        match exception {
            Exception::TimedOut => self.timed_out,
            Exception::Crashed => self.crashed,
            Exception::TooLarge => self.too_large,
            Exception::Unreadable => self.unreadable,
            Exception::Gone => self.gone,
            Exception::Abandoned => self.abandoned,
        }
    }

    pub fn add(&mut self, outcome: Outcome, files: u64) {
        let field = match outcome {
            Outcome::Matched => &mut self.matched,
            Outcome::Clean => &mut self.clean,
            Outcome::Excepted(Exception::TimedOut) => &mut self.timed_out,
            Outcome::Excepted(Exception::Crashed) => &mut self.crashed,
            Outcome::Excepted(Exception::TooLarge) => &mut self.too_large,
            Outcome::Excepted(Exception::Unreadable) => &mut self.unreadable,
            Outcome::Excepted(Exception::Gone) => &mut self.gone,
            Outcome::Excepted(Exception::Abandoned) => &mut self.abandoned,
        };
        *field += files;
    }
}
