use super::source;
use crate::{LoadedSource, Problem, Severity, render, syntax_problems};

fn problem(text: &str, what: &str) -> Problem {
    let source = LoadedSource::plain(&source("bad/rule", text));
    let at = text.find(what).unwrap();
    Problem::at(&source, Severity::Error, "nothing is called that here", at..at + what.len()).with_label("not found")
}

#[test]
fn a_problem_is_shown_with_its_line_and_a_mark_below() {
    let problem =
        problem("rule a {\n\tcondition: é and nope\n}\n", "nope").with_hint(Some("name a rule above".to_owned()));
    assert_eq!((problem.line, problem.column, problem.length), (2, 19, 4));
    let expected = "\
error: nothing is called that here
 --> bad/rule.yar:2:19
  |
2 |     condition: é and nope
  |                      ^^^^ not found
  |
  = help: name a rule above
";
    assert_eq!(render(std::slice::from_ref(&problem), false), expected);
    assert!(render(&[problem], true).contains('\u{1b}'), "colours when asked for");
}

#[test]
fn of_a_long_line_the_part_around_the_column_is_shown() {
    let text = format!("rule a {{ condition: {} nope {} }}", "true or ".repeat(5000), "and true".repeat(5000));
    let problem = problem(&text, "nope");
    let shown = render(std::slice::from_ref(&problem), false);
    assert!(shown.len() < 600 && shown.contains(" nope "), "{shown}");
    assert!(shown.contains(&format!("bad/rule.yar:1:{}", problem.column)), "{shown}");
    let lines: Vec<_> = shown.lines().collect();
    let mark = lines.iter().position(|line| line.contains('^')).unwrap();
    assert_eq!(lines[mark].find('^'), lines[mark - 1].find("nope"), "{shown}");
}

#[test]
fn a_problem_at_the_very_end_or_over_several_lines_can_be_shown() {
    let source = LoadedSource::plain(&source("n", "rule a {\ncondition"));
    let end = Problem::at(&source, Severity::Warning, "stops", source.text.len()..source.text.len());
    assert_eq!((end.line, end.column, end.length), (2, 10, 1));
    let long = Problem::at(&source, Severity::Error, "all", 0..source.text.len());
    assert_eq!((long.line, long.column, long.length), (1, 1, 8));
    let shown = render(&[end, long], false);
    assert!(shown.contains("warning: stops") && shown.contains("error: all"), "{shown}");
}

#[test]
fn syntax_problems_have_exact_places() {
    let text = "rule a { condition: any of (a*) and ) }";
    let problems = syntax_problems(text);
    assert_eq!(problems[0].span.start, text.rfind(')').unwrap(), "{problems:?}");
    assert!(syntax_problems("rule a { condition: true } rule b { condition: any of (a*, a) }").is_empty());
}
