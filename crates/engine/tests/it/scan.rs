use std::{collections::BTreeSet, io::Write as _, time::Duration};

use engine::{
    FileFacts, Hit, MAX_MATCH_DATA, MAX_MATCHES_PER_RULE, MetadataValue, Part, ScanError, compile, engine_version,
};

use crate::{TIMEOUT, compiled, fired, hits, source};

#[test]
fn a_hit_says_all_about_its_rule_and_matches() {
    let text = r#"rule r : t1 t2 { meta: a = "x" b = -3 c = true a = "é"
        strings: $a = "ab" $p = "cd" private $b = /c.*/ condition: any of them }"#;
    let found = hits(&compiled(&[source("dir/n", text)]), b"ab cde ab");
    let [Hit { part, namespace, rule, tags, metadata, matches, truncated }] = &found[..] else {
        panic!("one hit, not {found:?}")
    };
    assert_eq!((*part, &namespace[..], &rule[..], *truncated), (0, "dir/n", "r", false));
    assert_eq!(tags, &["t1", "t2"]);
    let text_value = |text: &str| MetadataValue::Text(text.to_owned());
    let entries = [
        ("a", text_value("x")),
        ("b", MetadataValue::Integer(-3)),
        ("c", MetadataValue::Boolean(true)),
        ("a", text_value("é")),
    ];
    assert_eq!(metadata, &entries.map(|(name, value)| (name.to_owned(), value)));
    let shown: Vec<_> =
        matches.iter().map(|found| (&found.pattern[..], found.offset, found.length, &found.data[..])).collect();
    assert_eq!(shown, [("$a", 0, 2, &b"ab"[..]), ("$a", 7, 2, b"ab"), ("$b", 3, 6, b"cde ab")]);
}

#[test]
fn external_variables_tell_about_the_file() {
    let text = r#"rule r { condition: filename == "A.tar.GZ" and filepath == "x/y/A.tar.GZ" and extension == ".gz" and file_size == 7 }"#;
    let compiled = compiled(&[source("n", text)]);
    let mut scanner = compiled.scanner().unwrap();
    let mut count = |path: &[u8], size| scanner.scan_mem(b"", &FileFacts::new(path, size), TIMEOUT).unwrap().len();
    assert_eq!(count(b"x/y/A.tar.GZ", 7), 1);
    assert_eq!(count(b"x/y/A.tar.GZ", 8), 0, "one scanner serves all files, with each file's own facts");
    assert_eq!(count(b"A.tar.GZ", 7), 0);
    assert_eq!(fired("rule r { condition: filename == \"sample.bin\" }", b"").len(), 1);
    let raw = "rule r { condition: filename == \"\\xff\" and extension == \"\" }";
    let compiled = crate::compiled(&[source("n", raw)]);
    let facts = FileFacts::new(b"d.d/\xff", 0);
    assert_eq!(compiled.scanner().unwrap().scan_mem(b"", &facts, TIMEOUT).unwrap().len(), 1, "raw bytes");
    let hidden = crate::compiled(&[source("n", "rule r { condition: extension == \"\" }")]);
    assert_eq!(hidden.scanner().unwrap().scan_mem(b"", &FileFacts::new(b".bashrc", 0), TIMEOUT).unwrap().len(), 1);
}

#[test]
fn an_open_file_is_scanned_like_memory_and_an_empty_one_too() {
    let compiled =
        compiled(&[source("n", "rule e { condition: filesize == 0 } rule x { strings: $x = \"xyz\" condition: $x }")]);
    let mut scanner = compiled.scanner().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let facts = FileFacts::new(b"f", 0);
    let on_disk = scanner.scan_fd(&file, &facts, TIMEOUT).unwrap();
    assert_eq!(on_disk.len(), 1);
    assert_eq!(on_disk, scanner.scan_mem(b"", &facts, TIMEOUT).unwrap());
    file.write_all(b"--xyz").unwrap();
    let on_disk = scanner.scan_fd(&file, &facts, TIMEOUT).unwrap();
    assert_eq!(on_disk[0].matches[0].offset, 2);
    assert_eq!(on_disk, scanner.scan_mem(b"--xyz", &facts, TIMEOUT).unwrap());
}

#[test]
fn what_cannot_be_mapped_is_unreadable_and_never_clean() {
    let compiled = compiled(&[source("n", "rule e { condition: true }")]);
    let folder = std::fs::File::open("/").unwrap();
    let result = compiled.scanner().unwrap().scan_fd(&folder, &FileFacts::new(b"f", 0), TIMEOUT);
    assert_eq!(result, Err(ScanError::Unreadable));
}

#[test]
fn a_slow_scan_times_out_and_the_scanner_goes_on() {
    let text = "rule slow { condition: for all i in (0..filesize - 1) : (for all j in (0..filesize - 1) : (uint8(i) + uint8(j) >= 0)) }
        rule quick { condition: true }";
    let compiled = compiled(&[source("n", text)]);
    let mut scanner = compiled.scanner().unwrap();
    let facts = FileFacts::new(b"f", 0);
    let timeout = Duration::from_millis(10);
    assert_eq!(scanner.scan_mem(&[1; 1 << 20], &facts, timeout), Err(ScanError::TimedOut));
    assert_eq!(scanner.scan_mem(b"a", &facts, timeout).unwrap().len(), 2);
}

