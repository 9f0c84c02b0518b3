//! Findings for people, and for programs that read what `yr` prints.

use std::collections::BTreeMap;

use anyhow::Result;
use findings::{Fact, Finding, Knowledge, Match, ndjson};

use crate::render::{Align, Out, Table, count, escaped, plural};

/// Of one match, as many bytes are shown; a longer one says how long it is.
const SHOWN_BYTES: usize = 60;

/// Of a dataset's value as many bytes are shown.
const SHOWN_VALUE_BYTES: usize = 80;

/// One finding: a line with rule, severity, file and what datasets know of it, then its matches.
pub fn block(finding: &Finding, all_matches: bool) -> String {
    let severity = severity(finding).map_or(String::new(), |severity| format!("  [{severity}]"));
    let file = corpus::display_key(&finding.path);
    let mut text = format!("{}/{}{severity}  {file}", finding.ruleset, finding.rule);
    for fact in &finding.enrichment {
        text.push_str("  ");
        text.push_str(&known(fact));
    }
    let shown = if all_matches { finding.matches.len() } else { 1 };
    for found in finding.matches.iter().take(shown) {
        text.push_str("\n    ");
        text.push_str(&line(found));
    }
    let hidden = finding.matches.len().saturating_sub(shown);
    if hidden > 0 {
        text.push_str(&format!("  and {} more", count(hidden as u64)));
    }
    if finding.matches_truncated && all_matches {
        text.push_str("\n    and more that are not kept");
    }
    text
}

fn line(found: &Match) -> String {
    let Match { pattern, offset, length, data } = found;
    let longer = if *length > data.len().min(SHOWN_BYTES) as u64 {
        format!(" ({} bytes)", count(*length))
    } else {
        String::new()
    };
    format!("{offset:#010x}  {pattern}  {}{longer}", escaped(data, SHOWN_BYTES))
}

/// `packages: coreutils 9.1-1`. What datasets hold comes from anywhere, and must not move a cursor either.
fn known(fact: &Fact) -> String {
    format!("{}: {}", fact.dataset, escaped(fact.words().as_bytes(), SHOWN_VALUE_BYTES))
}

/// The rule's metadata entry of that name, when it has one.
fn severity(finding: &Finding) -> Option<String> {
    let metadata: Vec<(String, serde_json::Value)> = serde_json::from_str(&finding.metadata).ok()?;
    let (_, value) = metadata.into_iter().find(|(name, _)| name == "severity")?;
    Some(match value {
        // Rules come from anywhere; what they say must not move a cursor.
        serde_json::Value::String(text) => escaped(text.as_bytes(), 20),
        other => other.to_string(),
    })
}

/// One line per file, in the shape of `yr`; rows are ordered by file.
pub(super) fn files(rows: &[Finding], out: &mut Out) -> Result<()> {
    for of_file in rows.chunk_by(|a, b| (&a.corpus, a.segment, a.file) == (&b.corpus, b.segment, b.file)) {
        let Some(first) = of_file.first() else { continue };
        let rows: Vec<_> = of_file.iter().collect();
        out.line(ndjson::line(&corpus::display_key(&first.path), &rows))?;
    }
    Ok(())
}

/// How many files each rule fired on.
#[derive(Debug, Default)]
pub struct ByRule {
    /// By ruleset and rule.
    files: BTreeMap<(String, String), (u64, Option<String>)>,
    /// Findings that a dataset had no answer for, by dataset.
    without: BTreeMap<String, u64>,
}

