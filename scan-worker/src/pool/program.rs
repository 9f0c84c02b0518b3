use std::sync::{Arc, OnceLock};

use rules::KindSources;
use types::{Digest, FileKind};

use crate::job::facts::asks;

/// What leads one ruleset from one version to another, ready to be compiled together with others.
#[derive(Debug)]
pub struct Part {
    /// For people: which ruleset and version.
    pub name: String,
    pub from: Option<Digest>,
    pub to: Digest,
    pub sources: Arc<KindSources>,
    pub owners: rules::Owners,
    /// Units of both versions, sorted.
    pub carried: Vec<Digest>,
    /// Why it does not compile, once a scanner has found out. Not tried again while the part is cached.
    pub failure: OnceLock<String>,
    /// Its rules may ask what datasets know of a file.
    pub asks: bool,
}

impl Part {
    pub fn new(name: String, from: Option<Digest>, to: Digest, program: rules::Program) -> Self {
        let rules::Program { sources, owners, carried } = program;
        let asks = FileKind::ALL.into_iter().any(|kind| sources.get(kind).iter().any(asks));
        Self { name, from, to, sources: Arc::new(sources), owners, carried, failure: OnceLock::new(), asks }
    }

    pub fn adds_units(&self) -> bool {
        !self.sources.is_empty()
    }

    pub fn source_bytes(&self) -> usize {
        self.sources.bytes()
    }
}

/// Which units a program scans for: per part from which version to which.
pub type ProgramKey = Vec<(Option<Digest>, Digest)>;

/// Parts that are compiled together, in the order of their key, so that equal sets are compiled once.
#[derive(Clone, Debug)]
pub struct Program {
    pub parts: Vec<Arc<Part>>,
}

impl Program {
    pub fn key(&self) -> ProgramKey {
        self.parts.iter().map(|part| (part.from, part.to)).collect()
    }

    /// Bytes that a scanner compiles: what several kinds of files need counts as often as it is compiled.
    pub fn source_bytes(&self) -> usize {
        let (kinds, _) = rules::programs_of(self.parts.iter().map(|part| &*part.sources));
        kinds.into_iter().flat_map(|kind| self.parts.iter().map(move |part| part.sources.bytes_for(kind))).sum()
    }
}
