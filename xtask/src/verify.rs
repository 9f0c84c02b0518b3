//! `cargo xtask verify`: every step in order, each one to its end, then a summary of all.
//!
//! A failed step does not stop the others: whoever broke the format and a test wants to hear of both at once.

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::steps::Step;

pub(crate) fn run(chosen: &[Step]) -> Result<()> {
    let steps: Vec<Step> =
        Step::value_variants().iter().copied().filter(|step| chosen.is_empty() || chosen.contains(step)).collect();
    let mut failures = Vec::new();
    for (number, step) in (1..).zip(&steps) {
        eprintln!("\n== {number}/{} {step}", steps.len());
        if let Err(error) = step.run() {
            eprintln!("== {step} FAILED: {error:#}");
            failures.push(step.to_string());
        }
    }
    if !failures.is_empty() {
        bail!("verify failed in: {}", failures.join(", "));
    }
    eprintln!("\n== verify: all good");
    Ok(())
}
