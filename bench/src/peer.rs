//! The peer: the `yara` command, told to do the same work with as many threads as we have scanners.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::measure::{Cpu, ended_children, timed};

/// Values for the variables that our engine sets for every file. The command takes one value for all files.
const EXTERNALS: [&str; 8] = [
    "filename=x",
    "filepath=x",
    "extension=.x",
    "file_size=0",
    "known_good=false",
    "package=x",
    "package_version=x",
    "prevalence=0",
];

/// Seconds for one file, as our worker's default.
const FILE_TIMEOUT_S: &str = "60";

/// Scans all files below each of `folders` once, one folder after the other: the command takes one.
pub(crate) fn scan(rules: &Path, folders: &[PathBuf], threads: usize) -> Result<(Duration, Cpu)> {
    let mut sum = (Duration::ZERO, Cpu::default());
    for folder in folders {
        let (time, cpu) = scan_folder(rules, folder, threads)?;
        sum = (sum.0 + time, sum.1 + cpu);
    }
    Ok(sum)
}

fn scan_folder(rules: &Path, folder: &Path, threads: usize) -> Result<(Duration, Cpu)> {
    let mut command = Command::new("yara");
    // -w no warnings, -N no symbolic links, as our listings: both sides read the same files.
    command.args(["-w", "-r", "-N", "-a", FILE_TIMEOUT_S, "-p"]).arg(threads.to_string());
    command.args(EXTERNALS.iter().flat_map(|value| ["-d", value]));
    command.args(namespaced(&rule_files(rules)?)).arg(folder);
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let before = ended_children()?;
    let (status, time) = timed(|| command.status().context("failed to run yara; `make setup` installs it"))?;
    // It complains of files that it cannot read, and exits with 0 all the same; another code means that no file was scanned.
    ensure!(status.success(), "yara ended with {status}");
    Ok((time, ended_children()? - before))
}

/// The rule files at `rules`, a file or a folder of them, in order.
pub(crate) fn rule_files(rules: &Path) -> Result<Vec<PathBuf>> {
    if rules.is_file() {
        return Ok(vec![rules.to_owned()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![rules.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))? {
            let path = entry.with_context(|| format!("failed to list {}", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yar" || extension == "yara") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// `NAMESPACE:FILE` for each file: two files may each have a rule of the same name.
fn namespaced(files: &[PathBuf]) -> Vec<String> {
    (0..).zip(files).map(|(number, file): (usize, _)| format!("n{number}:{}", file.display())).collect()
}
