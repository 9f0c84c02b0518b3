//! What is found after a search for literals is what a scan of every file finds.

use std::{collections::BTreeSet, fmt::Write as _, io::Write as _, path::Path};

use engine::{FileFacts, Hit, KindCompiled};
use rules::{ByKind, KindSources, Literals, Program, program, split};
use types::{FileKind, RulesetArtifact, RulesetSource};

use crate::{TIMEOUT, compiled_kinds, kind_hits, random::Random, source};

/// The same sources, to be scanned whatever a file holds.
fn without_literals(sources: &KindSources) -> KindSources {
    KindSources::new(ByKind::from_fn(|kind| (sources.get(kind).to_vec(), None)))
}

fn holds_one(literals: &Literals, bytes: &[u8]) -> bool {
    literals.iter().any(|literal| bytes.windows(literal.len()).any(|window| window == literal))
}

/// A program with its literals and without.
struct Pair {
    program: Program,
    with: KindCompiled,
    without: KindCompiled,
}

impl Pair {
    fn new(to: &RulesetArtifact, from: Option<&RulesetArtifact>) -> Self {
        let program = program(to, from);
        let without = compiled_kinds(&without_literals(&program.sources));
        Self { with: compiled_kinds(&program.sources), without, program }
    }

    fn literals(&self, bytes: &[u8]) -> Option<&Literals> {
        self.program.sources.literals(FileKind::of(bytes))
    }

    /// Asserts that both find the same that counts. Returns whether the file could be told apart, and how much was found.
    fn assert_same(&self, bytes: &[u8]) -> (bool, usize) {
        let facts = FileFacts::new(b"dir/sample.bin", bytes.len() as u64);
        // libyara gives up on some files: that is no answer to compare with.
        let Ok(mut expected) = self.without.scanner().unwrap().scan_mem(bytes, &facts, TIMEOUT) else {
            return (false, 0);
        };
        let mut found = kind_hits(&self.with, bytes);
        let counts = |hit: &Hit| self.program.owners.get(&hit.namespace, &hit.rule).is_some();
        expected.retain(counts);
        found.retain(counts);
        let told_apart = self.literals(bytes).is_some_and(|literals| !holds_one(literals, bytes));
        let shown = || format!("{:#?}\nin {:?}", self.program.sources, String::from_utf8_lossy(bytes));
        assert!(!told_apart || expected.is_empty(), "needs no literal: {expected:#?}\n{}", shown());
        assert_eq!(found, expected, "{}", shown());
        (told_apart, found.len())
    }
}

/// A pattern as written, and bytes it matches, in most cases.
struct Pattern {
    written: String,
    sample: Vec<u8>,
}

const PIECES: [&str; 12] =
    ["connect", "--1234", "a.b/c", "WinExec", "GET /", "AAAA", "x1", "0123456789", "q", "pass word", "_z_", "eval("];

fn text(random: &mut Random) -> Pattern {
    let mut bytes = Vec::new();
    let mut written = String::new();
    for _ in 0..=random.below(3) {
        match random.below(8) {
            0 => {
                let byte = u8::try_from(random.below(256)).unwrap();
                bytes.push(byte);
                write!(written, "\\x{byte:02x}").unwrap();
            }
            1 => {
                let (escape, byte) = [("\\t", b'\t'), ("\\n", b'\n'), ("\\\"", b'"'), ("\\\\", b'\\')][random.below(4)];
                bytes.push(byte);
                written.push_str(escape);
            }
            2 => {
                bytes.extend("é".as_bytes());
                written.push('é');
            }
            _ => {
                let piece = random.pick(&PIECES);
                bytes.extend(piece.as_bytes());
                written.push_str(piece);
            }
        }
    }
    let modifiers = random.pick(&[
        "",
        "",
        "ascii",
        "wide",
        "ascii wide",
        "nocase",
        "nocase wide",
        "nocase ascii wide",
        "fullword",
        "xor",
        "xor(1-9)",
        "base64",
        "private",
        "fullword wide nocase",
        "base64wide ascii",
    ]);
    Pattern { written: format!("\"{written}\" {modifiers}"), sample: spelled(random, modifiers, bytes) }
}

/// As the modifiers let it stand in a file, except after `xor` and `base64`.
fn spelled(random: &mut Random, modifiers: &str, mut bytes: Vec<u8>) -> Vec<u8> {
    if modifiers.contains("nocase") {
        for byte in &mut bytes {
            if random.below(2) == 0 {
                *byte ^= if byte.is_ascii_alphabetic() { 0x20 } else { 0 };
            }
        }
    }
    if modifiers.contains("xor") {
        let key = u8::try_from(random.below(10)).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= key);
    }
    if modifiers.contains("wide") && (!modifiers.contains("ascii") || random.below(2) == 0) {
        bytes = bytes.into_iter().flat_map(|byte| [byte, 0]).collect();
    }
    bytes
}