#[test]
fn many_matches_are_cut_and_every_pattern_keeps_a_share() {
    let text =
        "rule r { strings: $a = \"a\" $b = \"b\" condition: all of them } rule s { strings: $b = \"b\" condition: $b }";
    let mut bytes = vec![b'a'; 5000];
    bytes.extend([b'b'; 20]);
    let found = hits(&compiled(&[source("n", text)]), &bytes);
    assert!(found[0].truncated && !found[1].truncated);
    let count = |pattern| found[0].matches.iter().filter(|found| found.pattern == pattern).count();
    assert_eq!((count("$a"), count("$b")), (500, 20));
    assert!(found[0].matches.len() <= MAX_MATCHES_PER_RULE);
}

#[test]
fn of_a_long_match_the_beginning_is_kept() {
    let found = hits(
        &compiled(&[source("n", "rule r { strings: $a = /xa{2000}/ condition: $a }")]),
        &[&b"x"[..], &[b'a'; 3000]].concat(),
    );
    assert_eq!((found[0].matches[0].length, found[0].matches[0].data.len()), (2001, MAX_MATCH_DATA));
}

#[test]
fn too_many_matches_do_not_fail_the_scan() {
    let text = "rule noisy { strings: $a = \"a\" condition: #a > 5 } rule other { strings: $b = \"zz\" condition: $b }";
    let mut bytes = vec![b'a'; 1_200_000];
    bytes.extend(b"zz");
    let found = hits(&compiled(&[source("n", text)]), &bytes);
    assert!(found.iter().any(|hit| hit.rule == "other"), "the others are still found");
}

#[test]
fn a_set_of_rules_holds_the_rules_that_delta_writes_out() {
    // The rule itself is a member when its name has the prefix, and false: so `all` never holds.
    let text = "rule a1 { condition: true } rule a2 { condition: all of (a*) } rule c { condition: 1 of (a*) }";
    let sources = [
        source("m", "rule a1 { condition: true } rule a3 { condition: true }"),
        source("n", text),
        source("o", "rule a1 { condition: true } rule b { condition: 2 of (a*) }"),
    ];
    let program = rules::program(&rules::split(Vec::from(sources.clone())), None);
    let names = |sources: &[types::RulesetSource]| -> BTreeSet<_> {
        hits(&compiled(sources), b"").into_iter().map(|hit| (hit.namespace, hit.rule)).collect()
    };
    let alone: BTreeSet<_> = sources.iter().flat_map(|source| names(std::slice::from_ref(source))).collect();
    assert_eq!(names(program.sources.get(types::FileKind::Other)), alone);
    assert!(!alone.iter().any(|(_, rule)| rule == "a2" || rule == "b"));
    // What it is for: as written, libyara counts a1 once per namespace, and b fires.
    assert_ne!(names(&sources), alone, "libyara was mended: the sets need not be written out any more");
}

#[test]
fn parts_together_find_what_each_finds_alone() {
    let first =
        [source("n", "global rule g { condition: filesize > 3 } rule r { strings: $a = \"ab\" condition: $a }")];
    let second = [
        source("n", "rule r { strings: $a = \"b\" condition: $a } rule g { condition: false }"),
        source("o:p", "rule q { condition: true }"),
    ];
    let third = [source(
        "n",
        "import \"math\" global private rule g { condition: math.entropy(0, filesize) < 2 } rule z { condition: true }",
    )];
    let parts = [&first[..], &second, &third].map(|sources| Part { name: "part", sources });
    let together = compile(&parts).unwrap();
    assert_eq!(together.parts(), 3);
    for bytes in [&b""[..], b"b", b"ab", b"abcdefgh", b"ab ab ab"] {
        let alone: Vec<_> = parts
            .iter()
            .enumerate()
            .flat_map(|(part, sources)| {
                let found = hits(&compile(&[*sources]).unwrap(), bytes);
                found.into_iter().map(move |hit| Hit { part, ..hit })
            })
            .collect();
        assert_eq!(hits(&together, bytes), alone, "{bytes:?}");
    }
    assert!(hits(&together, b"b").iter().any(|hit| (hit.part, &hit.namespace[..]) == (1, "o:p")));
}

#[test]
fn a_part_that_fails_is_named_and_the_others_compile() {
    let good = [source("n", "rule r { condition: true }")];
    let bad = [source("ok", "rule r { condition: true }"), source("x", "rule r {\n condition: nope }")];
    let odd = [source("y", "rule r { meta: m = \"\\xff\" condition: true }")];
    let part = |name, sources| Part { name, sources };
    let failure = compile(&[part("good", &good), part("bad", &bad), part("odd", &odd)]).unwrap_err();
    assert_eq!(
        failure.parts.iter().map(|part| (part.part, &part.name[..])).collect::<Vec<_>>(),
        [(1, "bad"), (2, "odd")]
    );
    assert_eq!(failure.parts[0].message, "x: line 2: undefined identifier \"nope\"");
    assert!(failure.to_string().contains("odd: y: a metadata value must be UTF-8"));
    assert!(compile(&[part("good", &good)]).is_ok());
}

#[test]
fn nothing_compiles_to_a_program_that_finds_nothing() {
    assert!(hits(&compile(&[]).unwrap(), b"x").is_empty());
}

#[test]
fn the_engine_is_the_version_it_says() {
    let manifest = include_str!("../../../../Cargo.toml");
    assert!(manifest.contains(&format!("bundled-{}", engine_version().replace('.', "_"))));
}
