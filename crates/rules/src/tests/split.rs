use std::{collections::BTreeMap, fmt::Write as _};

use types::{Digest, RulesetArtifact, UnitSource};

use super::source;
use crate::{lexical, refusals, split, syntax_problems};

fn artifact(text: &str) -> RulesetArtifact {
    let artifact = split(vec![source("n", text)]);
    artifact.validate().unwrap();
    artifact
}

fn digests(text: &str) -> BTreeMap<String, Digest> {
    artifact(text).units.into_iter().map(|unit| (unit.rules.join("+"), unit.digest)).collect()
}

/// Names of the rules whose units differ or are new.
fn changed(before: &str, after: &str) -> Vec<String> {
    let before = digests(before);
    digests(after).into_iter().filter(|(name, digest)| before.get(name) != Some(digest)).map(|(name, _)| name).collect()
}

fn unit(artifact: &RulesetArtifact, rule: &str) -> UnitSource {
    artifact.units.iter().find(|unit| unit.rules == [rule]).unwrap().clone()
}

fn text_of(artifact: &RulesetArtifact, rule: &str) -> String {
    let ranges = unit(artifact, rule).ranges;
    let pieces = ranges.iter().map(|(from, to)| &artifact.sources[0].text[*from as usize..*to as usize]);
    pieces.collect::<Vec<_>>().join("\n")
}

const BASE: &str = r#"import "pe"
import "math"
rule one { strings: $a = "x" condition: $a }
private rule two { condition: filesize > 3 }
rule three { condition: two and pe.is_pe }
rule set_a { condition: true }
rule set_b { condition: false }
rule sets { condition: any of (set_*) }
"#;

#[test]
fn each_rule_is_a_unit_with_what_it_needs_and_nothing_else() {
    let artifact = artifact(BASE);
    assert_eq!(artifact.units.len(), 6);
    assert_eq!(text_of(&artifact, "one"), "rule one { strings: $a = \"x\" condition: $a }");
    let three = text_of(&artifact, "three");
    assert_eq!(
        three,
        "import \"pe\"\nprivate rule two { condition: filesize > 3 }\nrule three { condition: two and pe.is_pe }"
    );
    assert!(text_of(&artifact, "sets").starts_with("rule set_a"));
    assert_eq!(unit(&artifact, "sets").ranges.len(), 1, "neighbours are merged");
}

#[test]
fn comments_and_blanks_do_not_count_but_tokens_do() {
    let commented = BASE.replace("strings: $a", "// why\n\tstrings: /* here */ $a");
    assert_eq!(changed(BASE, &commented), [""; 0]);
    assert_eq!(changed(BASE, &BASE.replace("\"x\"", "\"y\"")), ["one"]);
    assert_eq!(changed(BASE, &BASE.replace("\"x\"", "\"x\" wide")), ["one"]);
    assert_eq!(changed(BASE, &BASE.replace("rule one", "rule one : tag")), ["one"]);
    // One text in quotes is one token: blanks inside it count.
    assert_eq!(changed(BASE, &BASE.replace("\"x\"", "\"x \"")), ["one"]);
}

#[test]
fn a_change_reaches_those_who_depend_on_it() {
    assert_eq!(changed(BASE, &BASE.replace("filesize > 3", "filesize > 4")), ["three", "two"]);
    assert_eq!(
        changed(BASE, &BASE.replace("rule sets", "rule set_c { condition: true } rule sets")),
        ["set_c", "sets"]
    );
    assert_eq!(changed(BASE, &(BASE.to_owned() + "rule new { condition: one }")), ["new"]);
    assert_eq!(changed(BASE, &("import \"elf\"\n".to_owned() + BASE)), [""; 0], "nobody uses it");
    let star_to_name = BASE.replace("(set_*)", "(set_a, set_b)");
    assert_eq!(changed(BASE, &star_to_name), ["sets"]);
}

#[test]
fn a_global_rule_governs_all_rules_of_its_source_wherever_it_stands() {
    let with_global = BASE.to_owned() + "global rule big { condition: filesize > 0 }";
    assert_eq!(changed(BASE, &with_global).len(), 7);
    assert!(text_of(&artifact(&with_global), "one").ends_with("global rule big { condition: filesize > 0 }"));
    let two_sources = split(vec![source("a", "rule x { condition: true }"), source("b", &with_global)]);
    let alone = split(vec![source("a", "rule x { condition: true }")]);
    assert!(two_sources.units.iter().any(|unit| unit.digest == alone.units[0].digest), "other sources are free of it");
}

#[test]
fn two_globals_govern_each_other_without_a_circle() {
    let base = "global rule a { condition: true } global rule b { condition: true }";
    assert_eq!(changed(base, &base.replace("b { condition: true", "b { condition: false")), ["a", "b"]);
}

