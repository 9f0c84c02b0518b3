//! Reads a ruleset from a file or a folder, resolving `include` as text.
//!
//! Includes are resolved here, and nowhere later: what is pushed is self-contained, and a worker never
//! reads a rule from a disk. Each line of the result remembers the file and line it came from.
//!
//! Decided here: a file that another file of the folder includes is not loaded on its own as well, or its
//! rules would run twice. So a folder with an `index.yar` that includes all others is one source. Hidden
//! files and folders are left out (`.git`, and `..data` of a mounted ConfigMap); a link to a file is
//! followed while it stays inside the folder, as ConfigMaps need it; a link to a folder is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    ops::Range,
    path::{Component, Path, PathBuf},
};

use types::{MAX_RULESET_BYTES, RulesetSource};

use crate::{
    Problem, Severity,
    lexical::{Kind, Lexeme, Lexer, inside_quotes, rule_names},
};

/// Includes may be nested this deep, as in libyara.
pub const MAX_INCLUDE_DEPTH: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("failed to read {path}")]
    Read { path: String, source: io::Error },
    #[error("{path} is neither a file nor a folder")]
    NotFileOrFolder { path: String },
    #[error("{place}: the file is not UTF-8; save it as UTF-8, and write other bytes as \\x escapes")]
    NotUtf8 { place: Box<Place> },
    #[error("{place}: the file holds a NUL byte, so it is not a text of rules")]
    NulByte { place: Box<Place> },
    #[error("the name of {path} is not UTF-8; rename it, it becomes a namespace")]
    Name { path: String },
    #[error("{first} and {second} would share the namespace {namespace:?}; rename one of them")]
    SharedNamespace { namespace: String, first: String, second: String },
    #[error("{place}: the included file {name:?} does not exist in {folder}")]
    IncludeMissing { place: Box<Place>, name: String, folder: String },
    #[error("{place}: the included file {name:?} is outside of the ruleset's folder {root}")]
    IncludeOutside { place: Box<Place>, name: String, root: String },
    #[error("{place}: files include each other in a circle: {chain}")]
    IncludeCycle { place: Box<Place>, chain: String },
    #[error("{place}: includes are nested more than {MAX_INCLUDE_DEPTH} deep")]
    IncludeDepth { place: Box<Place> },
    #[error("{path} holds no rules; a ruleset needs at least one rule in a .yar or .yara file")]
    Empty { path: String },
    #[error("{path} is larger than {} MiB with its includes, the limit for a ruleset", MAX_RULESET_BYTES >> 20)]
    TooLarge { path: String },
}

impl LoadError {
    /// The error with the line it is about, when it has a place in a file.
    pub fn problem(&self) -> Option<Problem> {
        let (place, label) = match self {
            Self::NotUtf8 { place } => (place, "not UTF-8 from here on"),
            Self::NulByte { place } => (place, "the first NUL byte"),
            Self::IncludeMissing { place, .. } => (place, "no such file"),
            Self::IncludeOutside { place, .. } => (place, "outside of the folder"),
            Self::IncludeCycle { place, .. } => (place, "closes the circle"),
            Self::IncludeDepth { place } => (place, "one too deep"),
            Self::Read { .. }
            | Self::NotFileOrFolder { .. }
            | Self::Name { .. }
            | Self::SharedNamespace { .. }
            | Self::Empty { .. }
            | Self::TooLarge { .. } => return None,
        };
        let text = self.to_string();
        // The place is shown with the line, so the message goes without.
        let message = text.strip_prefix(&format!("{place}: ")).unwrap_or(&text);
        let mut line = Expanded { files: vec![place.file.clone()], ..Expanded::default() };
        line.push(&place.text, 0, place.line);
        let source = line.finish(String::new());
        Some(Problem::at(&source, Severity::Error, message, place.mark.clone()).with_label(label))
    }
}

