//! Carried findings and the findings of a delta are together the findings of a full scan.

use std::collections::BTreeSet;

use engine::Hit;
use rules::{Program, program, split};
use types::{Digest, RulesetArtifact, RulesetSource};

use crate::{compiled_kinds, kind_hits, source};

/// Sample index, owning unit, and all that was found.
pub(crate) type Finding = (usize, Digest, String);

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let mut samples: Vec<Vec<u8>> =
        ["", "alpha", "beta", "alpha beta gamma", "gamma gamma", "delta alpha", "MZ nothing here", "beta delta"]
            .iter()
            .map(|text| text.as_bytes().to_vec())
            .collect();
    samples.push((0..=255).collect());
    samples.push(b"alpha ".repeat(50));
    samples
}

pub(crate) fn findings(program: &Program, samples: &[Vec<u8>]) -> BTreeSet<Finding> {
    if program.sources.is_empty() {
        return BTreeSet::new();
    }
    let compiled = compiled_kinds(&program.sources);
    let scan = |(index, bytes): (usize, &Vec<u8>)| {
        kind_hits(&compiled, bytes).into_iter().filter_map(move |hit| finding(program, index, &hit)).collect::<Vec<_>>()
    };
    samples.iter().enumerate().flat_map(scan).collect()
}

fn finding(program: &Program, sample: usize, hit: &Hit) -> Option<Finding> {
    let unit = program.owners.get(&hit.namespace, &hit.rule)?;
    Some((sample, unit, format!("{hit:?}")))
}

/// Asserts the equality for one step, and returns how many units were new.
pub(crate) fn assert_delta(from: &RulesetArtifact, to: &RulesetArtifact, samples: &[Vec<u8>]) -> usize {
    to.validate().unwrap();
    let delta = program(to, Some(from));
    let carried = findings(&program(from, None), samples)
        .into_iter()
        .filter(|(_, unit, _)| delta.carried.binary_search(unit).is_ok());
    let mut together: BTreeSet<_> = carried.collect();
    for finding in findings(&delta, samples) {
        assert!(together.insert(finding), "nothing is found twice");
    }
    let full = findings(&program(to, None), samples);
    assert_eq!(together, full, "\nfrom {:#?}\nto {:#?}\ndelta {:#?}", from.sources, to.sources, delta.sources);
    to.units.len() - delta.carried.len()
}

const ONE: &str = r#"
import "math"
private rule is_small { condition: filesize < 100 }
rule alpha : greek { meta: n = 1 strings: $a = "alpha" condition: $a }
rule beta { strings: $b = "beta" condition: $b and is_small }
rule set_a { strings: $a = "gamma" condition: $a }
rule set_b { strings: $a = "delta" condition: $a }
rule any_set { condition: any of (set_*) }
rule two_of { condition: 2 of (alpha, beta, set_*) }
rule random_like { condition: math.entropy(0, filesize) > 5 }
rule named { condition: filename == "sample.bin" and file_size == 4 and extension == ".bin" }
"#;

