//! Findings as `yr` prints them, so that tools made for it read ours.
//!
//! The shape is that of `yr scan --output-format ndjson` with `--print-namespace --print-meta --print-tags
//! --print-strings`: per file one line with `path` and `rules`; per rule `identifier`, `namespace`, `meta`,
//! `tags`, `strings`; per match `identifier`, `offset`, `match`. Our own keys come after those of `yr`.
//! Compared with `cli/src/commands/scan.rs` of VirusTotal/yara-x at commit 007a223597a9 (after 1.0, before
//! 1.20), by reading; no `yr` was run.
//!
//! Left out: `xor_key` and `plaintext`, which `yr` adds to matches of `xor` patterns, because a
//! [`Match`] does not keep the key.

use serde::Serialize;
use serde_json::Value;

use crate::{Fact, Finding, Knowledge, Match};

/// How many bytes of a match are printed: what `yr --print-strings` does unless told otherwise.
const SHOWN_BYTES: usize = 120;

#[derive(Serialize)]
struct FileLine<'a> {
    path: &'a str,
    rules: Vec<Rule<'a>>,
    #[serde(flatten)]
    ours: Option<OfFile<'a>>,
}

#[derive(Serialize)]
struct OfFile<'a> {
    sha256: String,
    size: u64,
    tenant: &'a str,
    corpus: &'a str,
    segment: u32,
    file: u32,
}

#[derive(Serialize)]
struct Rule<'a> {
    identifier: &'a str,
    namespace: &'a str,
    meta: Value,
    tags: &'a [String],
    strings: Vec<Pattern<'a>>,
    // ours
    ruleset: &'a str,
    version: u32,
    found_in: u32,
    unit: String,
    engine: &'a str,
    engine_version: &'a str,
    /// True if `strings` does not name all matches.
    strings_truncated: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    enrichment: Vec<Known<'a>>,
}

/// What one dataset knew of the file; `reason` where it is unavailable.
#[derive(Serialize)]
struct Known<'a> {
    dataset: &'a str,
    version: Option<&'a str>,
    state: &'static str,
    value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Pattern<'a> {
    identifier: &'a str,
    offset: u64,
    r#match: String,
    // ours
    length: u64,
}

/// One line, without its newline, with all the findings of one file.
///
/// `path_shown` is printed as it is; take it from `corpus::display_key`, because `yr` has no way to print
/// a path that is not UTF-8 (it panics). The facts about the file are those of the first finding.
/// Matched bytes other than printable ASCII are printed as Rust escapes them (`\n`, `\"`, `\xff`), and
/// ` ... N more bytes` follows after 120 of them, both as `yr` does.
pub fn line(path_shown: &str, findings: &[&Finding]) -> String {
    let ours = findings.first().map(|finding| OfFile {
        sha256: finding.sha256.to_string(),
        size: finding.size,
        tenant: &finding.tenant,
        corpus: &finding.corpus,
        segment: finding.segment,
        file: finding.file,
    });
    let line = FileLine { path: path_shown, rules: findings.iter().map(|finding| rule(finding)).collect(), ours };
    serde_json::to_string(&line).expect("a line has string keys only")
}

fn rule(finding: &Finding) -> Rule<'_> {
    Rule {
        identifier: &finding.rule,
        namespace: &finding.namespace,
        // `encode` lets nothing else through; a finding made by hand may hold anything.
        meta: serde_json::from_str(&finding.metadata).unwrap_or_else(|_| Value::from(finding.metadata.as_str())),
        tags: &finding.tags,
        strings: finding.matches.iter().map(pattern).collect(),
        ruleset: &finding.ruleset,
        version: finding.version,
        found_in: finding.found_in,
        unit: finding.unit.to_string(),
        engine: &finding.engine,
        engine_version: &finding.engine_version,
        strings_truncated: finding.matches_truncated,
        enrichment: finding.enrichment.iter().map(known).collect(),
    }
}

fn known(fact: &Fact) -> Known<'_> {
    let reason = match &fact.knowledge {
        Knowledge::Unavailable(reason) => Some(reason.as_str()),
        Knowledge::Found(_) | Knowledge::Missing => None,
    };
    Known {
        dataset: &fact.dataset,
        version: Some(fact.version.as_str()).filter(|version| !version.is_empty()),
        state: fact.knowledge.state(),
        value: fact.json(),
        reason,
    }
}

fn pattern(found: &Match) -> Pattern<'_> {
    let shown = &found.data[..found.data.len().min(SHOWN_BYTES)];
    let mut text = shown.escape_ascii().to_string();
    let more = found.length.saturating_sub(shown.len() as u64);
    if more > 0 {
        text.push_str(&format!(" ... {more} more bytes"));
    }
    Pattern { identifier: &found.pattern, offset: found.offset, r#match: text, length: found.length }
}
