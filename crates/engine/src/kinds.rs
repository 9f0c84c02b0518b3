//! One program per kind of file, so that a file is only scanned for what could match it, and only if something could.

use std::{collections::BTreeMap, fs::File, os::unix::fs::FileExt, time::Duration};

use rules::{ByKind, KindSources};
use types::FileKind;

use crate::{
    CompileFailure, Compiled, FileFacts, Hit, Part, PartFailure, ScanError, Scanner, compile, prefilter::Prefilter,
};

/// [`Part`] with sources per kind of file.
#[derive(Clone, Copy, Debug)]
pub struct KindPart<'a> {
    /// Who is named when it does not compile.
    pub name: &'a str,
    pub sources: &'a KindSources,
}

/// The programs of some parts. Kinds for which the parts have the same sources share one.
#[derive(Debug)]
pub struct KindCompiled {
    /// None where no rule could match: such files need not be scanned at all.
    programs: Vec<Option<Program>>,
    /// Index into `programs`.
    of: ByKind<usize>,
}

#[derive(Debug)]
struct Program {
    compiled: Compiled,
    /// None: every file must be scanned.
    prefilter: Option<Prefilter>,
}

impl Program {
    fn scanner(&self) -> Result<ProgramScanner<'_>, ScanError> {
        Ok(ProgramScanner { scanner: self.compiled.scanner()?, prefilter: self.prefilter.as_ref() })
    }
}

/// Compiles parts into as few programs as serve all kinds of files; see [`compile`].
///
/// Errors: a part is named once, whatever the number of programs that it does not compile in.
pub fn compile_kinds(parts: &[KindPart<'_>]) -> Result<KindCompiled, CompileFailure> {
    let (kinds, of) = rules::programs_of(parts.iter().map(|part| part.sources));
    let mut programs = Vec::with_capacity(kinds.len());
    let mut guilty: BTreeMap<usize, PartFailure> = BTreeMap::new();
    for kind in kinds {
        let of_kind: Vec<_> =
            parts.iter().map(|part| Part { name: part.name, sources: part.sources.get(kind) }).collect();
        if of_kind.iter().all(|part| part.sources.is_empty()) {
            programs.push(None);
            continue;
        }
        match compile(&of_kind) {
            Ok(compiled) => {
                let literals = rules::literals_of(parts.iter().map(|part| part.sources), kind);
                programs.push(Some(Program { compiled, prefilter: literals.as_ref().and_then(Prefilter::new) }));
            }
            Err(failure) => {
                for failed in failure.parts {
                    guilty.entry(failed.part).or_insert(failed);
                }
            }
        }
    }
    if guilty.is_empty() {
        Ok(KindCompiled { programs, of })
    } else {
        Err(CompileFailure { parts: guilty.into_values().collect() })
    }
}

impl KindCompiled {
    /// A scanner over these programs; see [`Compiled::scanner`].
    pub fn scanner(&self) -> Result<KindScanner<'_>, ScanError> {
        let scanners = self.programs.iter().map(|program| program.as_ref().map(Program::scanner).transpose());
        let scanners = scanners.collect::<Result<_, _>>()?;
        Ok(KindScanner { scanners, of: self.of, buffer: Vec::new() })
    }

    /// How many programs there are.
    pub fn programs(&self) -> usize {
        self.programs.len()
    }
}

/// Scans each file with the program of its kind, unless it surely holds nothing that the program finds.
#[derive(Debug)]
pub struct KindScanner<'c> {
    scanners: Vec<Option<ProgramScanner<'c>>>,
    /// Index into `scanners`.
    of: ByKind<usize>,
    /// Of pieces of files.
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct ProgramScanner<'c> {
    scanner: Scanner<'c>,
    prefilter: Option<&'c Prefilter>,
}

impl KindScanner<'_> {
    /// See [`Scanner::scan_mem`].
    pub fn scan_mem(&mut self, bytes: &[u8], facts: &FileFacts, timeout: Duration) -> Result<Vec<Hit>, ScanError> {
        match &mut self.scanners[*self.of.get(FileKind::of(bytes))] {
            Some(program) if program.prefilter.is_none_or(|prefilter| prefilter.admits(bytes)) => {
                program.scanner.scan_mem(bytes, facts, timeout)
            }
            Some(_) | None => Ok(Vec::new()),
        }
    }

    /// See [`Scanner::scan_fd`].
    pub fn scan_fd(&mut self, file: &File, facts: &FileFacts, timeout: Duration) -> Result<Vec<Hit>, ScanError> {
        let kind = if self.scanners.len() > 1 { kind_of(file)? } else { FileKind::Other };
        let Some(ProgramScanner { scanner, prefilter }) = &mut self.scanners[*self.of.get(kind)] else {
            return Ok(Vec::new());
        };
        let left = match prefilter {
            Some(prefilter) => prefilter.admits_file(file, &mut self.buffer, timeout)?,
            None => Some(timeout),
        };
        left.map_or(Ok(Vec::new()), |left| scanner.scan_fd(file, facts, left))
    }
}

fn kind_of(file: &File) -> Result<FileKind, ScanError> {
    let mut first = [0; FileKind::LOOKS_AT];
    let mut read = 0;
    while read < first.len() {
        match file.read_at(&mut first[read..], read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Err(ScanError::Unreadable),
        }
    }
    Ok(FileKind::of(&first[..read]))
}
