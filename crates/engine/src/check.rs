//! Tells a person what is wrong with a ruleset, all at once and at the right place.

use std::{collections::BTreeSet, ops::Range, thread};

use rules::{LoadedSource, MAX_PROBLEMS, Problem, Severity, SyntaxProblem};
use types::RulesetSource;
use yara::CompileErrorLevel;

use crate::{
    EXTERNALS, Part,
    compile::{compile, finish, new_compiler},
};

/// Modules that are built in, for the hint below an unknown one.
const MODULES: &str = "pe, elf, macho, dex, dotnet, hash, math, time, string, console";

/// libyara often reports a line further down than the mistake; a name is looked for this many lines up.
const LINES_UP: usize = 200;
/// As a program's first thread has it.
const STACK_BYTES: usize = 8 << 20;
/// What libyara says of the import of a number.
const PROVOKED: &str = "syntax error, unexpected integer number, expecting text string";

/// Compiles the sources and returns the warnings, or all problems.
///
/// Problems come in the order of sources, then of lines, errors and warnings mixed, at most
/// [`MAX_PROBLEMS`]; among them is at least one error when the result is `Err`.
///
/// Cost: a compilation that is not finished. Three more and a parse of every source that has an error if something is
/// wrong.
pub fn check(sources: &[LoadedSource]) -> Result<Vec<Problem>, Vec<Problem>> {
    let mut problems = warnings_of_all(sources).unwrap_or_else(|| one_by_one(sources));
    let failed = problems.iter().any(is_error);
    if problems.len() > MAX_PROBLEMS {
        // Errors first to be kept, in their order.
        problems.sort_by_key(|problem| problem.severity);
        problems.truncate(MAX_PROBLEMS);
    }
    if failed { Err(problems) } else { Ok(problems) }
}

/// None: something is wrong, and is to be looked for in each source.
///
/// Sources that compile alone also compile together: libyara looks every name up in the source's own namespace.
fn warnings_of_all(sources: &[LoadedSource]) -> Option<Vec<Problem>> {
    let namespaces: BTreeSet<_> = sources.iter().map(|source| &source.namespace).collect();
    if namespaces.len() < sources.len() || !sources.iter().all(is_admitted) {
        return None;
    }
    let one_after_the_other = || {
        sources.iter().try_fold(Vec::new(), |mut found, source| {
            let mut of_one = provoked_warnings(source).filter(|provoked| provoked.compiles)?.warnings;
            of_one.sort_by_key(|problem| (problem.line, problem.column));
            found.extend(of_one);
            Some(found)
        })
    };
    thread::scope(|scope| {
        // libyara recurses over regular expressions, and threads have less room for that than a program has.
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        thread.spawn_scoped(scope, one_after_the_other).ok()?.join().ok()?
    })
}

/// Each source alone, so that none hides the mistakes of another, then all together.
fn one_by_one(sources: &[LoadedSource]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in sources {
        let mut found = check_one(source);
        found.sort_by_key(|problem| (problem.line, problem.column));
        problems.extend(found);
    }
    if !problems.iter().any(is_error) {
        problems.extend(check_together(sources));
    }
    problems
}

/// What must not reach libyara.
fn is_admitted(source: &LoadedSource) -> bool {
    !source.namespace.contains('\0') && rules::refusals(&source.text).is_empty()
}

fn is_error(problem: &Problem) -> bool {
    problem.severity == Severity::Error
}

fn check_together(sources: &[LoadedSource]) -> Option<Problem> {
    let all: Vec<_> = sources
        .iter()
        .map(|source| RulesetSource { namespace: source.namespace.clone(), text: source.text.clone() })
        .collect();
    let failure = compile(&[Part { name: "the ruleset", sources: &all }]).err()?;
    Some(Problem::at(sources.first()?, Severity::Error, failure.to_string(), 0..0))
}

