//! Compiling several rulesets into one libyara program.

use std::{fmt, panic};

use types::RulesetSource;
use yara::{Compiler, Rules};

use crate::{Scanner, externals::FileFacts, scan};

/// One ruleset, or the delta of one, as it goes into a program.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Who is named when it does not compile.
    pub name: &'a str,
    pub sources: &'a [RulesetSource],
}

/// Which parts do not compile; the others do, with each other too.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct CompileFailure {
    /// Ascending by part, never empty.
    pub parts: Vec<PartFailure>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartFailure {
    /// Index into the parts given.
    pub part: usize,
    pub name: String,
    pub message: String,
}

impl fmt::Display for CompileFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.parts.iter().map(|part| format!("{}: {}", part.name, part.message)).collect();
        write!(f, "failed to compile {}", parts.join("; "))
    }
}

/// A compiled program. Cheap to share between threads, expensive to make: keep it.
pub struct Compiled {
    rules: Rules,
    parts: usize,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl Compiled {
    /// A scanner over this program, to be used for as many files as possible.
    ///
    /// It borrows the program instead of owning it, which would take `unsafe` or a leak. A scanner process
    /// keeps programs in its cache and makes one scanner per segment: that costs a few allocations in
    /// proportion to the number of patterns, and is shared by up to 4,096 files.
    pub fn scanner(&self) -> Result<Scanner<'_>, scan::ScanError> {
        Scanner::new(&self.rules)
    }

    /// How many parts it was compiled from.
    pub fn parts(&self) -> usize {
        self.parts
    }
}

/// Compiles parts into one program, so that one pass over a file serves all.
///
/// Namespaces are made distinct as `"{index}:{namespace}"`, so that neither rule names nor global rules of
/// one part touch another. Nothing is scanned at the cost of a part that fails: the failure names the guilty
/// ones, and the caller compiles the others without them.
///
/// Cost: 10,000 rules take about a second; on failure each part is compiled alone as well.
pub fn compile(parts: &[Part<'_>]) -> Result<Compiled, CompileFailure> {
    match compile_parts(parts.iter().enumerate()) {
        Ok(rules) => Ok(Compiled { rules, parts: parts.len() }),
        Err(together) => {
            let blame = |(part, message)| PartFailure { part, name: parts[part].name.to_owned(), message };
            let alone =
                |(index, part)| compile_parts([(index, part)].into_iter()).err().map(|message| (index, message));
            let mut guilty: Vec<_> = parts.iter().enumerate().filter_map(alone).map(blame).collect();
            if guilty.is_empty() {
                // Each compiles, all do not: a limit of libyara. Nobody can go on with all of them.
                guilty.extend(
                    (0..parts.len()).map(|part| blame((part, format!("only together with others: {together}")))),
                );
            }
            Err(CompileFailure { parts: guilty })
        }
    }
}

fn compile_parts<'p>(parts: impl Iterator<Item = (usize, &'p Part<'p>)>) -> Result<Rules, String> {
    let mut compiler = new_compiler()?;
    for (index, part) in parts {
        for source in part.sources {
            refuse(source)?;
            let namespace = format!("{index}:{}", source.namespace);
            compiler = compiler
                .add_rules_str_with_namespace(&source.text, &namespace)
                .map_err(|error| format!("{}: {}", source.namespace, first_error(&error)))?;
        }
    }
    finish(compiler)
}

/// What would stop the process in the bindings is refused before it gets there.
fn refuse(source: &RulesetSource) -> Result<(), String> {
    if source.namespace.contains('\0') {
        return Err(format!("the namespace {:?} holds a NUL byte", source.namespace));
    }
    match rules::refusals(&source.text).first() {
        Some(problem) => Err(format!("{}: {}", source.namespace, problem.message)),
        None => Ok(()),
    }
}

/// A compiler that knows the external variables and reads no files.
pub(crate) fn new_compiler() -> Result<Compiler, String> {
    let failed = |error: yara::YaraError| format!("libyara does not start: {}", error.kind);
    let mut compiler = Compiler::new().map_err(failed)?;
    compiler.disable_include_directive();
    let FileFacts { filename, filepath, extension, file_size, known } = FileFacts::new(b"", 0);
    compiler.define_variable("filename", filename.as_c_str()).map_err(failed)?;
    compiler.define_variable("filepath", filepath.as_c_str()).map_err(failed)?;
    compiler.define_variable("extension", extension.as_c_str()).map_err(failed)?;
    compiler.define_variable("file_size", file_size).map_err(failed)?;
    compiler.define_variable("known_good", known.known_good).map_err(failed)?;
    let (package, package_version) = known.texts();
    compiler.define_variable("package", package).map_err(failed)?;
    compiler.define_variable("package_version", package_version).map_err(failed)?;
    compiler.define_variable("prevalence", known.prevalence).map_err(failed)?;
    Ok(compiler)
}

/// Ends the compilation, and makes sure that the bindings can read every rule's name, tags and metadata.
///
/// They unwrap there. During a scan that would abort the process, as the frames above are C; here it is a
/// panic like any other. `rules::refusals` should leave nothing to find.
pub(crate) fn finish(compiler: Compiler) -> Result<Rules, String> {
    let rules = compiler.compile_rules().map_err(|error| format!("libyara fails to finish: {}", error.kind))?;
    let readable = panic::catch_unwind(panic::AssertUnwindSafe(|| rules.get_rules().len()));
    readable.map_err(|_| "a rule's name, tag or metadata is not UTF-8".to_owned())?;
    Ok(rules)
}

fn first_error(error: &yara::Error) -> String {
    match error {
        yara::Error::Compile(errors) => errors
            .iter()
            .find(|error| error.level == yara::CompileErrorLevel::Error)
            .map_or_else(|| "does not compile".to_owned(), |error| format!("line {}: {}", error.line, error.message)),
        yara::Error::Io(_) | yara::Error::Yara(_) => error.to_string(),
    }
}
