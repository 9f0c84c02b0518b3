//! What a unit needs, for every form that is understood, and that nothing is claimed for others.

use types::FileKind;

use super::source;
use crate::{Literals, literals_of, program, split};

const NOTHING: &str = "rule nothing { condition: false }";

/// Of the one new rule `tested`; as text, zero bytes as dots.
fn literals_in(text: &str) -> Option<Vec<String>> {
    let text = format!("{text}\n{NOTHING}");
    let mut from = split(vec![source("n", &text)]);
    let to = from.clone();
    from.units.retain(|unit| unit.rules != ["tested"]);
    assert_eq!(from.units.len() + 1, to.units.len(), "split: {text}");
    let program = program(&to, Some(&from));
    let shown = |literal: &[u8]| String::from_utf8_lossy(literal).replace('\0', "·");
    program.sources.literals(FileKind::Other).map(|literals| literals.iter().map(shown).collect())
}

fn of_patterns(patterns: &str, condition: &str) -> Option<Vec<String>> {
    literals_in(&format!("rule tested {{ strings: {patterns} condition: {condition} }}"))
}

fn of_pattern(pattern: &str) -> Option<Vec<String>> {
    of_patterns(&format!("$a = {pattern}"), "$a")
}

/// Three patterns as different as can be, and an earlier rule for each.
fn of_condition(condition: &str) -> Option<Vec<String>> {
    let patterns = "$a = \"AXAXA\" $b = \"BYBYB\" $b2 = \"CZCZC\"";
    let rule = |name: &str, condition: &str| format!("rule {name} {{ strings: {patterns} condition: {condition} }}\n");
    // Unused patterns are libyara's to refuse.
    literals_in(
        &[rule("one", "$a"), rule("one_more", "$b"), rule("open", "filesize > 3"), rule("tested", condition)].concat(),
    )
}

fn some(literals: &[&str]) -> Option<Vec<String>> {
    Some(literals.iter().map(|literal| (*literal).to_owned()).collect())
}