impl ByRule {
    pub fn add(&mut self, finding: &Finding) {
        let key = (finding.ruleset.clone(), finding.rule.clone());
        self.files.entry(key).or_insert_with(|| (0, severity(finding))).0 += 1;
        for fact in &finding.enrichment {
            if let Knowledge::Unavailable(_) = fact.knowledge {
                *self.without.entry(fact.dataset.clone()).or_default() += 1;
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub fn rules(&self) -> u64 {
        self.files.len() as u64
    }

    pub fn findings(&self) -> u64 {
        self.files.values().map(|(files, _)| files).sum()
    }

    /// What must not be read as *unknown to the dataset*: one line per dataset.
    pub fn without(&self) -> impl Iterator<Item = String> {
        self.without.iter().map(|(dataset, findings)| {
            format!("{} made while the dataset {dataset} was unavailable", plural_were(*findings))
        })
    }

    pub fn table(&self) -> String {
        let left = Align::Left;
        let mut table = Table::new(&[("ruleset", left), ("rule", left), ("severity", left), ("files", Align::Right)]);
        for ((ruleset, rule), (files, severity)) in &self.files {
            let severity = severity.clone().unwrap_or_else(|| "-".to_owned());
            table.row([ruleset.clone(), rule.clone(), severity, count(*files)]);
        }
        format!("\n{table}")
    }
}

fn plural_were(findings: u64) -> String {
    format!("{} {}", plural(findings, "finding"), if findings == 1 { "was" } else { "were" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Digest;

    fn finding() -> Finding {
        let found = |offset, data: &[u8]| Match {
            pattern: "$a".to_owned(),
            offset,
            length: data.len() as u64,
            data: data.to_vec(),
        };
        Finding {
            tenant: "default".to_owned(),
            ruleset: "web".to_owned(),
            version: 1,
            corpus: "incoming".to_owned(),
            segment: 0,
            file: 0,
            key: b"x\xff".to_vec(),
            path: b"/in/x\xff".to_vec(),
            size: 9,
            sha256: Digest::of(b""),
            namespace: "php".to_owned(),
            rule: "eval".to_owned(),
            tags: Vec::new(),
            metadata: r#"[["author","us"],["severity","high"]]"#.to_owned(),
            unit: Digest::of(b"u"),
            engine: "libyara".to_owned(),
            engine_version: "4.5.5".to_owned(),
            matches: vec![found(31, b"eval(\x1b"), found(64, b"x")],
            matches_truncated: false,
            found_in: 1,
            enrichment: Vec::new(),
        }
    }

    #[test]
    fn a_finding_shows_rule_file_offset_and_bytes() {
        assert_eq!(
            block(&finding(), false),
            "web/eval  [high]  /in/x\\xff\n    0x0000001f  $a  eval(\\x1b  and 1 more"
        );
        assert!(block(&finding(), true).ends_with("\n    0x00000040  $a  x"));
    }

    #[test]
    fn what_datasets_know_stands_beside_the_file() {
        let fact = |dataset: &str, knowledge| Fact { dataset: dataset.to_owned(), version: "1".to_owned(), knowledge };
        let enrichment = vec![
            fact("packages", Knowledge::Found(br#"{"package":"php","version":"8.2"}"#.to_vec())),
            fact("senders", Knowledge::Found(b"\x1b[2J".to_vec())),
            fact("domains", Knowledge::Missing),
            fact("mailboxes", Knowledge::Unavailable("away".to_owned())),
        ];
        let finding = Finding { enrichment, ..finding() };
        let first = block(&finding, false).lines().next().unwrap().to_owned();
        assert_eq!(
            first,
            "web/eval  [high]  /in/x\\xff  packages: php 8.2  senders: \\x1b[2J  domains: -  mailboxes: unavailable"
        );
        let mut by_rule = ByRule::default();
        by_rule.add(&finding);
        let without: Vec<_> = by_rule.without().collect();
        assert_eq!(without, ["1 finding was made while the dataset mailboxes was unavailable"]);
    }

    #[test]
    fn rules_are_counted_by_file() {
        let mut by_rule = ByRule::default();
        by_rule.add(&finding());
        by_rule.add(&finding());
        assert_eq!((by_rule.rules(), by_rule.findings()), (1, 2));
        assert!(by_rule.table().contains("eval  high"), "{}", by_rule.table());
    }
}
