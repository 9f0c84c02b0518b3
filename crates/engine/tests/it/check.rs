use engine::check;
use rules::{LoadedSource, Problem, Severity, render};

use crate::source;

fn loaded(sources: &[(&str, &str)]) -> Vec<LoadedSource> {
    sources.iter().map(|(namespace, text)| LoadedSource::plain(&source(namespace, text))).collect()
}

fn problems(text: &str) -> Vec<Problem> {
    check(&loaded(&[("n", text)])).unwrap_err()
}

/// Line, column, length and message of the only error.
fn problem(text: &str) -> (usize, usize, usize, String) {
    let found: Vec<_> = problems(text).into_iter().filter(|problem| problem.severity == Severity::Error).collect();
    let [problem] = &found[..] else { panic!("one problem, not {found:#?}") };
    (problem.line, problem.column, problem.length, problem.message.clone())
}

fn at(line: usize, column: usize, length: usize, message: &str) -> (usize, usize, usize, String) {
    (line, column, length, message.to_owned())
}

#[test]
fn good_rules_have_no_problems_and_may_use_modules_and_externals() {
    let text = "import \"pe\" import \"elf\" import \"macho\" import \"dex\" import \"dotnet\" import \"hash\" import \"math\" import \"time\" import \"string\" import \"console\"
        rule r { condition: pe.is_pe or filename == \"a\" or filepath == \"b\" or extension == \".c\" or file_size > 3 }";
    assert_eq!(check(&loaded(&[("n", text)])), Ok(Vec::new()));
}

#[test]
fn problems_are_told_at_their_place_in_words_that_help() {
    assert_eq!(problem("rule r {\n  condition: true and nope\n}"), at(2, 23, 4, "nothing is called \"nope\" here"));
    assert_eq!(problem("rule r {\n  condition:\n $a }"), at(3, 2, 2, "the rule has no pattern $a"));
    assert_eq!(
        problem("rule r {\n strings:\n  $a = \"x\"\n  $b = \"y\"\n condition:\n  $a\n}"),
        at(4, 3, 2, "the pattern $b is never used")
    );
    assert_eq!(
        problem("rule r { condition: true }\nrule r { condition: true }"),
        at(2, 6, 1, "the rule \"r\" is defined twice")
    );
    assert_eq!(problem("rule filename { condition: true }"), at(1, 6, 8, "\"filename\" is a built-in variable"));
    assert_eq!(problem("import \"pee\"\nrule r { condition: true }"), at(1, 9, 3, "there is no module \"pee\""));
    assert_eq!(
        problem("rule a1 { condition: true } rule b { condition: any of (a*) }\nrule a2 { condition: true }").0,
        2
    );
    assert_eq!(
        problem("rule r { condition: true and ) }"),
        at(1, 30, 1, &problem("rule r { condition: true and ) }").3)
    );
    assert!(problem("include \"x.yar\"\nrule r { condition: true }").3.contains("include"));
}

#[test]
fn hints_know_what_was_meant() {
    let hint = |text: &str| problems(text)[0].hint.clone().unwrap();
    assert!(hint("rule r { condition: pe.is_pe }").contains("import \"pe\""));
    assert!(hint("rule r { condition: later }\nrule later { condition: true }").contains("further down"));
    assert!(hint("rule r { condition: nope }").contains("filename"));
}

#[test]
fn all_errors_of_all_sources_are_told() {
    let one = "rule a { condition: x1 }\nrule b { condition: true }\nrule c { condition: x2 }";
    let found =
        check(&loaded(&[("one", one), ("ok", "rule r { condition: true }"), ("two", "rule d { condition: x3 }")]))
            .unwrap_err();
    let places: Vec<_> = found.iter().map(|problem| (&problem.file[..], problem.line)).collect();
    assert_eq!(places, [("one.yar", 1), ("one.yar", 3), ("two.yar", 1)]);
    let shown = render(&found, false);
    assert!(shown.contains("--> two.yar:1:21") && shown.contains("rule d { condition: x3 }"), "{shown}");
}

#[test]
fn warnings_are_kept_and_do_not_fail() {
    let text = "rule r {\n strings: $a = /a.*b.*c/\n condition: 0 of ($a) }";
    let found = check(&loaded(&[("n", text)])).unwrap();
    assert!(!found.is_empty() && found.iter().all(|problem| problem.severity == Severity::Warning), "{found:#?}");
    let with_error = format!("{text}\nrule s {{ condition: nope }}");
    let found = problems(&with_error);
    assert!(found.iter().any(|problem| problem.severity == Severity::Warning));
    assert!(found.iter().any(|problem| problem.severity == Severity::Error && problem.line == 4));
}

#[test]
fn what_would_bring_the_process_down_is_a_problem() {
    let deep = format!("rule r {{ condition: {}true{} }}", "(".repeat(20_000), ")".repeat(20_000));
    assert!(problem(&deep).3.contains("nested too deeply"));
    assert!(problem("rule r { condition: true } \0").3.contains("NUL"));
    assert!(problem("rule r { meta: a = \"\\xff\" condition: true }").3.contains("UTF-8"));
    assert!(problem("import \"p\\xff\"\nrule r { condition: true }").3.contains("module"));
    // Deep without brackets: whatever libyara says, it says so and lives.
    for text in ["not ", "-", "~"] {
        let operand = if text == "not " { "true" } else { "1 == 1" };
        let _ = check(&loaded(&[("n", &format!("rule r {{ condition: {}{operand} }}", text.repeat(20_000)))]));
    }
}

#[test]
fn a_problem_in_an_included_file_is_told_there() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.yar"), "// index\ninclude \"lib.yar\"\nrule r { condition: lib }")
        .unwrap();
    std::fs::write(folder.path().join("lib.yar"), "// lib\n\nrule lib {\n condition: gone }").unwrap();
    let found = check(&rules::load(folder.path()).unwrap()).unwrap_err();
    assert!(found[0].file.ends_with("/lib.yar"), "{found:#?}");
    assert_eq!((found[0].line, found[0].column), (4, 13));
}