/// A place in a file, with the line it is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    file: String,
    /// From 1.
    line: usize,
    /// The line without its end.
    text: String,
    /// Bytes of the line that are meant.
    mark: Range<usize>,
}

impl Place {
    /// Where a range of a file's text is; one that leaves its line is cut there.
    fn of(file: &str, text: &str, range: Range<usize>) -> Self {
        let before = &text[..range.start];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let end = text[range.start..].find('\n').map_or(text.len(), |at| range.start + at);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            text: text[start..end].trim_end_matches('\r').to_owned(),
            mark: range.start - start..range.end.min(end) - start,
        }
    }
}

/// `file:line:column`, the column from 1 in characters.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, text, mark } = self;
        let before = text.get(..mark.start).unwrap_or(text);
        write!(f, "{file}:{line}:{}", before.chars().count() + 1)
    }
}

/// One source with its includes resolved, and where each of its lines came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadedSource {
    /// Path below the loaded folder without extension, `/`-separated; for a single file its name without extension.
    pub namespace: String,
    pub text: String,
    files: Vec<String>,
    lines: Vec<Line>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    /// Byte offset in the expanded text.
    start: usize,
    /// Index into the source's files.
    file: usize,
    /// From 1, in that file.
    number: usize,
}

/// Where a line was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin<'a> {
    pub file: &'a str,
    /// From 1.
    pub line: usize,
}

impl LoadedSource {
    /// A source that was not loaded from files: its lines are those of its text, its file is its namespace.
    pub fn plain(source: &RulesetSource) -> Self {
        let mut expanded = Expanded::default();
        expanded.files.push(format!("{}.yar", source.namespace));
        expanded.push(&source.text, 0, 1);
        expanded.finish(source.namespace.clone())
    }

    /// Where the given line of the expanded text, from 1, was written. Lines past the end are the last one.
    pub fn origin(&self, line: usize) -> Origin<'_> {
        let line = &self.lines[self.clamp(line)];
        Origin { file: &self.files[line.file], line: line.number }
    }

    /// The given line of the expanded text, from 1, without its end.
    pub fn line(&self, line: usize) -> &str {
        let index = self.clamp(line);
        let end = self.lines.get(index + 1).map_or(self.text.len(), |next| next.start);
        self.text[self.lines[index].start..end].trim_end_matches(['\n', '\r'])
    }

    /// Number, from 1, and start of the line that holds a byte of the expanded text.
    pub fn line_at(&self, byte: usize) -> (usize, usize) {
        let number = self.lines.partition_point(|line| line.start <= byte).max(1);
        (number, self.lines[number - 1].start)
    }

    pub fn line_start(&self, line: usize) -> usize {
        self.lines[self.clamp(line)].start
    }

    pub fn into_source(self) -> RulesetSource {
        RulesetSource { namespace: self.namespace, text: self.text }
    }

    fn clamp(&self, line: usize) -> usize {
        line.clamp(1, self.lines.len()) - 1
    }
}

/// Loads a `.yar` or `.yara` file, or all of them in a folder and below it, in order of namespace.
///
/// Nothing is parsed here: what comes back may still be wrong. No source holds an include any more.
/// Cost: each file is read once, and expanded once for each source it ends up in.
pub fn load(path: &Path) -> Result<Vec<LoadedSource>, LoadError> {
    let metadata = fs::metadata(path).map_err(|source| LoadError::Read { path: shown(path), source })?;
    let (root, found) = if metadata.is_dir() {
        let mut found = Vec::new();
        walk(path, &mut found)?;
        (path.to_owned(), found)
    } else if metadata.is_file() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        (folder.to_owned(), vec![path.to_owned()])
    } else {
        return Err(LoadError::NotFileOrFolder { path: shown(path) });
    };
    // Beside a link to a single file its target counts: that is where the included files are.
    let canonical_root = if metadata.is_dir() {
        canonical(&root)?
    } else {
        canonical(path)?.parent().map_or_else(PathBuf::new, Path::to_owned)
    };
    let mut loader = Loader { root, canonical_root, files: BTreeMap::new() };
    let sources = loader.load_all(&found)?;
    let bytes: usize = sources.iter().map(|source| source.text.len()).sum();
    if bytes > MAX_RULESET_BYTES {
        return Err(LoadError::TooLarge { path: shown(path) });
    }
    if sources.iter().all(|source| rule_names(&source.text).is_empty()) {
        return Err(LoadError::Empty { path: shown(path) });
    }
    Ok(sources)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn canonical(path: &Path) -> Result<PathBuf, LoadError> {
    path.canonicalize().map_err(|source| LoadError::Read { path: shown(path), source })
}

