//! A ruleset that no file has seen, so that every file is scanned again.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

/// Enough rules to take a while, few enough to stay readable.
const RULES: usize = 48;

/// Names that programs call by; each rule looks for two of them in one file.
const WORDS: [&str; 12] = [
    "ptrace",
    "memfd_create",
    "setns",
    "unshare",
    "pivot_root",
    "init_module",
    "finit_module",
    "kexec_load",
    "process_vm_writev",
    "userfaultfd",
    "keyctl",
    "perf_event_open",
];

/// Asks the dataset of packages about every file, and libyara about the first four bytes alone.
const UNKNOWN: &str = "
rule program_of_no_package
{
    meta:
        severity = \"low\"
        description = \"a program that no package brought as it is\"
    condition:
        uint32be(0) == 0x7f454c46 and not known_good
}
";

/// Writes the rules into a file of the folder, and returns the folder.
pub(super) fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let path = folder.join("sweep.yar");
    fs::write(&path, text()).with_context(|| format!("failed to write {}", path.display()))
}

fn text() -> String {
    let pairs = (0..WORDS.len()).flat_map(|a| (a + 1..WORDS.len()).map(move |b| (WORDS[a], WORDS[b])));
    let mut text = String::from("// Written by `dragnet up --demo`: pairs of system calls named in one program.\n");
    for (number, (first, second)) in pairs.take(RULES).enumerate() {
        let _ = write!(
            text,
            "\nrule calls_{number:02}_{first}_and_{second}\n{{\n    meta:\n        severity = \"info\"\n    strings:\n        \
             $first = \"{first}\" fullword\n        $second = \"{second}\" fullword\n        $near = \
             /{first}[a-z0-9_ \\x00]{{1,40}}{second}/\n    condition:\n        uint32be(0) == 0x7f454c46 and ($near or \
             ($first and $second))\n}}\n"
        );
    }
    text.push_str(UNKNOWN);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_rules_compile() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let sources = rules::load(dir.path()).unwrap();
        let problems = engine::check(&sources).unwrap_or_else(|problems| panic!("{}", rules::render(&problems, false)));
        assert!(problems.is_empty(), "{}", rules::render(&problems, false));
        let artifact = rules::split(sources.into_iter().map(rules::LoadedSource::into_source).collect());
        assert_eq!(artifact.units.len(), RULES + 1);
    }
}
