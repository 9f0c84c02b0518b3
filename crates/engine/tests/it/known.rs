//! External variables that datasets fill.

use engine::{EXTERNALS, ExternalKind, FileFacts, KindPart, Known, compile_kinds};
use types::RulesetSource;

use crate::{TIMEOUT, compiled, source};

fn facts(known: Known) -> FileFacts {
    FileFacts::new(b"dir/sample.bin", 0).with(known)
}

fn known() -> Known {
    Known::new(true, "coreutils", "9.1-1", 7)
}

/// Which rules fire, one file after the other with the same scanner, each with the program for its kind.
fn fired_by_kind(text: &str, files: &[(&[u8], Known)]) -> Vec<Vec<String>> {
    let artifact = rules::split(vec![RulesetSource { namespace: "n".to_owned(), text: text.to_owned() }]);
    let program = rules::program(&artifact, None);
    let compiled = compile_kinds(&[KindPart { name: "test", sources: &program.sources }]).unwrap();
    let mut scanner = compiled.scanner().unwrap();
    let mut fired = Vec::new();
    for (bytes, known) in files {
        let hits = scanner.scan_mem(bytes, &facts(known.clone()), TIMEOUT).unwrap();
        fired.push(hits.into_iter().map(|hit| hit.rule).collect());
    }
    fired
}

#[test]
fn each_file_has_what_is_known_of_it_and_nothing_of_the_one_before() {
    let text = r#"
        rule good { condition: known_good }
        rule bad { condition: not known_good }
        rule named { condition: package == "coreutils" and package_version startswith "9." and prevalence > 6 }
        rule unnamed { condition: package == "" and package_version == "" and prevalence == 0 }"#;
    let compiled = compiled(&[source("n", text)]);
    let mut scanner = compiled.scanner().unwrap();
    let mut fired = |known| -> Vec<_> {
        scanner.scan_mem(b"", &facts(known), TIMEOUT).unwrap().into_iter().map(|hit| hit.rule).collect()
    };
    assert_eq!(fired(Known::default()), ["bad", "unnamed"]);
    assert_eq!(fired(known()), ["good", "named"]);
    assert_eq!(fired(Known::default()), ["bad", "unnamed"]);
    assert_eq!(fired(Known::new(true, "", "", 0)), ["good", "unnamed"]);
    assert_eq!(fired(Known::new(false, "core\0utils", "9.1", i64::MAX)), ["bad"], "texts end at a NUL byte");
}

#[test]
fn rules_that_ask_what_is_known_are_left_out_of_nothing_that_they_can_match() {
    // A variable alone proves nothing about the kind of file, nor about what is in it; what stands beside it still does.
    let text = r#"
        rule alone { condition: known_good }
        rule negated { condition: not known_good }
        rule either { strings: $a = "needle" condition: known_good or $a }
        rule both { strings: $a = "needle" condition: not known_good and $a }
        rule program { condition: uint32be(0) == 0x7f454c46 and not known_good }
        rule program_or { condition: uint32be(0) == 0x7f454c46 or prevalence > 6 }
        rule compared { condition: prevalence == 0 and package != "coreutils" }"#;
    let elf: &[u8] = b"\x7fELF needle";
    let fired = fired_by_kind(
        text,
        &[
            (b"text", Known::default()),
            (b"text", known()),
            (b"a needle", Known::default()),
            (b"MZ", known()),
            (elf, Known::default()),
            (elf, known()),
        ],
    );
    assert_eq!(fired[0], ["compared", "negated"]);
    assert_eq!(fired[1], ["alone", "either", "program_or"]);
    assert_eq!(fired[2], ["both", "compared", "either", "negated"]);
    assert_eq!(fired[3], ["alone", "either", "program_or"]);
    assert_eq!(fired[4], ["both", "compared", "either", "negated", "program", "program_or"]);
    assert_eq!(fired[5], ["alone", "either", "program_or"]);
}

#[test]
fn each_rule_alone_fires_as_it_does_among_others() {
    // Alone, so that the rule's own gate and required literals decide whether its file is scanned at all.
    for (text, file, unknown, good) in [
        ("rule r { condition: known_good }", &b"x"[..], false, true),
        ("rule r { condition: not known_good }", b"x", true, false),
        ("rule r { strings: $a = \"needle\" condition: known_good or $a }", b"x", false, true),
        ("rule r { strings: $a = \"needle\" condition: known_good and not $a }", b"x", false, true),
        ("rule r { strings: $a = \"needle\" condition: not known_good and $a }", b"needle", true, false),
        ("rule r { strings: $a = \"needle\" condition: #a > 0 or prevalence > 6 }", b"x", false, true),
        ("rule r { condition: uint16be(0) == 0x4d5a or package == \"coreutils\" }", b"x", false, true),
    ] {
        let fired = fired_by_kind(text, &[(file, Known::default()), (file, known())]);
        assert_eq!((!fired[0].is_empty(), !fired[1].is_empty()), (unknown, good), "{text}");
    }
}

#[test]
fn the_list_of_variables_says_which_come_from_datasets() {
    let listed: Vec<_> = EXTERNALS
        .iter()
        .filter(|external| external.from_datasets)
        .map(|external| (external.name, external.kind))
        .collect();
    let expected = [
        ("known_good", ExternalKind::Boolean),
        ("package", ExternalKind::Text),
        ("package_version", ExternalKind::Text),
        ("prevalence", ExternalKind::Integer),
    ];
    assert_eq!(listed, expected);
}