#[test]
fn texts_stand_as_they_are_written() {
    assert_eq!(of_pattern("\"needle\""), some(&["needle"]));
    assert_eq!(of_pattern("\"needle\" ascii fullword private"), some(&["needle"]));
    assert_eq!(of_pattern("\"ab\""), None, "too short");
    assert_eq!(of_pattern(r#""a\"\\\t\x41b""#), some(&["a\"\\\tAb"]));
    assert_eq!(of_pattern("\"needle\" wide"), some(&["n·e·e·d·l·e·"]));
    assert_eq!(of_pattern("\"needle\" ascii wide"), some(&["n·e·e·d·l·e·", "needle"]));
    assert_eq!(of_pattern("\"ab\" wide"), some(&["a·b·"]));
    let long = of_pattern("\"the text is cut where it is rarest: #%&|~^=[]@\"").unwrap();
    assert!(long.len() == 1 && long[0].len() <= Literals::MAX_BYTES && long[0].contains("#%&|"), "{long:?}");
}

#[test]
fn letters_of_either_case_are_spelled_out() {
    assert_eq!(of_pattern("\"x12\" nocase"), some(&["X12", "x12"]));
    assert_eq!(
        of_pattern("\"needle --1234\" nocase"),
        some(&[" --1234"]),
        "fewer spellings are better than more letters"
    );
    assert_eq!(of_pattern("\"ÄÖÜ1\" nocase"), None, "the locale decides");
    assert_eq!(of_pattern("/x12/i"), some(&["X12", "x12"]));
    assert_eq!(of_pattern("\"x1\" nocase wide"), some(&["X·1·", "x·1·"]));
    let spelled = of_pattern("\"abcdef\" nocase").unwrap();
    assert_eq!(spelled.len(), 16, "{spelled:?}");
}

#[test]
fn what_stands_in_other_bytes_than_written_is_not_claimed() {
    for pattern in ["\"needle\" xor", "\"needle\" xor(1-3)", "\"needle\" base64", "\"needle\" base64wide"] {
        assert_eq!(of_pattern(pattern), None, "{pattern}");
    }
}

#[test]
fn hex_patterns_have_runs_of_fixed_bytes() {
    assert_eq!(of_pattern("{ 41 42 43 44 }"), some(&["ABCD"]));
    assert_eq!(of_pattern("{ 41424344 ?? 45 46 }"), some(&["ABCD"]));
    assert_eq!(of_pattern("{ 41 42 /* 43 */ ( 43 44 45 46 | 44 ) 57 58 59 }"), some(&["WXY"]));
    assert_eq!(of_pattern("{ 41 42 43 [2-4] 44 45 }"), some(&["ABC"]));
    assert_eq!(of_pattern("{ 41 42 4? 44 45 }"), None);
    assert_eq!(of_pattern("{ 41 42 ~43 44 45 }"), None);
    assert_eq!(of_pattern("{ 41 42 [1] 43 44 45 // x\n 46 }"), some(&["CDEF"]));
}

#[test]
fn regular_expressions_have_runs_that_every_match_contains() {
    for (regex, expected) in [
        ("/needle/", &["needle"][..]),
        ("/needle[0-9]+x/", &["needle"]),
        ("/^abc$/", &["abc"]),
        ("/ab+cd/", &["bcd"]),
        ("/abcd*/", &["abc"]),
        ("/abcd?e/", &["abc"]),
        ("/abcd{2,3}/", &["abcd"]),
        ("/ab{1}cd/", &["abcd"]),
        ("/abcd{0,3}e/", &["abc"]),
        ("/abcd{,3}e/", &["abc"]),
        ("/abc(xyz|uvw)/", &["abc"]),
        ("/(xyz|uvw)/", &["uvw", "xyz"]),
        ("/(QXQ#|WXW#)+e/", &["QXQ#", "WXW#"]),
        ("/abc.def\\.ghi/s", &["def.ghi"]),
        ("/a\\/b\\x2fc\\n/", &["a/b/c\n"]),
        ("/abc[]]d/", &[]),
        ("/abc[a[b]def/", &[]),
        ("/(xyz|ab)/", &[]),
        ("/(xyz)*/", &[]),
        ("/(xyz)?abc/", &["abc"]),
        ("/(xyz)+ab/", &["xyz"]),
        ("/abc\\w+#%&/", &["#%&"]),
        ("/ab\\d/", &[]),
        ("/ab{x}cde/", &[]),
        ("/xyz|/", &[]),
    ] {
        let expected = (!expected.is_empty()).then(|| expected.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(of_pattern(regex), expected, "{regex}");
    }
    assert_eq!(of_pattern("/abc/ wide"), some(&["a·b·c·"]));
    assert_eq!(of_pattern("/abc/i wide ascii").map(|spellings| spellings.len()), Some(16));
}

#[test]
fn conditions_need_what_they_cannot_hold_without() {
    const A: &[&str] = &["AXAXA"];
    const B: &[&str] = &["BYBYB"];
    const A_B: &[&str] = &["AXAXA", "BYBYB"];
    const B_C: &[&str] = &["BYBYB", "CZCZC"];
    const ALL: &[&str] = &["AXAXA", "BYBYB", "CZCZC"];
    const UNKNOWN: &[&str] = &[];
    for (condition, expected) in [
        ("$a", A),
        ("($a)", A),
        ("$a and filesize > 3", A),
        ("filesize > 3 and (true and $a)", A),
        ("$a or $b", A_B),
        ("$a or filesize > 3", UNKNOWN),
        ("not $a", UNKNOWN),
        ("not $a and $b", B),
        ("$a at 3", A),
        ("$a in (0..100)", A),
        ("defined $a", UNKNOWN),
        ("#a > 0", A),
        ("#a >= 1", A),
        ("#a >= 0", UNKNOWN),
        ("#a == 2", A),
        ("#a == 0", UNKNOWN),
        ("#a != 0", A),
        ("#a != 1", UNKNOWN),
        ("#a < 3", UNKNOWN),
        ("#a > -1", UNKNOWN),
        ("#a + 1 > 0", UNKNOWN),
        ("#a in (0..9) > 0", A),
        ("@a < 100", A),
        ("@a[1] + 4 < @b", A),
        ("!a == 5", A),
        ("uint32(@a) == 5", UNKNOWN),
        ("defined @a", UNKNOWN),
        ("any of them", ALL),
        ("all of them", A),
        ("none of them", UNKNOWN),
        ("0 of them", UNKNOWN),
        ("1 of them", ALL),
        ("2 of them", A_B),
        ("3 of them", A),
        ("50% of them", ALL),
        ("any of ($b*)", B_C),
        ("any of ($a, $b)", A_B),
        ("2 of ($a, $a)", A),
        ("2 of ($a, $b, $a)", A_B),
        ("any of them in (0..9)", ALL),
        ("any of ($a) at 0", A),
        ("filesize of them", UNKNOWN),
        ("for any of them : ($ at 0)", ALL),
        ("for all of ($a, $b) : (# > 1)", A),
        ("for any of ($a) : (@ < 9)", A),
        ("for any of them : (filesize > 3)", UNKNOWN),
        ("for any of them : (not $)", UNKNOWN),
        ("for none of them : ($)", UNKNOWN),
        ("for any of ($a) : ($ or $b)", A_B),
        ("for any i in (1..3) : ($a at i)", A),
        ("for all i in (1..3) : (i > 1)", UNKNOWN),
        ("for none i in (1..3) : ($a at i)", UNKNOWN),
        ("for any one in (1..3) : (one)", UNKNOWN),
        ("one", A),
        ("open", UNKNOWN),
        ("open and one", A),
        ("any of (one, one_more)", A_B),
        ("any of (one*)", A_B),
        ("all of (one*)", A),
        ("2 of (one*)", A_B),
        ("none of (one*)", UNKNOWN),
        ("any of (one, open)", UNKNOWN),
        ("uint16(0) == 0x5a4d", UNKNOWN),
    ] {
        let expected = (!expected.is_empty()).then(|| expected.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(of_condition(condition), expected, "{condition}");
    }
}

#[test]
fn global_rules_restrict_and_private_ones_are_looked_into() {
    let global = "global rule g { strings: $g = \"GLOBAL\" condition: $g }\n";
    assert_eq!(literals_in(&format!("{global}rule tested {{ condition: filesize > 3 }}")), some(&["GLOBAL"]));
    let open = "global rule g { condition: filesize > 3 }\n";
    assert_eq!(
        literals_in(&format!("{open}rule tested {{ strings: $a = \"needle\" condition: $a }}")),
        some(&["needle"])
    );
    let private = "private rule p { strings: $p = \"PRIVATE\" condition: $p }\n";
    assert_eq!(literals_in(&format!("{private}rule tested {{ condition: p and filesize > 3 }}")), some(&["PRIVATE"]));
}

#[test]
fn a_source_that_is_one_unit_needs_one_literal_of_all_its_rules() {
    // Two rules of one name are not split.
    let text = "rule a { strings: $a = \"needle\" condition: $a } rule b { strings: $a = \"thread\" condition: $a }";
    let mut artifact = split(vec![source("n", text)]);
    artifact.units.truncate(1);
    artifact.units[0].ranges.clear();
    artifact.units[0].rules = vec!["a".to_owned(), "b".to_owned()];
    let program = program(&artifact, None);
    let literals: Vec<_> = program.sources.literals(FileKind::Other).unwrap().iter().collect();
    assert_eq!(literals, [&b"needle"[..], b"thread"]);
}

#[test]
fn all_that_is_scanned_together_needs_literals() {
    let program = |text: &str| program(&split(vec![source("n", text)]), None).sources;
    let (needle, thread) =
        ("rule n { strings: $a = \"needle\" condition: $a }", "rule t { strings: $a = \"thread\" condition: $a }");
    let open = "rule o { condition: filesize > 3 }";
    assert_eq!(program(&format!("{needle} {thread}")).literals(FileKind::Elf).unwrap().iter().count(), 2);
    assert_eq!(program(&format!("{needle} {open}")).literals(FileKind::Elf), None);
    let of = |all: &[&crate::KindSources]| {
        literals_of(all.iter().copied(), FileKind::Other).map(|literals| literals.iter().count())
    };
    assert_eq!(of(&[&program(needle), &program(thread)]), Some(2));
    assert_eq!(of(&[&program(needle), &program(open)]), None);
    assert_eq!(of(&[&program(needle), &crate::KindSources::default()]), Some(1), "nothing to scan needs nothing");
}

#[test]
fn a_rule_for_one_kind_of_file_does_not_hinder_the_others() {
    let text = "import \"elf\" rule e { condition: elf.type == 2 } rule t { strings: $a = \"thread\" condition: $a }";
    let sources = program(&split(vec![source("n", text)]), None).sources;
    assert_eq!(sources.literals(FileKind::Elf), None);
    assert!(sources.literals(FileKind::Other).is_some());
}

#[test]
fn too_many_literals_are_none() {
    let rules = |count: usize| {
        (0..count)
            .map(|number| format!("rule r{number} {{ strings: $a = \"needle{number}\" condition: $a }}\n"))
            .collect::<String>()
    };
    let count = |text: &str| {
        let program = program(&split(vec![source("n", text)]), None);
        program.sources.literals(FileKind::Other).map(|literals| literals.iter().count())
    };
    assert_eq!(count(&rules(Literals::MAX)), Some(Literals::MAX));
    assert_eq!(count(&rules(Literals::MAX + 1)), None);
}

#[test]
fn a_part_with_too_many_literals_leaves_the_choice_to_the_others() {
    let many: String = (0..=Literals::MAX).map(|number| format!("$many{number} = \"#%&|~^{number}\" ")).collect();
    assert_eq!(of_patterns(&format!("{many} $a = \"tea\""), "any of ($many*) and $a"), some(&["tea"]));
}
