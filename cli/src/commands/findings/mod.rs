//! `dragnet findings`: what was found, where, and which bytes.

mod glob;
mod read;
mod show;

use std::{num::NonZeroU64, ops::ControlFlow};

use anyhow::Result;
use types::Name;

use super::Context;
use crate::render::{count, plural};

pub use glob::Glob;
pub use read::{Selection, read};
pub use show::{ByRule, block};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Findings are those of current rulesets, and of files that were there when they were scanned. With --json each line is a \
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
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroU64>,
    /// Show every match of a finding
    #[arg(long)]
    matches: bool,
}

pub async fn run(args: Args, ctx: &mut Context) -> Result<()> {
    let Args { ruleset, rule, corpus, limit, matches } = args;
    let selection = Selection { ruleset, corpus, rule };
    let mut left = limit.map_or(u64::MAX, NonZeroU64::get);
    let mut by_rule = ByRule::default();
    let json = ctx.out.is_json();
    let out = &mut ctx.out;
    let cut = read(&ctx.cluster, &selection, |rows| {
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
    if json {
        return Ok(());
    }
    if by_rule.is_empty() && !cut {
        return out.line("nothing was found; `dragnet receipt` says what was scanned");
    }
    let note = match limit.filter(|_| cut) {
        Some(limit) => format!(", stopped at --limit {}", count(limit.get())),
        None => String::new(),
    };
    out.line(by_rule.table())?;
    out.line(format!("\n{} by {}{note}", plural(by_rule.findings(), "finding"), plural(by_rule.rules(), "rule")))
}
