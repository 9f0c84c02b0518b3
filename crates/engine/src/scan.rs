//! Scanning files one after the other with one libyara scanner.

use std::{fs::File, time::Duration};

use yara::{CallbackMsg, CallbackReturn, Rule, Rules, ScanFlags, YaraErrorKind};

use crate::{FileFacts, Known};

/// Of a match at most this many bytes are kept; libyara itself keeps no more.
pub const MAX_MATCH_DATA: usize = 512;

/// Of one rule at most this many matches in one file are kept.
pub const MAX_MATCHES_PER_RULE: usize = 1000;

/// One rule that fired on the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit {
    /// Index into the parts the program was compiled from.
    pub part: usize,
    pub namespace: String,
    pub rule: String,
    /// As written.
    pub tags: Vec<String>,
    /// As written; a name may come twice.
    pub metadata: Vec<(String, MetadataValue)>,
    /// By pattern in the order of the rule, then by offset. Private patterns do not report.
    pub matches: Vec<PatternMatch>,
    /// More matches were found than are kept.
    pub truncated: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataValue {
    Integer(i64),
    Text(String),
    Boolean(bool),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PatternMatch {
    /// With its dollar sign; `$` alone for an anonymous pattern.
    pub pattern: String,
    pub offset: u64,
    /// Of the match, also when less data is kept.
    pub length: u64,
    /// At most [`MAX_MATCH_DATA`] bytes.
    pub data: Vec<u8>,
}

/// Why a file was not scanned to its end. Never to be read as clean.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScanError {
    #[error("the scan took longer than its timeout")]
    TimedOut,
    #[error("the file could not be mapped, or shrank while it was scanned")]
    Unreadable,
    #[error("libyara failed: {message}")]
    Engine { message: String },
}

/// Scans files one after the other, with the state libyara needs allocated once.
pub struct Scanner<'c> {
    scanner: yara::Scanner<'c>,
    /// As libyara has it now: most files are like the one before, mostly unknown.
    known: Option<Known>,
}

impl std::fmt::Debug for Scanner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner").finish_non_exhaustive()
    }
}

impl<'c> Scanner<'c> {
    pub(crate) fn new(rules: &'c Rules) -> Result<Self, ScanError> {
        let mut scanner = rules.scanner().map_err(|error| failure(error.kind))?;
        // Without this flag the bindings turn every rule that did not match into a value too: five times slower.
        scanner.set_flags(ScanFlags::REPORT_RULES_MATCHING);
        Ok(Self { scanner, known: Some(Known::default()) })
    }

    /// Scans bytes in memory. An empty slice is an empty file.
    ///
    /// Hits are sorted by part, namespace and rule. libyara measures whole seconds: the timeout is rounded
    /// up, at least to one second, and looked at now and then, so a scan may take a little longer. A pattern
    /// with more than a million matches stops matching and the scan goes on.
    pub fn scan_mem(&mut self, bytes: &[u8], facts: &FileFacts, timeout: Duration) -> Result<Vec<Hit>, ScanError> {
        self.prepare(facts, timeout)?;
        let mut hits = Hits::default();
        let result = self.scanner.scan_mem_callback(bytes, |message| hits.take(message));
        hits.settle(result.map_err(|error| failure(error.kind)))
    }

    /// Scans an open file, mapped into memory as a whole; see [`Scanner::scan_mem`].
    pub fn scan_fd(&mut self, file: &File, facts: &FileFacts, timeout: Duration) -> Result<Vec<Hit>, ScanError> {
        self.prepare(facts, timeout)?;
        let mut hits = Hits::default();
        let result = self.scanner.scan_fd_callback(file, |message| hits.take(message));
        hits.settle(result.map_err(|error| match error {
            yara::Error::Yara(error) => failure(error.kind),
            yara::Error::Io(_) => ScanError::Unreadable,
            yara::Error::Compile(_) => ScanError::Engine { message: error.to_string() },
        }))
    }

