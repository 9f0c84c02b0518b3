//! What the demo brings along: example rules, samples, and files it writes itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// The folder `examples` of the source tree.
#[derive(Debug)]
pub(super) struct Examples {
    root: PathBuf,
}

/// The test file of the anti-malware industry, in two parts: whole, it would make scanners on the way
/// quarantine this program. Source: eicar.org, "Anti Malware Testfile".
const EICAR: [&str; 2] = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"];
pub(super) const EICAR_FILE: &str = "eicar.com";

impl Examples {
    /// The given folder, else `examples` here, else where an installation puts them: `../share/dragnet/examples` of this program.
    pub(super) fn find(given: Option<PathBuf>) -> Result<Self> {
        let candidates = match given {
            Some(given) => vec![given],
            None => [Some(PathBuf::from("examples")), installed()].into_iter().flatten().collect(),
        };
        let found = candidates.iter().find(|root| root.join("rules").is_dir());
        let Some(root) = found else {
            let looked: Vec<_> = candidates.iter().map(|root| root.join("rules").display().to_string()).collect();
            bail!("no example rules in {}; say where with --examples DIR", looked.join(" or "));
        };
        Ok(Self { root: fs::canonicalize(root).context("failed to reach the examples")? })
    }

    /// Rulesets, one per folder, by name.
    pub(super) fn rulesets(&self) -> Result<Vec<PathBuf>> {
        folders(&self.root.join("rules"))
    }

    /// Later versions of some of them.
    pub(super) fn next_versions(&self) -> Result<Vec<PathBuf>> {
        folders(&self.root.join("rules-next"))
    }

    /// Harmless files that look like what the rules hunt.
    pub(super) fn samples(&self) -> Result<Vec<PathBuf>> {
        let samples = entries(&self.root.join("samples"))?;
        Ok(samples.into_iter().filter(|path| path.is_file()).collect())
    }
}

fn installed() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.parent()?.join("share/dragnet/examples"))
}

fn folders(of: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(of)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn entries(of: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("failed to list {}", of.display());
    let entries: std::io::Result<Vec<_>> =
        fs::read_dir(of).with_context(failed)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut entries = entries.with_context(failed)?;
    entries.sort();
    Ok(entries)
}

/// Fills a folder with the samples and the EICAR file.
pub(super) fn fill(incoming: &Path, samples: &[PathBuf]) -> Result<()> {
    fs::create_dir_all(incoming).with_context(|| format!("failed to create {}", incoming.display()))?;
    for sample in samples {
        let name = sample.file_name().context("a sample has a name")?;
        fs::copy(sample, incoming.join(name)).with_context(|| format!("failed to copy {}", sample.display()))?;
    }
    let eicar = incoming.join(EICAR_FILE);
    fs::write(&eicar, EICAR.concat()).with_context(|| format!("failed to write {}", eicar.display()))
}

/// Drops new files, as if they had just arrived. Returns how many.
pub(super) fn drop_new(incoming: &Path, samples: &[PathBuf]) -> Result<u64> {
    let folder = incoming.join("later");
    fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let mut dropped = 0;
    for (number, sample) in samples.iter().cycle().take(20).enumerate() {
        let text = fs::read(sample).with_context(|| format!("failed to read {}", sample.display()))?;
        // Each in its own words: a hunt may not be tempted to think that it has seen them.
        let text = [text, format!("\n# arrived as number {number}\n").into_bytes()].concat();
        let to = folder.join(format!("arrived-{number:02}.txt"));
        fs::write(&to, text).with_context(|| format!("failed to write {}", to.display()))?;
        dropped += 1;
    }
    Ok(dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_file_is_the_one_everybody_knows() {
        let whole = EICAR.concat();
        assert_eq!(whole.len(), 68);
        assert!(EICAR.iter().all(|part| part.len() < 68), "never whole in this program");
    }

    #[test]
    fn examples_of_the_source_tree_are_found() {
        let source_tree = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../examples");
        let examples = Examples::find(Some(source_tree)).unwrap();
        assert!(!examples.rulesets().unwrap().is_empty());
        assert!(Examples::find(Some("/nowhere".into())).unwrap_err().to_string().contains("--examples"));
    }
}
