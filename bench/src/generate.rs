//! Files and rules from a seed: the same on every machine, and in every run.

use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};

/// SplitMix64. Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// `count` files of `size` bytes below `folder`, at most 1,000 in one folder. Their bytes are half text and half noise, as in
/// the files people keep, and no two are equal.
pub(crate) fn files(folder: &Path, count: usize, size: usize, seed: u64) -> Result<()> {
    let mut random = Random::from_seed(seed);
    for number in 0..count {
        let subfolder = folder.join(format!("{:03}", number / 1000));
        if number % 1000 == 0 {
            fs::create_dir_all(&subfolder).with_context(|| format!("failed to create {}", subfolder.display()))?;
        }
        let file = subfolder.join(format!("{number:06}.dat"));
        fs::write(&file, contents(size, &mut random)).with_context(|| format!("failed to write {}", file.display()))?;
    }
    Ok(())
}

fn contents(size: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size / 2 {
        bytes.extend(format!("{:x} ", random.next()).bytes());
    }
    while bytes.len() < size {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Words as detection rules are full of: calls, commands and places that real programs name too.
const WORDS: [&str; 32] = [
    "connect", "socket", "system", "execve", "getenv", "passwd", "shadow", "crontab", "wget", "curl", "chmod",
    "base64", "eval", "python", "perl", "bash", "ptrace", "memfd", "mprotect", "dlopen", "preload", "proxy", "tunnel",
    "inject", "keylog", "encrypt", "decrypt", "miner", "stratum", "wallet", "payload", "reverse",
];

/// Sources of the numbered rules, each as an analyst writes them: some names with and without case, wide and whole,
/// a piece of code with wildcards and a gap, a regular expression, and a condition over counts and size. They almost
/// never fire.
///
/// `changed` names a rule that gets another piece of code, as in its next version.
pub(crate) fn rules(numbers: Range<u32>, changed: Option<u32>) -> String {
    let mut source = String::new();
    for number in numbers {
        let mut random = Random::from_seed(u64::from(number));
        let mut word = || WORDS[usize::try_from(random.next() % WORDS.len() as u64).expect("below 32")];
        let (call, command, place, verb, noun) = (word(), word(), word(), word(), word());
        let tag = random.next() % 10_000;
        let code = random.next();
        let code = if changed == Some(number) { !code } else { code };
        let hex = |value: u64| value.to_be_bytes().map(|byte| format!("{byte:02X}")).join(" ");
        let (before, after) = (hex(code), hex(random.next()));
        writeln!(
            source,
            r#"rule generated_{number:04} {{
  meta:
    description = "rule {number}, made from its number"
  strings:
    $call = "{call}_{tag}" ascii wide
    $command = "{command} --{tag}" nocase
    $place = "/{place}/{verb}{tag}" fullword
    $code = {{ {before} ?? ?? [2-6] {after} }}
    $line = /{verb}[_-]{noun}[0-9]{{2,6}}={tag}/
  condition:
    filesize < 200MB and ($code or 2 of ($call, $command, $place, $line))
}}
"#
        )
        .expect("writing to a string cannot fail");
    }
    source
}

/// Copies a rule file, or all below a folder, so that each is a source of its own, and counts their rules.
pub(crate) fn copy_rules(from: &Path, to: &Path) -> Result<u32> {
    if from.is_dir() {
        fs::create_dir_all(to).with_context(|| format!("failed to create {}", to.display()))?;
        let entries = fs::read_dir(from).with_context(|| format!("failed to read {}", from.display()))?;
        let copied = entries.map(|entry| {
            let entry = entry.with_context(|| format!("failed to read {}", from.display()))?;
            copy_rules(&entry.path(), &to.join(entry.file_name()))
        });
        return copied.sum();
    }
    if !from.extension().is_some_and(|extension| extension == "yar" || extension == "yara") {
        return Ok(0);
    }
    let text = fs::read_to_string(from).with_context(|| format!("failed to read {}", from.display()))?;
    fs::write(to, &text).with_context(|| format!("failed to write {}", to.display()))?;
    Ok(u32::try_from(text.lines().filter(|line| begins_rule(line)).count())?)
}

fn begins_rule(line: &str) -> bool {
    let words = line.split_whitespace().skip_while(|word| ["private", "global"].contains(word));
    line.starts_with(|letter: char| letter.is_ascii_lowercase()) && words.take(1).eq(["rule"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_files() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&one, &other] {
            files(folder.path(), 3, 100, 7).unwrap();
        }
        let read = |folder: &tempfile::TempDir, name| fs::read(folder.path().join("000").join(name)).unwrap();
        assert_eq!(read(&one, "000002.dat"), read(&other, "000002.dat"));
        assert_ne!(read(&one, "000001.dat"), read(&one, "000002.dat"));
        assert_eq!(read(&one, "000000.dat").len(), 100);
    }

    #[test]
    fn the_examples_are_copied_and_their_rules_counted() {
        let examples = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../examples/rules/miners");
        let copy = tempfile::tempdir().unwrap();
        let rules = copy_rules(&examples, copy.path()).unwrap();
        let text = fs::read_to_string(copy.path().join("programs.yar")).unwrap()
            + &fs::read_to_string(copy.path().join("configurations.yar")).unwrap();
        assert_eq!(usize::try_from(rules).unwrap(), text.matches("condition:").count());
        assert!(!begins_rule("    rule of thumb") && begins_rule("private rule x {") && !begins_rule("// rule"));
    }

    #[test]
    fn exactly_one_rule_changes() {
        let (before, after) = (rules(0..10, None), rules(0..10, Some(4)));
        let different: Vec<_> = before
            .split("rule generated_")
            .zip(after.split("rule generated_"))
            .filter(|(old, new)| old != new)
            .collect();
        assert_eq!(different.len(), 1);
        assert!(different[0].0.starts_with("0004 "), "{}", different[0].0);
    }
}
