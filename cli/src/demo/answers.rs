//! What was found, and the receipts, as the demo shows them.

use std::{collections::BTreeMap, ops::ControlFlow};

use ::findings::{Finding, Knowledge};
use anyhow::{Result, bail};
use protocol::v1;

use crate::{
    client::Cluster,
    commands::{
        findings::{self, Selection},
        receipt::Receipt,
    },
    render::{Align, Out, Table, count, elapsed, plural},
};

/// Of each rule, and rules; the rest is one command away.
const FILES_SHOWN: usize = 2;
const RULES_SHOWN: usize = 12;

#[derive(Debug, Default)]
pub(super) struct Found {
    /// By ruleset and rule: on how many files, and the first of them.
    rules: BTreeMap<(String, String), (u64, Vec<Finding>)>,
    /// Findings in the corpus `incoming`, by the file's name.
    pub(super) incoming: BTreeMap<String, u64>,
    /// Findings in files that a dataset knows, and those that a dataset had no answer for.
    pub(super) known: u64,
    pub(super) unavailable: u64,
}

impl Found {
    pub(super) async fn read(cluster: &Cluster) -> Result<Self> {
        let mut found = Self::default();
        findings::read(cluster, &Selection::default(), |rows| {
            for row in rows {
                let (files, first) = found.rules.entry((row.ruleset.clone(), row.rule.clone())).or_default();
                *files += 1;
                if first.len() < FILES_SHOWN {
                    first.push(row.clone());
                }
                let is = |wanted: fn(&Knowledge) -> bool| row.enrichment.iter().any(|fact| wanted(&fact.knowledge));
                found.known += u64::from(is(|knowledge| matches!(knowledge, Knowledge::Found(_))));
                found.unavailable += u64::from(is(|knowledge| matches!(knowledge, Knowledge::Unavailable(_))));
                if row.corpus == "incoming" {
                    *found.incoming.entry(corpus::display_key(&row.key)).or_default() += 1;
                }
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
        Ok(found)
    }

    pub(super) fn findings(&self) -> u64 {
        self.rules.values().map(|(files, _)| files).sum()
    }

    /// Rules of most weight first, each with the first files it fired on.
    pub(super) fn show(&self, out: &mut Out) -> Result<()> {
        let mut rules: Vec<_> = self.rules.iter().collect();
        rules.sort_by_key(|(_, (files, first))| (first.first().map_or(u8::MAX, weight), *files));
        for ((ruleset, rule), (files, first)) in rules.iter().take(RULES_SHOWN) {
            out.line(format!("  {ruleset}/{rule} fired on {}", plural(*files, "file")))?;
            for finding in first {
                for line in findings::block(finding, false).lines() {
                    out.line(format!("    {line}"))?;
                }
            }
        }
        let hidden = rules.len().saturating_sub(RULES_SHOWN);
        if hidden > 0 {
            out.line(format!("  ... and {} more", plural(hidden as u64, "rule")))?;
        }
        out.line(format!("  {} by {}", plural(self.findings(), "finding"), plural(rules.len() as u64, "rule")))
    }
}

/// The gravest first.
fn weight(finding: &Finding) -> u8 {
    let grave = |level: &str| finding.metadata.contains(&format!("[\"severity\",\"{level}\"]"));
    ["critical", "high", "medium", "low", "info"]
        .into_iter()
        .position(grave)
        .map_or(5, |at| u8::try_from(at).unwrap_or(5))
}

/// Shows each hunt's receipt in one line, and checks that it adds up and that nothing is pending.
pub(super) fn receipts(hunts: &[v1::Hunt], out: &mut Out) -> Result<()> {
    let mut table = table(("  ruleset", Align::Left));
    for hunt in hunts {
        let receipt = Receipt::of(hunt)?;
        let name = format!("  {} v{}", receipt.ruleset, receipt.version);
        table.row(row(name, receipt.corpus, std::slice::from_ref(&receipt)));
    }
    out.line(table)?;
    check(hunts)
}

/// Shows the receipts of one corpus together in one line, and checks each.
pub(super) fn by_corpus(hunts: &[v1::Hunt], out: &mut Out) -> Result<()> {
    let mut corpora: BTreeMap<&str, Vec<Receipt<'_>>> = BTreeMap::new();
    for hunt in hunts {
        let receipt = Receipt::of(hunt)?;
        corpora.entry(receipt.corpus).or_default().push(receipt);
    }
    let mut table = table(("  receipts", Align::Right));
    for (corpus, receipts) in corpora {
        table.row(row(count(receipts.len() as u64), corpus, &receipts));
    }
    out.line(table)?;
    check(hunts)
}

fn table(first: (&str, Align)) -> Table {
    let (left, right) = (Align::Left, Align::Right);
    Table::new(&[
        first,
        ("corpus", left),
        ("stored", right),
        ("= matched", right),
        ("+ clean", right),
        ("+ without answer", right),
        ("+ pending", right),
        ("adds up", left),
        ("after", right),
    ])
}

/// The terms of some receipts, added; adding up is asked of each.
fn row(first: String, corpus: &str, receipts: &[Receipt<'_>]) -> [String; 9] {
    let sum = |term: fn(&Receipt<'_>) -> u64| count(receipts.iter().map(term).sum());
    [
        first,
        corpus.to_owned(),
        sum(|receipt| receipt.stored_files),
        sum(|receipt| receipt.matched),
        sum(|receipt| receipt.clean),
        sum(|receipt| receipt.exceptions()),
        sum(|receipt| receipt.pending_files),
        if receipts.iter().all(is_complete) { "yes".to_owned() } else { "NO".to_owned() },
        receipts.iter().filter_map(Receipt::time).max().map_or("-".to_owned(), elapsed),
    ]
}

fn is_complete(receipt: &Receipt<'_>) -> bool {
    receipt.adds_up() && receipt.pending_files == 0
}

fn check(hunts: &[v1::Hunt]) -> Result<()> {
    for hunt in hunts {
        let receipt = Receipt::of(hunt)?;
        if !is_complete(&receipt) {
            bail!("a receipt does not add up, or is not complete:\n{}", receipt.text());
        }
    }
    Ok(())
}
