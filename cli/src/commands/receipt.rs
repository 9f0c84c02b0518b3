//! `dragnet receipt`: what became of every file of a hunt.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use corpus::Manifest;
use protocol::v1;
use serde::Serialize;
use types::{Digest, Exception, FileOrdinal, Name};

use super::{Context, known, skipped::Skipped};
use crate::{
    client::Stores,
    render::{bytes, count, elapsed, plural, utc},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A receipt is a sum: the files stored are those that matched, those that are clean, and those without an answer, by \
reason. A file that could not be scanned is never counted as clean. What the listing met and could not store, as an \
unreadable folder, is no part of the sum and told below it.

Examples:
  dragnet receipt                               of every hunt
  dragnet receipt webshells --corpus incoming   of one
  dragnet receipt --exceptions                  the files without an answer, with the reason
  dragnet receipt --json | jq '{ruleset, corpus, matched, clean}'")]
pub struct Args {
    /// The ruleset; without it, all
    name: Option<Name>,
    /// One corpus only
    #[arg(long, value_name = "NAME")]
    corpus: Option<Name>,
    /// List the files without an answer instead
    #[arg(long)]
    exceptions: bool,
}

/// A hunt's receipt, as `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Receipt<'a> {
    pub tenant: &'a str,
    pub ruleset: &'a str,
    pub corpus: &'a str,
    pub version: u32,
    pub digest: Digest,
    pub state: &'static str,
    pub stored_files: u64,
    pub stored_bytes: u64,
    pub matched: u64,
    pub clean: u64,
    pub timed_out: u64,
    pub crashed: u64,
    pub too_large: u64,
    pub unreadable: u64,
    pub gone: u64,
    pub abandoned: u64,
    pub pending_files: u64,
    pub findings: u64,
    pub done_bytes: u64,
    pub scanned_bytes: u64,
    pub started_at_ms: u64,
    pub caught_up_at_ms: Option<u64>,
    /// No part of the stored files.
    pub not_listed: Skipped,
    pub listing_error: Option<&'a str>,
}

impl<'a> Receipt<'a> {
    pub fn of(hunt: &'a v1::Hunt) -> Result<Self> {
        let missing = || "the leader's answer does not name the hunt";
        let (ruleset, corpus) = hunt.ruleset.as_ref().zip(hunt.corpus.as_ref()).with_context(missing)?;
        let version = hunt.version.as_ref().and_then(|version| version.version.as_ref()).with_context(missing)?;
        let v1::OutcomeCounts { matched, clean, timed_out, crashed, too_large, unreadable, gone, abandoned } =
            hunt.outcomes.unwrap_or_default();
        Ok(Self {
            tenant: &ruleset.tenant,
            ruleset: &ruleset.name,
            corpus: &corpus.name,
            version: version.number,
            digest: version.digest().context("the leader's answer is not valid")?,
            state: state_name(hunt.state()),
            stored_files: hunt.stored_files,
            stored_bytes: hunt.stored_bytes,
            matched,
            clean,
            timed_out,
            crashed,
            too_large,
            unreadable,
            gone,
            abandoned,
            pending_files: hunt.pending_files,
            findings: hunt.findings,
            done_bytes: hunt.done_bytes,
            scanned_bytes: hunt.scanned_bytes,
            started_at_ms: hunt.started_at_ms,
            caught_up_at_ms: hunt.caught_up_at_ms,
            not_listed: Skipped::of(hunt.skipped),
            listing_error: Some(hunt.listing_error.as_str()).filter(|error| !error.is_empty()),
        })
    }