fn hex(random: &mut Random) -> Pattern {
    let mut written = "{ ".to_owned();
    let mut sample = Vec::new();
    for step in 0..3 + random.below(10) {
        let byte = PIECES[random.below(4)].as_bytes()[random.below(5)];
        match random.below(9) {
            0 if step > 0 => written.push_str("?? "),
            1 => write!(written, "{:X}? ", byte >> 4).unwrap(),
            2 => write!(written, "~{:02X} ", byte ^ 1).unwrap(),
            3 => write!(written, "( {byte:02X} | 00 01 /* | */ ) ").unwrap(),
            4 => write!(written, "( 02 03 04 | {byte:02x} ) ").unwrap(),
            5 if step > 0 => {
                write!(written, "[0-2] {byte:02X} ").unwrap();
                sample.extend(std::iter::repeat_n(b'-', random.below(3)));
            }
            _ => write!(written, "{byte:02X}{}", random.pick(&[" ", ""])).unwrap(),
        }
        sample.push(byte);
    }
    written.push_str(" 41 }");
    sample.push(b'A');
    Pattern { written, sample }
}

fn regex(random: &mut Random) -> Pattern {
    let (body, sample) = sequence(random, 0);
    let flags = random.pick(&["", "", "i", "s", "is"]);
    let modifiers = random.pick(&["", "", "wide", "ascii wide", "nocase", "fullword", "nocase wide"]);
    let effective = format!("{modifiers} {}", if flags.contains('i') { "nocase" } else { "" });
    Pattern { written: format!("/{body}/{flags} {modifiers}"), sample: spelled(random, &effective, sample) }
}

fn sequence(random: &mut Random, depth: usize) -> (String, Vec<u8>) {
    let (mut written, mut sample) = (String::new(), Vec::new());
    for _ in 0..1 + random.below(4) {
        let (atom, once): (String, Vec<u8>) = match random.below(if depth > 2 { 8 } else { 11 }) {
            0 => ("[0-9a-f]".to_owned(), b"7".to_vec()),
            1 => ("[^\\]x-]".to_owned(), b"m".to_vec()),
            2 => (".".to_owned(), b"!".to_vec()),
            3 => ("\\x41".to_owned(), b"A".to_vec()),
            4 => ("\\.".to_owned(), b".".to_vec()),
            5..8 => {
                let piece: String = random.pick(&PIECES).chars().filter(char::is_ascii_alphanumeric).collect();
                (piece.clone(), piece.into_bytes())
            }
            _ => {
                let (one, sample_of_one) = sequence(random, depth + 1);
                match random.below(3) {
                    0 => (format!("({one})"), sample_of_one),
                    way => {
                        let (other, sample_of_other) = sequence(random, depth + 1);
                        (format!("({one}|{other})"), if way == 1 { sample_of_one } else { sample_of_other })
                    }
                }
            }
        };
        // A quantifier takes the last byte of a piece alone.
        let last: Vec<u8> =
            if atom.starts_with(['(', '[', '.', '\\']) { once.clone() } else { once[once.len() - 1..].to_vec() };
        let (quantifier, more, without) = match random.below(12) {
            0 => ("*", random.below(2), true),
            1 => ("+", random.below(2), false),
            2 => ("?", 0, random.below(2) == 0),
            3 => ("{1,3}", random.below(2), false),
            4 => ("{2}", 1, false),
            5 => ("{,2}", 0, random.below(2) == 0),
            6 => ("+?", 0, false),
            7 => ("{0,1}", 0, true),
            _ => ("", 0, false),
        };
        write!(written, "{atom}{quantifier}").unwrap();
        sample.extend(&once);
        if without && more == 0 {
            sample.truncate(sample.len() - last.len());
        }
        for _ in 0..more {
            sample.extend(&last);
        }
    }
    (written, sample)
}