const TWO: &str = r#"
rule before { strings: $a = "alpha" condition: #a > 1 }
global rule not_empty { condition: filesize > 0 }
rule alpha { strings: $a = "alpha" condition: not $a }
"#;

fn base() -> Vec<RulesetSource> {
    vec![source("one", ONE), source("dir/two", TWO)]
}

/// How many units are new when one source's text is edited; the equality is asserted on the way.
fn new_units(namespace: &str, edit: impl Fn(&str) -> String) -> usize {
    let mut sources = base();
    let edited = sources.iter_mut().find(|source| source.namespace == namespace).unwrap();
    let text = edit(&edited.text);
    assert_ne!(text, edited.text, "the edit must edit");
    edited.text = text;
    assert_delta(&split(base()), &split(sources), &samples())
}

fn replaced(namespace: &str, from: &str, to: &str) -> usize {
    new_units(namespace, |text| text.replace(from, to))
}

#[test]
fn the_base_finds_something_with_each_of_its_rules() {
    let found = findings(&program(&split(base()), None), &samples());
    let units: BTreeSet<_> = found.iter().map(|(_, unit, _)| unit).collect();
    assert_eq!(units.len(), 12 - 1, "all but the private one: {found:#?}");
}

#[test]
fn an_edited_rule_is_new_with_those_that_name_it() {
    assert_eq!(replaced("one", "$b = \"beta\"", "$b = \"beta\" nocase"), 2, "beta, two_of");
    assert_eq!(replaced("one", "entropy(0, filesize) > 5", "entropy(0, filesize) > 1"), 1);
    assert_eq!(replaced("one", "meta: n = 1", "meta: n = 2"), 2, "findings show metadata: alpha, two_of");
}

#[test]
fn a_renamed_rule_is_new_and_so_are_its_dependents() {
    assert_eq!(replaced("one", "rule named", "rule called"), 1);
    assert_eq!(new_units("one", |text| text.replace("rule beta", "rule b2").replace("alpha, beta", "alpha, b2")), 2);
}

#[test]
fn a_renamed_file_is_new_as_a_whole() {
    let mut sources = base();
    sources[1].namespace = "dir/three".to_owned();
    assert_eq!(assert_delta(&split(base()), &split(sources), &samples()), 3);
}

#[test]
fn a_new_rule_costs_one_unit_whatever_it_depends_on() {
    assert_eq!(new_units("one", |text| text.to_owned() + "rule more { condition: any_set and beta }"), 1);
}

#[test]
fn a_changed_dependency_reaches_all_that_depend_on_it() {
    assert_eq!(replaced("one", "filesize < 100", "filesize < 10"), 3, "is_small, beta, two_of");
    assert_eq!(replaced("one", "private rule is_small", "rule is_small"), 3, "it reports now");
}

#[test]
fn a_removed_rule_costs_nothing() {
    assert_eq!(new_units("one", |text| text.replace("rule any_set { condition: any of (set_*) }", "")), 0);
    let without_two = vec![source("one", ONE)];
    assert_eq!(assert_delta(&split(base()), &split(without_two), &samples()), 0);
}

#[test]
fn global_rules_reach_their_whole_source_and_no_other() {
    assert_eq!(replaced("dir/two", "filesize > 0", "filesize > 5"), 3);
    assert_eq!(replaced("dir/two", "global rule", "rule"), 3);
    assert_eq!(replaced("dir/two", "global rule not_empty { condition: filesize > 0 }", ""), 2);
    assert_eq!(new_units("one", |text| text.to_owned() + "global rule big { condition: filesize > 5 }"), 10);
}

#[test]
fn what_does_not_change_an_answer_costs_nothing() {
    assert_eq!(new_units("one", |text| text.replace("rule ", "// why\n  rule /* what */ ")), 0);
    assert_eq!(new_units("one", |text| format!("import \"pe\"\n{text}")), 0, "an import nobody uses");
    let alpha = "rule alpha : greek { meta: n = 1 strings: $a = \"alpha\" condition: $a }\n";
    assert_eq!(
        new_units("one", |text| text.replace(alpha, "").replace("rule two_of", &(alpha.to_owned() + "rule two_of"))),
        0
    );
}

#[test]
fn a_set_that_gains_or_loses_a_member_is_new() {
    let more = "rule set_c { strings: $a = \"MZ\" condition: $a } rule any_set";
    assert_eq!(replaced("one", "rule any_set", more), 3, "set_c, any_set, two_of");
    assert_eq!(replaced("one", "rule set_b { strings: $a = \"delta\" condition: $a }", ""), 2, "any_set, two_of");
}

#[test]
fn a_source_that_cannot_be_split_is_one_unit() {
    // libyara accepts a modifier twice, YARA-X's parser does not: nothing is split, and nothing is lost.
    let odd = "global global rule odd { strings: $a = \"alpha\" condition: $a }\nrule even { condition: not odd }";
    let from = split(vec![source("odd", odd), source("one", ONE)]);
    let to = split(vec![source("odd", &odd.replace("not odd", "odd")), source("one", ONE)]);
    let unsplit: Vec<_> = from.units.iter().filter(|unit| unit.ranges.is_empty()).collect();
    assert_eq!(unsplit.iter().map(|unit| &unit.rules[..]).collect::<Vec<_>>(), [["odd", "even"]]);
    assert_eq!(assert_delta(&from, &to, &samples()), 1);
}