#[test]
fn a_field_or_a_loop_variable_is_not_a_dependency_but_a_rule_is() {
    let base = "import \"pe\" rule sections { condition: true } rule x { condition: for any s in pe.sections : (s.name == \"sections\") }";
    assert_eq!(changed(base, &base.replace("sections { condition: true", "sections { condition: false")), ["sections"]);
}

#[test]
fn a_name_behind_the_dots_of_a_range_is_a_dependency() {
    let text = "import \"elf\" rule x { condition: for any i in (1..elf.number_of_sections) : (i > 2) }";
    assert!(text_of(&artifact(text), "x").contains("import"));
    let spaced = text.replace("1..elf", "1 .. elf");
    assert!(text_of(&artifact(&spaced), "x").contains("import"));
}

#[test]
fn a_rule_that_names_itself_does_not_hang() {
    assert_eq!(artifact("rule a_1 { condition: a_1 or any of (a_*) }").units.len(), 1);
}

#[test]
fn what_is_not_understood_stays_whole() {
    for text in [
        "rule a { condition: true } rule a { condition: false }",
        "include \"other.yar\" rule a { condition: true }",
        "rule a { condition: (true }",
        "rule a { condition: true } nonsense",
        "rule a { strings: $x = \"unclosed\n condition: $x }",
    ] {
        let artifact = artifact(text);
        assert_eq!(artifact.units.len(), 1, "{text}");
        assert_eq!((&artifact.units[0].ranges[..], &artifact.units[0].rules[0][..]), (&[][..], "a"), "{text}");
    }
    let digest = |text| artifact(text).units[0].digest;
    assert_eq!(digest("rule a { condition: ( true }"), digest("rule a { // c\n condition: (true }"));
    assert_ne!(digest("rule a { condition: (true }"), digest("rule a { condition: (false }"));
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let nested = |open: &str, close: &str| {
        format!("rule deep {{ condition: {}true{} }}", open.repeat(20_000), close.repeat(20_000))
    };
    let parentheses = nested("(", ")");
    assert!(syntax_problems(&parentheses)[0].message.contains("nested too deeply"));
    assert_eq!(refusals(&parentheses).len(), 1, "told once");
    for text in
        [parentheses, nested("not ", ""), nested("[(", ""), nested("-", ""), nested("for any i in (1..2) : (", ")")]
    {
        assert_eq!(artifact(&text).units[0].rules, ["deep"]);
    }
    assert!(refusals(r#"rule a { strings: $a = "((((" $b = /\({300}[(]/ condition: $a /* ((( */ }"#).is_empty());
}

#[test]
fn a_long_chain_of_dependencies_ends() {
    let mut text = "rule r0 { condition: true }".to_owned();
    for index in 1..10_000 {
        write!(text, " rule r{index} {{ condition: r{} }}", index - 1).unwrap();
    }
    let artifact = artifact(&text);
    // 50 million steps are more than are allowed, so the source stays whole; nothing hangs.
    assert_eq!(artifact.units.len(), 1);
    assert_eq!(artifact.units[0].rules.len(), 10_000);
}

#[test]
fn bytes_that_would_bring_the_bindings_down_are_refused() {
    for text in [
        "rule a { condition: true } \0",
        "import \"p\\xff\" rule a { condition: true }",
        "rule a { strings: $a = \"unclosed\n condition: 1import /* x */ \"\\xe9\" }",
        &format!("import \"{}\"", "é".repeat(150)),
        &format!("import /* {} */ \"\\xe9\"", "x".repeat(2000)),
        "rule a { meta: author = \"\\xff\" condition: true }",
        "rule a : tag { meta: n = 1 author = \"ok \\xc3\" strings: $a = \"x\" condition: $a }",
    ] {
        assert_eq!(refusals(text).len(), 1, "{text}");
    }
    for text in [
        "rule a { meta: author = \"\\xc3\\xa9 é\" condition: true }",
        "rule a { meta: n = 1 strings: $a = \"\\xff\" condition: $a }",
        "// import \"é\"\nrule b { strings: $a = \"#import \" $b = \"\\xff\" condition: all of them } rule a { condition: for any s in (1) : (s == 1) and filename == \"\\xff\" }",
    ] {
        assert!(refusals(text).is_empty(), "{text}");
    }
}

#[test]
fn the_lexer_finds_names_and_steps_over_what_looks_like_rules() {
    let text = "// rule no1\n/* rule no2 */ rule yes1 { strings: $rule = \"rule no3 \\\" rule no4\" $r = /rule no5 \\/ rule no6/ } private rule yes2";
    assert_eq!(lexical::rule_names(text), ["yes1", "yes2"]);
}

#[test]
fn splitting_is_the_same_whatever_the_order_of_sources() {
    let (a, b) = (source("a", "rule x { condition: true }"), source("b", BASE));
    assert_eq!(split(vec![a.clone(), b.clone()]), split(vec![b, a]));
}
