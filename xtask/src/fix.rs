//! `cargo xtask fix`: the one command here that writes.

use std::env;

use anyhow::{Context, Result};

use crate::process::{cargo, program};
use crate::workspace::Workspace;
use crate::{charts, fuzz};

/// With `only_made`, leaves code alone.
pub(crate) fn run(only_made: bool) -> Result<()> {
    if !only_made {
        code()?;
    }
    made()
}

fn code() -> Result<()> {
    // Clippy first: what it writes may need formatting. Uncommitted work is what one fixes, so it must not refuse it.
    let clippy = ["clippy", "--fix", "--allow-dirty", "--allow-staged", "--release", "--workspace", "--all-targets"];
    cargo(&clippy).run()?;
    cargo(&["fmt", "--all"]).run()?;
    cargo(&["fmt", "--manifest-path", fuzz::MANIFEST]).run()
}

/// What is made of other files: definitions of custom resources first, since charts are made of those.
fn made() -> Result<()> {
    let root = Workspace::load()?.workspace_root;
    // The whole workspace's features, as everywhere: then nothing is compiled twice.
    cargo(&["build", "--release", "--workspace", "--bin", "crds"]).run()?;
    let crds = env::current_exe().context("failed to find our own program")?.with_file_name("crds");
    program(&crds.to_string_lossy(), &[&root.join("crds").to_string_lossy()]).run()?;
    charts::write(&root)
}