/// Collects the rule files below a folder, sorted by path.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), LoadError> {
    let failed = |source| LoadError::Read { path: shown(folder), source };
    let mut entries = fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            walk(&path, found)?;
        } else if is_rule_file(&path) && fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            found.push(path);
        }
    }
    Ok(())
}

fn is_rule_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yar" || extension == "yara")
}

struct Loader {
    root: PathBuf,
    canonical_root: PathBuf,
    /// What was read, by canonical path.
    files: BTreeMap<PathBuf, File>,
}

#[derive(Clone)]
struct File {
    /// As the user would name it.
    shown: String,
    text: String,
    includes: Vec<Include>,
}

#[derive(Clone)]
struct Include {
    /// From the keyword to behind the name.
    range: Range<usize>,
    /// The name with its quotes.
    quoted: Range<usize>,
    name: String,
}

impl Loader {
    fn load_all(&mut self, found: &[PathBuf]) -> Result<Vec<LoadedSource>, LoadError> {
        let mut own = Vec::new();
        for path in found {
            let key = canonical(path)?;
            // A link to a file elsewhere is no part of this folder.
            if key.starts_with(&self.canonical_root) {
                self.read(&key, path)?;
                own.push((key, path));
            }
        }
        let included = self.included_keys(own.iter().map(|(key, _)| key))?;
        let mut sources: BTreeMap<String, (String, LoadedSource)> = BTreeMap::new();
        let mut reached = BTreeSet::new();
        for (key, path) in own.iter().filter(|(key, _)| !included.contains(key)) {
            let namespace = self.namespace(path)?;
            let loaded = self.expand(key, &mut reached)?.finish(namespace.clone());
            if let Some((first, _)) = sources.get(&namespace) {
                let (first, second) = (first.clone(), shown(path));
                return Err(LoadError::SharedNamespace { namespace, first, second });
            }
            sources.insert(namespace, (shown(path), loaded));
        }
        // Files that only include each other are included by all, so nobody expanded them: tell the circle.
        if let Some((key, _)) = own.iter().find(|(key, _)| !reached.contains(key)) {
            self.expand(key, &mut reached)?;
        }
        Ok(sources.into_values().map(|(_, source)| source).collect())
    }

    fn namespace(&self, path: &Path) -> Result<String, LoadError> {
        let below = path.strip_prefix(&self.root).unwrap_or(path).with_extension("");
        let parts: Option<Vec<_>> = below
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .map(|part| part.as_os_str().to_str())
            .collect();
        Ok(parts.ok_or_else(|| LoadError::Name { path: shown(path) })?.join("/"))
    }