    fn prepare(&mut self, facts: &FileFacts, timeout: Duration) -> Result<(), ScanError> {
        let FileFacts { filename, filepath, extension, file_size, known } = facts;
        let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
        self.scanner.set_timeout(i32::try_from(seconds.max(1)).unwrap_or(i32::MAX));
        let mut define = |name, text: &std::ffi::CString| self.scanner.define_variable(name, text.as_c_str());
        define("filename", filename)
            .and_then(|()| define("filepath", filepath))
            .and_then(|()| define("extension", extension))
            .and_then(|()| self.scanner.define_variable("file_size", *file_size))
            .map_err(|error| failure(error.kind))?;
        if self.known.as_ref() != Some(known) {
            self.known = None; // half told, should it fail
            self.tell(known).map_err(|error| failure(error.kind))?;
            self.known = Some(known.clone());
        }
        Ok(())
    }

    fn tell(&mut self, known: &Known) -> Result<(), yara::YaraError> {
        self.scanner.define_variable("known_good", known.known_good)?;
        let (package, package_version) = known.texts();
        self.scanner.define_variable("package", package)?;
        self.scanner.define_variable("package_version", package_version)?;
        self.scanner.define_variable("prevalence", known.prevalence)
    }
}

fn failure(kind: YaraErrorKind) -> ScanError {
    match kind {
        YaraErrorKind::ScanTimeout => ScanError::TimedOut,
        YaraErrorKind::CouldNotOpenFile | YaraErrorKind::CouldNotMapFile => ScanError::Unreadable,
        kind => ScanError::Engine { message: kind.to_string() },
    }
}

#[derive(Default)]
struct Hits {
    hits: Vec<Hit>,
    /// A namespace without our prefix: a bug of ours, to be told and not to be lost.
    stray: Option<String>,
}

impl Hits {
    /// Called by libyara. Must not panic: the frames above are C.
    fn take(&mut self, message: CallbackMsg<'_>) -> CallbackReturn {
        if let CallbackMsg::RuleMatching(rule) = message {
            match hit(&rule) {
                Some(hit) => self.hits.push(hit),
                None => self.stray = Some(rule.namespace.to_owned()),
            }
        }
        CallbackReturn::Continue
    }

    fn settle(mut self, result: Result<(), ScanError>) -> Result<Vec<Hit>, ScanError> {
        result?;
        if let Some(namespace) = self.stray {
            return Err(ScanError::Engine { message: format!("a hit in the unknown namespace {namespace:?}") });
        }
        self.hits.sort_by(|a, b| (a.part, &a.namespace, &a.rule).cmp(&(b.part, &b.namespace, &b.rule)));
        Ok(self.hits)
    }
}

fn hit(rule: &Rule<'_>) -> Option<Hit> {
    let (part, namespace) = rule.namespace.split_once(':')?;
    let (matches, truncated) = matches(rule);
    Some(Hit {
        part: part.parse().ok()?,
        namespace: namespace.to_owned(),
        rule: rule.identifier.to_owned(),
        tags: rule.tags.iter().map(|tag| (*tag).to_owned()).collect(),
        metadata: rule.metadatas.iter().map(|entry| (entry.identifier.to_owned(), (&entry.value).into())).collect(),
        matches,
        truncated,
    })
}

/// The matches to keep, and whether there were more. When there are too many, every pattern gets an equal
/// share, so that one noisy pattern does not hide the others.
fn matches(rule: &Rule<'_>) -> (Vec<PatternMatch>, bool) {
    let total: usize = rule.strings.iter().map(|pattern| pattern.matches.len()).sum();
    let truncated = total > MAX_MATCHES_PER_RULE;
    let matching = rule.strings.iter().filter(|pattern| !pattern.matches.is_empty()).count();
    let share = if truncated { (MAX_MATCHES_PER_RULE / matching.max(1)).max(1) } else { total };
    let kept = rule.strings.iter().flat_map(|pattern| {
        pattern.matches.iter().take(share).map(|found| PatternMatch {
            pattern: pattern.identifier.to_owned(),
            offset: (found.base as u64).saturating_add(found.offset as u64),
            length: found.length as u64,
            data: found.data[..found.data.len().min(MAX_MATCH_DATA)].to_vec(),
        })
    });
    (kept.take(MAX_MATCHES_PER_RULE).collect(), truncated)
}

impl From<&yara::MetadataValue<'_>> for MetadataValue {
    fn from(value: &yara::MetadataValue<'_>) -> Self {
        match value {
            yara::MetadataValue::Integer(value) => Self::Integer(*value),
            yara::MetadataValue::String(value) => Self::Text((*value).to_owned()),
            yara::MetadataValue::Boolean(value) => Self::Boolean(*value),
        }
    }
}