    /// The sum's terms, in the order they are printed.
    fn terms(&self) -> [(u64, &'static str); 9] {
        [
            (self.matched, "matched"),
            (self.clean, "clean"),
            (self.timed_out, "timed out"),
            (self.crashed, "crashed the scanner"),
            (self.too_large, "too large"),
            (self.unreadable, "unreadable"),
            (self.gone, "gone before the scan"),
            (self.abandoned, "abandoned after failed attempts"),
            (self.pending_files, "pending"),
        ]
    }

    pub fn sum(&self) -> u64 {
        self.terms().iter().map(|(files, _)| files).sum()
    }

    pub fn adds_up(&self) -> bool {
        self.sum() == self.stored_files
    }

    /// Files that have an outcome.
    pub fn answered(&self) -> u64 {
        self.stored_files.saturating_sub(self.pending_files)
    }

    /// Files without an answer that will not get one by themselves.
    pub fn exceptions(&self) -> u64 {
        self.timed_out + self.crashed + self.too_large + self.unreadable + self.gone + self.abandoned
    }

    /// From the push to the moment the hunt had last caught up, so also the wait for files that came later.
    pub fn time(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.caught_up_at_ms?.saturating_sub(self.started_at_ms)))
    }

    /// The receipt as people read it: a heading, then the sum with its result below the line.
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!("{} in {}: {}", self.ruleset, self.corpus, self.state.replace('_', " ")),
            format!("  rules    version {}, sha256:{}", self.version, self.digest),
            format!("  time     {}", self.times()),
            format!(
                "  bytes    {} stored, {} given to the engine; {}",
                bytes(self.stored_bytes),
                bytes(self.scanned_bytes),
                plural(self.findings, "finding")
            ),
        ];
        let width = count(self.stored_files.max(self.sum())).len() + 2;
        for (at, (files, what)) in self.terms().into_iter().enumerate() {
            let sign = if at == 0 { ' ' } else { '+' };
            lines.push(format!("  files  {sign} {:>width$} {what}", count(files)).replacen(
                "  files",
                "       ",
                at.min(1),
            ));
        }
        lines.push(format!("           {}", "─".repeat(width)));
        let verdict = match self.adds_up() {
            true => "stored; the sum adds up".to_owned(),
            false => format!("is the sum, but {} are stored: THE RECEIPT DOES NOT ADD UP", count(self.stored_files)),
        };
        lines.push(format!("         = {:>width$} {verdict}", count(self.sum())));
        if self.not_listed.sum() > 0 {
            let met = self.not_listed.text();
            lines.push(format!("  not listed: {met} (dragnet corpus show {})", self.corpus));
        }
        if let Some(error) = self.listing_error {
            lines.push(format!("  listing failed: {error}"));
        }
        lines.join("\n")
    }

    fn times(&self) -> String {
        let from = utc(self.started_at_ms);
        // No rate: the time between holds waiting for files as well, and how much of it nobody noted.
        match (self.time(), self.caught_up_at_ms) {
            (Some(time), Some(at)) => format!("started {from}, last caught up {} ({} later)", utc(at), elapsed(time)),
            _ => format!("started {from}, not caught up yet"),
        }
    }
}

/// Each stored file has its outcome, and the corpus has been listed whole.
pub fn is_caught_up(hunt: &v1::Hunt) -> bool {
    hunt.state() == v1::HuntState::CaughtUp && hunt.pending_files == 0
}

pub fn state_name(state: v1::HuntState) -> &'static str {
    match state {
        v1::HuntState::Unspecified => "unknown",
        v1::HuntState::Running => "running",
        v1::HuntState::CaughtUp => "caught_up",
        v1::HuntState::Paused => "paused",
        v1::HuntState::Superseded => "superseded",
        v1::HuntState::Retired => "retired",
    }
}

