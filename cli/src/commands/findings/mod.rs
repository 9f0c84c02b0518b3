//! `dragnet findings`: what was found, where, and which bytes.

mod glob;
mod read;
mod show;
mod unfinished;

use std::{num::NonZeroU64, ops::ControlFlow};

use anyhow::Result;
use types::Name;

use super::{Context, known};
use crate::{
    parse,
    render::{count, plural},
};

pub use glob::Glob;
pub use read::{Ended, Selection, read};
pub use show::{ByRule, block};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Findings are those of current rulesets in files that are still there; --gone adds those in files that vanished or \
changed after they were scanned. With --json each line is a \
file with its rules, in the shape that `yr scan --output-format ndjson` prints.

Examples:
  dragnet findings
  dragnet findings --ruleset webshells --corpus incoming
  dragnet findings --rule 'php_*' --matches            every match, not the first one only
  dragnet findings --json | jq -r 'select(.rules[].identifier == \"eicar\") | .path'
  dragnet findings | head")]
pub struct Args {
    /// Of one ruleset only
    #[arg(long, value_name = "NAME")]
    ruleset: Option<Name>,
    /// Of rules with such a name only; * stands for any characters, ? for one
    #[arg(long, value_name = "GLOB")]
    rule: Option<Glob>,
    /// In one corpus only
    #[arg(long, value_name = "NAME")]
    corpus: Option<Name>,
    /// Stop after so many findings
    #[arg(long, value_name = "N", value_parser = parse::at_least_one)]
    limit: Option<NonZeroU64>,
    /// Show every match of a finding
    #[arg(long)]
    matches: bool,
    /// Also findings in files that are gone or changed since
    #[arg(long)]
    gone: bool,
}

pub async fn run(args: Args, ctx: &mut Context) -> Result<()> {
    let Args { ruleset, rule, corpus, limit, matches, gone } = args;
    known::check(&ctx.cluster, ruleset.as_ref(), corpus.as_ref()).await?;
    // Asked before the findings: what ends in between is then among them, and still called pending.
    let hunts = unfinished::concerned(ctx.cluster.hunts(false).await?, ruleset.as_ref(), corpus.as_ref());
    let unfinished = unfinished::reasons(&hunts).join("; ");
    let selection = Selection { ruleset, corpus, rule, gone };
    let mut left = limit.map_or(u64::MAX, NonZeroU64::get);
    let mut by_rule = ByRule::default();
    let json = ctx.out.is_json();
    let out = &mut ctx.out;
    let Ended { cut, gone } = read(&ctx.cluster, &selection, |rows| {
        let shown = usize::try_from(left).unwrap_or(usize::MAX).min(rows.len());
        let rows = &rows[..shown];
        left -= shown as u64;
        if json {
            show::files(rows, out)?;
        } else {
            for row in rows {
                out.line(block(row, matches))?;
                by_rule.add(row);
            }
        }
        Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
    .await?;
    let past = match gone {
        0 => String::new(),
        gone => format!("{} in files that are gone or changed since; --gone shows them", plural(gone, "finding")),
    };
    if json {
        if !past.is_empty() {
            eprintln!("note: left out {past}");
        }
        if !unfinished.is_empty() {
            eprintln!("note: these may not be all findings yet: {unfinished}");
        }
        return Ok(());
    }
    if by_rule.is_empty() && !cut {
        if !past.is_empty() {
            out.line(format!("left out: {past}"))?;
        }
        return match (hunts.is_empty(), unfinished.is_empty()) {
            (true, _) => out.line("nothing was found, as no hunt asks; `dragnet hunt list` shows all hunts"),
            (false, true) => out.line("nothing was found; `dragnet receipt` says what was scanned"),
            (false, false) => out.line(format!("nothing was found so far; {unfinished}")),
        };
    }
    let note = match limit.filter(|_| cut) {
        Some(limit) => format!(", stopped at --limit {}", count(limit.get())),
        None => String::new(),
    };
    out.line(by_rule.table())?;
    out.line(format!("\n{} by {}{note}", plural(by_rule.findings(), "finding"), plural(by_rule.rules(), "rule")))?;
    if !past.is_empty() {
        out.line(format!("left out: {past}"))?;
    }
    by_rule.without().try_for_each(|note| out.line(note))?;
    if unfinished.is_empty() { Ok(()) } else { out.line(format!("so far; {unfinished}")) }
}