#[test]
fn a_source_cannot_use_what_another_has() {
    for needy in ["any of (b_*)", "b_1", "pe.is_pe"] {
        let first = "import \"pe\" rule b_1 { condition: true }";
        let second = format!("rule c {{ condition: {needy} }}");
        let found = check(&loaded(&[("a", first), ("b", &second)])).unwrap_err();
        assert!(
            found.iter().any(|problem| problem.file == "b.yar" && problem.severity == Severity::Error),
            "{found:#?}"
        );
    }
}

#[test]
fn warnings_and_mistakes_of_many_sources_come_in_their_order() {
    let slow = "rule slow { strings: $a = { 00 00 } condition: $a }";
    let warned = check(&loaded(&[("a", slow), ("b", "rule ok { condition: true }"), ("c", slow)])).unwrap();
    assert_eq!(warned.iter().map(|problem| problem.file.as_str()).collect::<Vec<_>>(), ["a.yar", "c.yar"]);
    assert!(warned.iter().all(|problem| problem.severity == Severity::Warning));
    let wrong = [("a", slow), ("b", "rule x { condition: nope }"), ("c", "rule y { condition: nope }")];
    let found = check(&loaded(&wrong)).unwrap_err();
    assert_eq!(found.iter().map(|problem| problem.file.as_str()).collect::<Vec<_>>(), ["a.yar", "b.yar", "c.yar"]);
}

#[test]
fn what_is_unfinished_at_the_end_of_a_source_does_not_pass() {
    let whole = "rule whole { condition: true }";
    for end in [
        "private",
        "global",
        "rule",
        "import",
        "include",
        "rule x {",
        "import /* open",
        "import // open",
        "rule x : tag",
        "$",
    ] {
        let Err(found) = check(&loaded(&[("n", &format!("{whole} {end}"))])) else { panic!("{end:?} passes") };
        assert!(found.iter().any(|problem| problem.severity == Severity::Error), "{end}: {found:#?}");
    }
    for end in ["", " // a remark", "/* closed */", "\nimport \"pe\"", "\n\n"] {
        let passed = check(&loaded(&[("n", &format!("{whole}{end}"))]));
        assert!(passed.is_ok(), "{end}: {passed:#?}");
    }
}

#[test]
fn what_would_be_left_out_behind_something_open_is_told_where_that_begins() {
    let whole = "rule whole { condition: true }\n";
    for (open, what) in
        [("  /* rule lost { condition: true }", "comment"), ("  \"open", "text"), ("  /open", "expression")]
    {
        let (line, column, _, message) = problem(&format!("{whole}{open}"));
        assert_eq!((line, column), (2, 3), "{open}: {message}");
        assert!(message.contains(&format!("this {what} is never closed")), "{open}: {message}");
    }
}

#[test]
fn two_sources_of_one_namespace_are_held_against_each_other() {
    let rule = "rule same { condition: true }";
    assert!(check(&loaded(&[("n", rule), ("n", rule)])).is_err());
    assert!(check(&loaded(&[("n", rule), ("m", rule)])).is_ok());
}
