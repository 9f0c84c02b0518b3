//! `cargo xtask fix`: the one command here that writes.

use anyhow::Result;

use crate::fuzz;
use crate::process::cargo;

pub(crate) fn run() -> Result<()> {
    // Clippy first: what it writes may need formatting. Uncommitted work is what one fixes, so it must not refuse it.
    let clippy = ["clippy", "--fix", "--allow-dirty", "--allow-staged", "--release", "--workspace", "--all-targets"];
    cargo(&clippy).run()?;
    cargo(&["fmt", "--all"]).run()?;
    cargo(&["fmt", "--manifest-path", fuzz::MANIFEST]).run()
}