fn condition(random: &mut Random, patterns: usize, earlier: usize, depth: usize) -> String {
    if depth < 3 && random.below(2) == 0 {
        let (one, other) =
            (condition(random, patterns, earlier, depth + 1), condition(random, patterns, earlier, depth + 1));
        return match random.below(8) {
            0..3 => format!("({one} and {other})"),
            3..5 => format!("({one} or {other})"),
            5 => format!("{one} and {other}"),
            6 => format!("not ({one}) or {other}"),
            _ => format!("({one}) and not {other}"),
        };
    }
    let p = random.below(patterns);
    let number = random.below(4);
    let quantifier = random.pick(&["any", "all", "none", "1", "2", "0", "50%", "3", "1%"]);
    let set = match random.below(5) {
        0 => "($_0, $_0)".to_owned(),
        1 => format!("($_{p})"),
        2 => format!("($_0, $_{p})"),
        3 => "($_*)".to_owned(),
        _ => "them".to_owned(),
    };
    let body =
        random.pick(&["$", "# > 0", "$ at 0", "@ < 30", "filesize > 3", "not $", "# > 1 or $ in (0..9)", "! > 2"]);
    match random.below(26) {
        0 => format!("$_{p} at {}", random.below(3)),
        1 => format!("$_{p} in (0..{})", random.below(40)),
        2 => format!("#_{p} > {number}"),
        3 => format!("#_{p} >= {number}"),
        4 => format!("#_{p} == {number}"),
        5 => format!("#_{p} != {number}"),
        6 => format!("#_{p} in (0..{}) > {number}", random.below(60)),
        7 => format!("@_{p} < {}", random.below(60)),
        8 => format!("@_{p}[{}] + !_{p} > 2", 1 + number),
        9 => format!("{quantifier} of {set}"),
        10 => format!("{quantifier} of {set}"),
        11 => format!("any of {set} in (0..{})", random.below(40)),
        12 => format!("{} of {set} at 0", random.pick(&["any", "all", "1"])),
        13 | 14 if !quantifier.contains('%') => format!("for {quantifier} of {set} : ( {body} )"),
        15 => format!("for {} i in (0..3) : ( $_{p} at i )", random.pick(&["any", "all", "none", "2"])),
        16 => format!("filesize > {}", random.below(60)),
        17 => format!("defined @_{p}"),
        18 => format!("not $_{p}"),
        19 if earlier > 0 => format!("r{}", random.below(earlier)),
        20 if earlier > 0 => format!("{} of (r*)", random.pick(&["any", "all", "none", "2"])),
        21 => format!("uint16(0) != 0x5a4d and $_{p}"),
        22 => format!("#_{p} < {number}"),
        23 => format!("for any i in (1..#_{p}) : ( @_{p}[i] > {number} )"),
        _ => format!("$_{p}"),
    }
}

/// A source of rules, and bytes that their patterns match.
fn rules_of(random: &mut Random) -> (String, Vec<Vec<u8>>) {
    let mut written = String::new();
    let mut samples = Vec::new();
    for rule in 0..1 + random.below(4) {
        let modifier = ["", "", "", "", "private ", "global "][random.below(6)];
        write!(written, "{modifier}rule r{rule} {{ strings:").unwrap();
        let patterns = 1 + random.below(4);
        for pattern in 0..patterns {
            let Pattern { written: pattern_text, sample } = match random.below(4) {
                0 | 1 => text(random),
                2 => hex(random),
                _ => regex(random),
            };
            write!(written, "\n  $_{pattern} = {pattern_text}").unwrap();
            samples.push(sample);
        }
        let condition = condition(random, patterns, rule, 0);
        writeln!(written, "\n  condition: {condition} }}").unwrap();
    }
    (written, samples)
}

/// Some of the samples, whole, cut or damaged, with something between them.
fn file(random: &mut Random, samples: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(6) {
        let sample = &samples[random.below(samples.len())];
        match random.below(8) {
            0 => bytes.extend(&sample[random.below(sample.len().max(1)).min(sample.len())..]),
            1 if !sample.is_empty() => {
                let at = bytes.len() + random.below(sample.len());
                bytes.extend(sample);
                bytes[at] ^= 0x20;
            }
            2 => bytes.extend(sample.to_ascii_uppercase()),
            _ => bytes.extend(sample),
        }
        bytes.extend(random.pick(&["", " ", "\0", "\n", "abc", "\0\0\0"]).as_bytes());
    }
    bytes
}

#[test]
fn random_rules_find_the_same_in_files_made_of_their_patterns() {
    let (mut programs, mut with_literals, mut files, mut told_apart, mut found) = (0, 0, 0, 0, 0);
    for seed in 0..seeds() {
        let mut random = Random(seed);
        let (written, samples) = rules_of(&mut random);
        let sources = vec![source("n", &written)];
        // A rule whose base64 is too short and the like: what does not compile proves nothing.
        if engine::compile(&[engine::Part { name: "", sources: &sources }]).is_err() {
            continue;
        }
        let pair = Pair::new(&split(sources), None);
        programs += 1;
        with_literals += usize::from(pair.literals(b"").is_some());
        for _ in 0..24 {
            let (apart, hits) = pair.assert_same(&file(&mut random, &samples));
            files += 1;
            told_apart += usize::from(apart);
            found += hits;
        }
    }
    let counted = format!(
        "{programs} programs, {with_literals} with literals, {files} files, {told_apart} told apart, {found} hits"
    );
    println!("{counted}");
    let enough = with_literals * 6 > programs && told_apart * 20 > files && found * 8 > files;
    assert!(enough && programs as u64 * 2 > seeds(), "the generator makes what is worth a test: {counted}");
}