pub async fn run(args: Args, ctx: &mut Context) -> Result<()> {
    let Args { name, corpus, exceptions } = args;
    if exceptions {
        return list_exceptions(name.as_ref(), corpus.as_ref(), ctx).await;
    }
    known::check(&ctx.cluster, name.as_ref(), corpus.as_ref()).await?;
    let hunts = ctx.cluster.hunts(false).await?;
    if hunts.is_empty() && name.is_none() && corpus.is_none() {
        return if ctx.out.is_json() { Ok(()) } else { ctx.out.line(known::NO_HUNTS) };
    }
    let all: Result<Vec<_>> = hunts.iter().map(Receipt::of).collect();
    let wanted = |receipt: &Receipt<'_>| {
        name.as_ref().is_none_or(|name| name.as_str() == receipt.ruleset)
            && corpus.as_ref().is_none_or(|corpus| corpus.as_str() == receipt.corpus)
    };
    let receipts: Vec<_> = all?.into_iter().filter(wanted).collect();
    if receipts.is_empty() {
        bail!("there is no such hunt; `dragnet hunt list` shows all");
    }
    for (at, receipt) in receipts.iter().enumerate() {
        match (ctx.out.is_json(), at) {
            (true, _) => ctx.out.object(receipt)?,
            (false, 0) => ctx.out.line(receipt.text())?,
            (false, _) => ctx.out.line(format!("\n{}", receipt.text()))?,
        }
    }
    // Never seen so far; whoever scripts on receipts must not overlook it.
    if receipts.iter().any(|receipt| !receipt.adds_up()) {
        bail!("a receipt does not add up; this is a bug in Dragnet, please report it with the output above");
    }
    Ok(())
}

/// A file without an answer, as `--json` prints it.
#[derive(Debug, Serialize)]
struct ExceptedRow<'a> {
    ruleset: &'a str,
    version: u32,
    corpus: &'a str,
    file: &'a str,
    reason: Exception,
    segment: u32,
    last_error: Option<&'a str>,
}

async fn list_exceptions(name: Option<&Name>, corpus: Option<&Name>, ctx: &mut Context) -> Result<()> {
    known::check(&ctx.cluster, name, corpus).await?;
    let text = |name: Option<&Name>| name.map(ToString::to_string).unwrap_or_default();
    let mut stream = ctx.cluster.exceptions(text(name), text(corpus)).await?;
    let mut stores = Stores::default();
    let mut files = 0_u64;
    while let Some(segment) = stream.message().await.context("the answer broke off; run the command again")? {
        files += show_segment(&segment, &mut stores, &mut ctx.out).await?;
    }
    match (ctx.out.is_json(), files) {
        (true, _) => Ok(()),
        (false, 0) => ctx.out.line("every file that was scanned has an answer"),
        (false, files) => ctx.out.line(format!("{} without an answer", plural(files, "file"))),
    }
}

