//! Rules about this repository that no compiler knows. Each check returns the sentences to print, none when all is well.

mod code;
mod crate_table;
mod lints;
mod machine_words;
mod map;
mod orphans;
mod scripts;

use anyhow::{Result, ensure};

use crate::charts;
use crate::workspace::Workspace;

type Check = fn(&Workspace) -> Result<Vec<String>>;

const CHECKS: &[(&str, Check)] = &[
    ("every .rs file is part of a build", orphans::check),
    ("crates depend only on what their place allows", crate_table::check),
    ("every crate takes the workspace's lints", lints::check),
    ("ARCHITECTURE.md shows every crate", map::check),
    ("no file names one particular machine", machine_words::check),
    ("charts and their documentation are current", charts::check),
    ("shell scripts can be read by their shell", scripts::check),
];

pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut problems = 0;
    for (promise, check) in CHECKS {
        let found = check(workspace)?;
        eprintln!("{} {promise}", if found.is_empty() { "ok    " } else { "BROKEN" });
        for problem in &found {
            eprintln!("       {problem}");
        }
        problems += found.len();
    }
    ensure!(problems == 0, "{problems} things to tidy up");
    Ok(())
}