/// 30,000 were run when this was written.
fn seeds() -> u64 {
    std::env::var("DRAGNET_LITERAL_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(600)
}

fn examples() -> Vec<RulesetSource> {
    let folder = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../examples/rules");
    rules::load(&folder).unwrap().into_iter().map(rules::LoadedSource::into_source).collect()
}

/// Samples of the examples, their own sources, which are full of what they look for, and files of this machine.
fn real_files() -> Vec<Vec<u8>> {
    let samples = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../examples/samples");
    let mut files: Vec<_> = examples().into_iter().map(|source| source.text.into_bytes()).collect();
    for begin in [&b"\x7fELF\x02\x01\x01"[..], b"MZ", b"#!/bin/sh\n", b"<?php\n"] {
        let texts = examples().into_iter().map(|source| source.text.into_bytes());
        files.extend(texts.map(|text| [begin, &text].concat()));
    }
    for (folder, most) in [(samples.as_path(), 100), (Path::new("/usr/bin"), 60), (Path::new("/etc"), 40)] {
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let fits = |path: &&std::path::PathBuf| {
            std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() < 100_000)
        };
        files.extend(paths.iter().filter(fits).take(most).filter_map(|path| std::fs::read(path).ok()));
    }
    files
}

#[test]
fn each_of_the_examples_alone_finds_the_same_in_real_files() {
    let files = real_files();
    let (mut units, mut with_literals, mut told_apart, mut found) = (0, 0, 0, 0);
    let all = split(examples());
    let nothing = split(vec![source("nothing", "rule nothing { condition: false }")]);
    for unit in &all.units {
        let mut from = all.clone();
        from.units.retain(|other| other.digest != unit.digest);
        from.units.extend(nothing.units.iter().cloned());
        let pair = Pair::new(&all, Some(&from));
        units += 1;
        if FileKind::ALL.into_iter().all(|kind| pair.program.sources.literals(kind).is_none()) {
            continue;
        }
        with_literals += 1;
        for bytes in &files {
            let (apart, hits) = pair.assert_same(bytes);
            told_apart += usize::from(apart);
            found += hits;
        }
    }
    println!(
        "{units} units, {with_literals} with literals, {told_apart} of {} told apart, {found} hits",
        units * files.len()
    );
    assert!(found > 20 && with_literals * 2 > units, "{found} hits, {with_literals} of {units}");
}

#[test]
fn a_literal_is_found_wherever_it_stands_in_a_large_file() {
    let pair =
        Pair::new(&split(vec![source("n", "rule r { strings: $a = \"needle-in-a-stack\" condition: $a }")]), None);
    let literal = pair.literals(b"").unwrap().iter().next().unwrap().to_vec();
    let facts = FileFacts::new(b"dir/sample.bin", 0);
    // Around the ends of pieces, of which the file has three.
    let piece = 256 << 10;
    let places = [0, 1, piece - 17, piece - 9, piece - 1, piece, 2 * piece - 8, 2 * piece, 3 * piece - 17];
    for place in places.into_iter().chain([2 * piece - 1 - literal.len(), piece - literal.len()]) {
        let mut bytes = vec![b'.'; 3 * piece];
        bytes[place..place + 17].copy_from_slice(b"needle-in-a-stack");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let hits = pair.with.scanner().unwrap().scan_fd(&file, &facts, TIMEOUT).unwrap();
        let offsets: BTreeSet<_> = hits.iter().flat_map(|hit| &hit.matches).map(|found| found.offset).collect();
        assert_eq!(offsets, BTreeSet::from([place as u64]));
    }
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![b'.'; 3 * piece]).unwrap();
    assert_eq!(pair.with.scanner().unwrap().scan_fd(&file, &facts, TIMEOUT).unwrap(), []);
}

#[test]
fn a_file_that_cannot_be_read_is_not_clean() {
    let pair = Pair::new(&split(vec![source("n", "rule r { strings: $a = \"needle\" condition: $a }")]), None);
    let folder = tempfile::tempdir().unwrap();
    let opened_for_writing = std::fs::File::create(folder.path().join("file")).unwrap();
    let facts = FileFacts::new(b"file", 0);
    let scanned = pair.with.scanner().unwrap().scan_fd(&opened_for_writing, &facts, TIMEOUT);
    assert_eq!(scanned, Err(engine::ScanError::Unreadable));
}

#[test]
fn a_search_that_takes_too_long_is_no_answer() {
    let pair = Pair::new(&split(vec![source("n", "rule r { strings: $a = \"needle\" condition: $a }")]), None);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[b'.'; 1000]).unwrap();
    let scanned = pair.with.scanner().unwrap().scan_fd(&file, &FileFacts::new(b"file", 0), std::time::Duration::ZERO);
    assert_eq!(scanned, Err(engine::ScanError::TimedOut));
}