fn check_one(source: &LoadedSource) -> Vec<Problem> {
    let refused = rules::refusals(&source.text);
    if !refused.is_empty() || source.namespace.contains('\0') {
        return refused.into_iter().map(|problem| refusal(source, problem)).collect();
    }
    let compiler = match new_compiler() {
        Ok(compiler) => compiler,
        Err(message) => return vec![Problem::at(source, Severity::Error, message, 0..0)],
    };
    let added = compiler.add_rules_str_with_namespace(&source.text, &source.namespace);
    match added {
        Ok(compiler) => match finish(compiler) {
            Ok(_) => warnings_or_unclosed(source),
            Err(message) => vec![Problem::at(source, Severity::Error, message, 0..0)],
        },
        Err(yara::Error::Compile(errors)) => {
            let syntax = rules::syntax_problems(&source.text);
            errors.iter().map(|error| problem(source, &syntax, error)).collect()
        }
        Err(other) => vec![Problem::at(source, Severity::Error, other.to_string(), 0..0)],
    }
}

struct Provoked {
    warnings: Vec<Problem>,
    /// Nothing was wrong but what was provoked.
    compiles: bool,
}

/// The bindings return libyara's warnings only beside an error. So one is provoked: the import of a number behind the
/// source, whose own error is left out again. The parser only comes to that number when all before it is whole; in an
/// open comment, or after a last word that wants another one, it complains of something else or of nothing.
fn provoked_warnings(source: &LoadedSource) -> Option<Provoked> {
    let compiler = new_compiler().ok()?;
    let provoking = format!("{}\nimport 1", source.text);
    let Err(yara::Error::Compile(found)) = compiler.add_rules_str_with_namespace(&provoking, &source.namespace) else {
        return None;
    };
    let (warnings, errors): (Vec<_>, Vec<_>) =
        found.iter().partition(|found| found.level == CompileErrorLevel::Warning);
    Some(Provoked {
        warnings: warnings.into_iter().map(|warning| problem(source, &[], warning)).collect(),
        compiles: matches!(errors.as_slice(), [error] if error.message.trim() == PROVOKED),
    })
}

/// Of a source that compiles alone. That what follows it is not seen for what it is means that its end is inside of something: libyara
/// has left out all from there on, and said nothing.
fn warnings_or_unclosed(source: &LoadedSource) -> Vec<Problem> {
    match provoked_warnings(source) {
        Some(Provoked { warnings, compiles: true }) => warnings,
        Some(_) | None => vec![unclosed(source)],
    }
}

fn unclosed(source: &LoadedSource) -> Problem {
    let end = source.text.len();
    let Some(span) = rules::unclosed(&source.text) else {
        let message = "something before the end of the file is never closed, and the rest would be left out";
        return Problem::at(source, Severity::Error, message, end..end);
    };
    let (what, closing) = match source.text.get(span.clone()) {
        Some("/*") => ("comment", "*/"),
        Some("\"") => ("text", "\""),
        Some(_) | None => ("expression", "/"),
    };
    let hint = format!("close it with {closing}; until then nothing behind it is a rule");
    let message = format!("this {what} is never closed, and the rest of the file would be left out");
    Problem::at(source, Severity::Error, message, span).with_label("opened here").with_hint(Some(hint))
}

fn refusal(source: &LoadedSource, problem: SyntaxProblem) -> Problem {
    let SyntaxProblem { message, span, hint } = problem;
    Problem::at(source, Severity::Error, message, span).with_hint(hint)
}

fn problem(source: &LoadedSource, syntax: &[SyntaxProblem], error: &yara::CompileError) -> Problem {
    let severity = match error.level {
        CompileErrorLevel::Error => Severity::Error,
        CompileErrorLevel::Warning => Severity::Warning,
    };
    let text = error.message.trim();
    let name = quoted(text);
    let parsed = syntax.iter().find(|problem| source.line_at(problem.span.start).0 == error.line);
    let is_syntax = text.starts_with("syntax error");
    if let (true, Some(parsed)) = (is_syntax, parsed) {
        let message = format!("syntax error: {}", parsed.message.trim_start_matches("syntax error: "));
        return Problem::at(source, severity, message, parsed.span.clone()).with_label("here");
    }
    let named = name.filter(|_| !is_syntax).and_then(|name| locate(source, error.line, name));
    let span =
        named.or_else(|| parsed.map(|problem| problem.span.clone())).unwrap_or_else(|| first_word(source, error.line));
    let humane = humane(source, text, name, &span);
    Problem::at(source, severity, humane.message, span).with_label(humane.label).with_hint(humane.hint)
}

/// What libyara's message quotes first.
fn quoted(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once('"')?;
    rest.split_once('"').map(|(name, _)| name).filter(|name| !name.is_empty())
}