async fn show_segment(of: &v1::SegmentExceptions, stores: &mut Stores, out: &mut crate::render::Out) -> Result<u64> {
    let missing = || "the leader's answer is not complete";
    let segment = of.segment.as_ref().with_context(missing)?;
    let (ruleset, corpus) = of.ruleset.as_ref().zip(of.corpus.as_ref()).with_context(missing)?;
    let version = of.version.as_ref().with_context(missing)?.number;
    let digest = segment.manifest().context("the leader's answer is not valid")?;
    let key = store::keys::manifest(&digest);
    let object = stores.open(&of.storage_url)?.get(&key).await.context("failed to read which files a segment holds")?;
    let manifest = Manifest::decode(&digest, &object).with_context(|| format!("object {key} is not readable"))?;
    let last_error = Some(of.last_error.as_str()).filter(|error| !error.is_empty());
    for excepted in &of.files {
        let (FileOrdinal(file), reason) = excepted.try_into().context("the leader's answer is not valid")?;
        let entry = manifest.files.get(file as usize).with_context(|| format!("segment {key} has no file {file}"))?;
        let file = corpus::display_key(&entry.key);
        if out.is_json() {
            let (ruleset, corpus) = (&ruleset.name, &corpus.name);
            out.object(&ExceptedRow {
                ruleset,
                version,
                corpus,
                file: &file,
                reason,
                segment: segment.ordinal,
                last_error,
            })?;
        } else {
            let because = last_error
                .filter(|_| reason == Exception::Abandoned)
                .map_or(String::new(), |error| format!(": {error}"));
            out.line(format!("{reason:<10}  {}/{file}  ({} v{version}){because}", corpus.name, ruleset.name))?;
        }
    }
    Ok(of.files.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunt() -> v1::Hunt {
        let key = |name: &str| Some(v1::Key { tenant: "default".to_owned(), name: name.to_owned() });
        let version = v1::VersionRef { number: 2, digest: vec![0xab; 32] };
        v1::Hunt {
            ruleset: key("webshells"),
            corpus: key("programs"),
            version: Some(v1::RulesetVersion { version: Some(version), ..v1::RulesetVersion::default() }),
            state: v1::HuntState::CaughtUp.into(),
            stored_files: 12_345,
            stored_bytes: 1 << 30,
            outcomes: Some(v1::OutcomeCounts {
                matched: 23,
                clean: 12_300,
                too_large: 2,
                ..v1::OutcomeCounts::default()
            }),
            pending_files: 20,
            scanned_bytes: 1 << 30,
            findings: 24,
            started_at_ms: 1_795_355_063_000,
            caught_up_at_ms: Some(1_795_355_073_000),
            ..v1::Hunt::default()
        }
    }

    #[test]
    fn a_receipt_shows_its_sum() {
        let hunt = hunt();
        let receipt = Receipt::of(&hunt).unwrap();
        assert!(receipt.adds_up());
        let text = receipt.text();
        let expected = "\
  files          23 matched
         +   12,300 clean
         +        0 timed out
         +        0 crashed the scanner
         +        2 too large
         +        0 unreadable
         +        0 gone before the scan
         +        0 abandoned after failed attempts
         +       20 pending
           ────────
         =   12,345 stored; the sum adds up";
        assert!(text.ends_with(expected), "{text}");
        let times = "started 2026-11-22 13:44:23Z, last caught up 2026-11-22 13:44:33Z (10 s later)";
        assert!(text.contains(times), "{text}");
    }

    #[test]
    fn what_was_not_listed_stands_below_the_sum() {
        let mut hunt = hunt();
        hunt.skipped = Some(v1::Skipped { unreadable: 1, symlinks: 2, ..v1::Skipped::default() });
        hunt.listing_error = "the folder is gone".to_owned();
        let receipt = Receipt::of(&hunt).unwrap();
        let expected = "\
 stored; the sum adds up
  not listed: 1 folder or file unreadable, 2 symbolic links (dragnet corpus show programs)
  listing failed: the folder is gone";
        assert!(receipt.text().ends_with(expected), "{}", receipt.text());
        let object = serde_json::to_value(receipt).unwrap();
        assert_eq!((&object["not_listed"]["symlinks"], &object["not_listed"]["special"]), (&2.into(), &0.into()));
        assert_eq!(object["listing_error"], "the folder is gone");
    }

    #[test]
    fn a_sum_that_does_not_add_up_says_so_loudly() {
        let mut hunt = hunt();
        hunt.stored_files += 1;
        let receipt = Receipt::of(&hunt).unwrap();
        assert!(!receipt.adds_up());
        assert!(receipt.text().contains("DOES NOT ADD UP"));
    }

    #[test]
    fn the_object_for_programs_has_every_term_of_the_sum() {
        let hunt = hunt();
        let object = serde_json::to_value(Receipt::of(&hunt).unwrap()).unwrap();
        let terms = [
            "matched",
            "clean",
            "timed_out",
            "crashed",
            "too_large",
            "unreadable",
            "gone",
            "abandoned",
            "pending_files",
        ];
        let sum: u64 = terms.iter().map(|term| object[term].as_u64().unwrap()).sum();
        assert_eq!(object["stored_files"], sum);
        assert_eq!(object["digest"], "ab".repeat(32));
    }
}