    /// Canonical paths of all files that are included, directly or not, by a file other than themselves.
    fn included_keys<'a>(&mut self, own: impl Iterator<Item = &'a PathBuf>) -> Result<BTreeSet<PathBuf>, LoadError> {
        let mut included = BTreeSet::new();
        let mut open: Vec<PathBuf> = own.cloned().collect();
        let mut seen: BTreeSet<PathBuf> = open.iter().cloned().collect();
        while let Some(key) = open.pop() {
            for include in self.files[&key].includes.clone() {
                let target = self.resolve(&key, &include)?;
                if seen.insert(target.clone()) {
                    open.push(target.clone());
                }
                if target != key {
                    included.insert(target);
                }
            }
        }
        Ok(included)
    }

    /// Finds and reads the file an include names. It is looked for beside the including file.
    fn resolve(&mut self, key: &Path, include: &Include) -> Result<PathBuf, LoadError> {
        let file = &self.files[key];
        let place = place(file, include);
        let folder = key.parent().unwrap_or(&self.canonical_root).to_owned();
        let path = folder.join(&include.name);
        let name = include.name.clone();
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Whether it would lie outside is what the user should know first; it cannot be asked of the disk.
                let outside = !lexically_normal(&path).starts_with(&self.canonical_root);
                return Err(if outside {
                    LoadError::IncludeOutside { place, name, root: shown(&self.root) }
                } else {
                    LoadError::IncludeMissing { place, name, folder: self.shown_key(&folder) }
                });
            }
            Err(source) => return Err(LoadError::Read { path: shown(&path), source }),
        };
        if !target.starts_with(&self.canonical_root) {
            return Err(LoadError::IncludeOutside { place, name, root: shown(&self.root) });
        }
        if !target.is_file() {
            return Err(LoadError::IncludeMissing { place, name, folder: self.shown_key(&folder) });
        }
        let as_user_names_it = PathBuf::from(self.shown_key(&target));
        self.read(&target, &as_user_names_it)?;
        Ok(target)
    }

    fn shown_key(&self, key: &Path) -> String {
        match key.strip_prefix(&self.canonical_root) {
            Ok(below) if below.as_os_str().is_empty() => shown(&self.root),
            Ok(below) if self.root == Path::new(".") => shown(below),
            Ok(below) => shown(&self.root.join(below)),
            Err(_) => shown(key),
        }
    }

    fn read(&mut self, key: &Path, path: &Path) -> Result<(), LoadError> {
        if self.files.contains_key(key) {
            return Ok(());
        }
        let path = shown(path);
        let failed = |source| LoadError::Read { path: path.clone(), source };
        let metadata = fs::metadata(key).map_err(failed)?;
        if metadata.len() > MAX_RULESET_BYTES as u64 {
            return Err(LoadError::TooLarge { path });
        }
        let bytes = fs::read(key).map_err(failed)?;
        if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
            return Err(LoadError::NulByte { place: byte_place(&path, &bytes, at) });
        }
        let text = match std::str::from_utf8(&bytes) {
            // Editors on Windows put a byte order mark first, libyara refuses it.
            Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
            Err(error) => return Err(LoadError::NotUtf8 { place: byte_place(&path, &bytes, error.valid_up_to()) }),
        };
        let includes = includes(&text);
        self.files.insert(key.to_owned(), File { shown: path, text, includes });
        Ok(())
    }

    fn expand(&mut self, key: &Path, reached: &mut BTreeSet<PathBuf>) -> Result<Expanded, LoadError> {
        let mut expanded = Expanded::default();
        self.expand_into(&mut expanded, &mut vec![key.to_owned()], reached)?;
        Ok(expanded)
    }

    /// Appends the last file of the chain. Recursion is bounded by [`MAX_INCLUDE_DEPTH`].
    fn expand_into(
        &mut self,
        expanded: &mut Expanded,
        chain: &mut Vec<PathBuf>,
        reached: &mut BTreeSet<PathBuf>,
    ) -> Result<(), LoadError> {
        let key = chain[chain.len() - 1].clone();
        reached.insert(key.clone());
        let file = self.files[&key].clone();
        let index = expanded.files.len();
        expanded.files.push(file.shown.clone());
        let mut done = 0;
        for include in &file.includes {
            expanded.push_part(&file.text, done..include.range.start, index);
            done = include.range.end;
            let target = self.resolve(&key, include)?;
            let place = place(&file, include);
            if let Some(first) = chain.iter().position(|earlier| *earlier == target) {
                let names: Vec<_> = chain[first..].iter().chain([&target]).map(|key| self.shown_key(key)).collect();
                return Err(LoadError::IncludeCycle { place, chain: names.join(" → ") });
            }
            if chain.len() > MAX_INCLUDE_DEPTH {
                return Err(LoadError::IncludeDepth { place });
            }
            chain.push(target);
            self.expand_into(expanded, chain, reached)?;
            chain.pop();
        }
        expanded.push_part(&file.text, done..file.text.len(), index);
        if expanded.text.len() > MAX_RULESET_BYTES {
            return Err(LoadError::TooLarge { path: self.shown_key(&chain[0]) });
        }
        Ok(())
    }
}