/// The nearest place of a name, from the given line upwards.
fn locate(source: &LoadedSource, line: usize, name: &str) -> Option<Range<usize>> {
    let first = line.saturating_sub(LINES_UP).max(1);
    (first..=line).rev().find_map(|line| {
        let at = find_word(source.line(line), name)?;
        let start = source.line_start(line) + at;
        Some(start..start + name.len())
    })
}

fn find_word(line: &str, name: &str) -> Option<usize> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    line.match_indices(name).map(|(at, _)| at).find(|at| {
        let before = at.checked_sub(1).map(|before| line.as_bytes()[before]);
        let after = line.as_bytes().get(at + name.len()).copied();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The line from its first character that is not blank to its last.
fn first_word(source: &LoadedSource, line: usize) -> Range<usize> {
    let text = source.line(line);
    let start = source.line_start(line) + text.len() - text.trim_start().len();
    start..start + text.trim().len()
}

struct Humane {
    message: String,
    label: String,
    hint: Option<String>,
}

/// libyara's message in words that say what to do.
fn humane(source: &LoadedSource, text: &str, name: Option<&str>, span: &Range<usize>) -> Humane {
    let say = |message: String, label: &str, hint: Option<String>| Humane { message, label: label.to_owned(), hint };
    let hint = |hint: &str| Some(hint.to_owned());
    let Some(name) = name else { return say(text.to_owned(), "", None) };
    if text.starts_with("duplicated identifier") && EXTERNALS.iter().any(|external| external.name == name) {
        return say(format!("{name:?} is a built-in variable"), "cannot be a rule's name", hint("rename the rule"));
    }
    if text.starts_with("duplicated identifier") {
        let help = hint("rename one of them; rules of different files may share a name");
        return say(format!("the rule {name:?} is defined twice"), "defined again here", help);
    }
    if text.starts_with("undefined identifier") {
        return say(format!("nothing is called {name:?} here"), "not found", undefined_hint(source, name, span));
    }
    if text.starts_with("undefined string") {
        let help = hint("define it under strings: in this rule");
        return say(format!("the rule has no pattern {name}"), "not defined in this rule", help);
    }
    if text.starts_with("unreferenced string") {
        let unused = format!("use it in the condition, remove it, or call it $_{}", name.trim_start_matches('$'));
        return say(format!("the pattern {name} is never used"), "not used in the condition", Some(unused));
    }
    if text.contains("may slow down scanning") {
        let help = hint("give it at least four fixed bytes in a row, fewer are found everywhere");
        return say(format!("the pattern {name} may slow down scanning"), "slow to look for", help);
    }
    if text.starts_with("unknown module") {
        let help = format!("modules that can be imported: {MODULES}");
        return say(format!("there is no module {name:?}"), "unknown", Some(help));
    }
    if text.contains("matches previously used wildcard rule set") {
        let message = format!("the rule {name:?} would join a set that an earlier rule has already used");
        return say(message, "defined too late", hint("move it above the rule that uses the set, or rename it"));
    }
    say(text.to_owned(), "", None)
}

fn undefined_hint(source: &LoadedSource, name: &str, span: &Range<usize>) -> Option<String> {
    if MODULES.split(", ").any(|module| module == name) {
        return Some(format!("add a line at the top of the file: import \"{name}\""));
    }
    let rest = source.text.get(span.end..)?;
    if rest.match_indices("rule").any(|(at, _)| {
        let after = rest[at + 4..].trim_start();
        after.starts_with(name)
            && !after[name.len()..].starts_with(|letter: char| letter == '_' || letter.is_alphanumeric())
    }) {
        return Some("it is defined further down; a rule can only name rules above it in its own file".to_owned());
    }
    let names: Vec<_> = EXTERNALS.iter().map(|external| external.name).collect();
    Some(format!("a rule can name rules above it in its own file, imported modules, and {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Or every check would take the long way round.
    #[test]
    fn libyara_says_what_was_provoked_in_the_words_that_are_known() {
        let text = "rule r { condition: true }".to_owned();
        let source = LoadedSource::plain(&RulesetSource { namespace: "n".to_owned(), text });
        assert!(provoked_warnings(&source).unwrap().compiles);
    }
}
