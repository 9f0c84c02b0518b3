use super::source;
use crate::{owner, program, split};

#[test]
fn from_nothing_everything_is_new() {
    let to = split(vec![source("b", "rule x { condition: true }"), source("a", "rule x { condition: true }")]);
    let program = program(&to, None);
    assert_eq!(program.sources, to.sources);
    assert_eq!(program.owners, owner(&to));
    assert_eq!(
        program.owners.iter().map(|(namespace, rule, _)| (namespace, rule)).collect::<Vec<_>>(),
        [("a", "x"), ("b", "x")]
    );
    assert!(program.carried.is_empty());
}

#[test]
fn only_what_is_new_is_compiled_and_only_its_findings_count() {
    let from = split(vec![
        source("a", "rule x { condition: true } rule y { condition: x }"),
        source("b", "rule z { condition: true }"),
    ]);
    let to = split(vec![
        source("a", "rule x { condition: true } rule gap { condition: true } rule y { condition: not x }"),
        source("b", "rule z { condition: true }"),
    ]);
    let program = program(&to, Some(&from));
    assert_eq!(program.sources.len(), 1);
    let expected = "rule x { condition: true }\nrule gap { condition: true }\nrule y { condition: not x }";
    assert_eq!(program.sources[0].text, expected);
    assert_eq!(program.owners.iter().map(|(_, rule, _)| rule).collect::<Vec<_>>(), ["gap", "y"]);
    assert_eq!(program.owners.get("a", "x"), None, "its findings are carried");
    assert_eq!(program.carried.len(), 2);
    assert!(program.owners.get("a", "y").is_some_and(|unit| !program.carried.contains(&unit)));
}

#[test]
fn nothing_new_means_nothing_to_compile() {
    let from = split(vec![source("a", "rule x { condition: true }")]);
    let to = split(vec![source("a", "rule x { /* better */ condition: true }")]);
    let program = program(&to, Some(&from));
    assert!(program.sources.is_empty() && program.owners.is_empty());
    assert_eq!(program.carried, to.unit_digests());
}

#[test]
fn sets_of_rules_are_written_out() {
    let text =
        "rule a1 { condition: true }\nrule b { condition: 2 of (a *, c*) } rule c { condition: file_size * (2) > 3 }";
    let whole = "rule c1 { condition: true } ".to_owned() + text;
    let program = program(&split(vec![source("n", &whole)]), None);
    assert_eq!(program.sources[0].text, whole.replace("(a *, c*)", "(a1, c1)"));
}