/// A path without `.` and `..`, worked out without asking the disk.
fn lexically_normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

fn includes(text: &str) -> Vec<Include> {
    let mut includes = Vec::new();
    let mut keyword: Option<Range<usize>> = None;
    for Lexeme { kind, range } in Lexer::new(text) {
        if let (Some(keyword), Kind::Quoted) = (&keyword, kind) {
            let name = inside_quotes(&text[range.clone()]).to_owned();
            includes.push(Include { range: keyword.start..range.end, quoted: range.clone(), name });
        }
        keyword = (kind == Kind::Word && &text[range.clone()] == "include").then_some(range);
    }
    includes
}

fn place(file: &File, include: &Include) -> Box<Place> {
    Box::new(Place::of(&file.shown, &file.text, include.quoted.clone()))
}

/// The place of a byte that makes a file no text. What cannot be shown of its line is replaced.
fn byte_place(file: &str, bytes: &[u8], at: usize) -> Box<Place> {
    let before = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length);
    let mark = before.len()..before.len() + 1;
    let text = before + &String::from_utf8_lossy(&bytes[at..end]);
    let place = Place::of(file, &text, mark);
    // A NUL would vanish on a terminal. The replacement is longer, and so may the mark be: it is cut to characters.
    Box::new(Place {
        text: place.text.replace('\0', "\u{fffd}"),
        mark: place.mark.start..place.mark.start + 3,
        ..place
    })
}

/// A text being put together, with its line map.
#[derive(Default)]
struct Expanded {
    text: String,
    files: Vec<String>,
    lines: Vec<Line>,
}

impl Expanded {
    /// Appends a part of a file. What stands behind an include keeps its column, by blanks put before it.
    fn push_part(&mut self, text: &str, part: Range<usize>, file: usize) {
        if part.is_empty() {
            return;
        }
        let before = &text[..part.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let number = before.matches('\n').count() + 1;
        let rest = &text[part];
        // Only blanks up to the line's end: nothing to keep in its column.
        let rest = if part_starts_with_line_end(rest) && line_start < before.len() {
            rest.split_once('\n').map_or("", |(_, rest)| rest)
        } else {
            let blanks = before[line_start..].chars().count();
            let padded = " ".repeat(blanks) + rest;
            self.push(&padded, file, number);
            return;
        };
        self.push(rest, file, number + 1);
    }

    /// Appends text whose first line is line `number` of its file, starting a new line if one is open.
    fn push(&mut self, text: &str, file: usize, number: usize) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        for (index, line) in text.split_inclusive('\n').enumerate() {
            self.lines.push(Line { start: self.text.len(), file, number: number + index });
            self.text.push_str(line);
        }
    }

    fn finish(mut self, namespace: String) -> LoadedSource {
        if self.lines.is_empty() {
            self.lines.push(Line { start: 0, file: 0, number: 1 });
        }
        LoadedSource { namespace, text: self.text, files: self.files, lines: self.lines }
    }
}

fn part_starts_with_line_end(part: &str) -> bool {
    part.trim_start_matches([' ', '\t', '\r']).starts_with('\n')
}
