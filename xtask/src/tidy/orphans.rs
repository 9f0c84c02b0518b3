//! A source file that no `mod` leads to is never compiled: it looks like code and is none.
//!
//! `#[path]` is not followed on purpose: a file should be where its module's name says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::fuzz;
use crate::tidy::code::without_comments_and_literals;
use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut sources = BTreeMap::new();
    for file in workspace.files()? {
        if file.extension().is_some_and(|extension| extension == "rs") {
            let text = workspace.text(&file)?.unwrap_or_default();
            sources.insert(file, text);
        }
    }
    let fuzz = Workspace::load_beside(fuzz::MANIFEST)?;
    let roots =
        workspace.members().chain(fuzz.members()).flat_map(|package| &package.targets).map(|target| {
            target.src_path.strip_prefix(&workspace.workspace_root).unwrap_or(&target.src_path).to_owned()
        });
    let orphans = orphans(roots.collect(), &sources);
    Ok(orphans.iter().map(|file| format!("no `mod` leads to {}", file.display())).collect())
}

/// The `sources` that cannot be reached from `roots`, the root files of libraries, binaries, tests and build scripts.
fn orphans(roots: Vec<PathBuf>, sources: &BTreeMap<PathBuf, String>) -> Vec<&Path> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<(PathBuf, bool)> = roots.into_iter().map(|root| (root, true)).collect();
    while let Some((file, is_root)) = next.pop() {
        let Some(source) = sources.get(&file) else { continue };
        let folder = folder_of_children(&file, is_root);
        if reached.insert(file) {
            let children = declared_modules(source).into_iter().flat_map(|module| candidates(&folder, &module));
            next.extend(children.map(|child| (child, false)));
        }
    }
    sources.keys().filter(|file| !reached.contains(*file)).map(PathBuf::as_path).collect()
}

/// Modules of a root or of a `mod.rs` are its neighbours; those of `a.rs` are in `a/`.
fn folder_of_children(file: &Path, is_root: bool) -> PathBuf {
    if is_root || file.ends_with("mod.rs") {
        file.parent().unwrap_or(Path::new("")).to_owned()
    } else {
        file.with_extension("")
    }
}

fn candidates(folder: &Path, module: &[String]) -> [PathBuf; 2] {
    let path: PathBuf = folder.join(module.iter().collect::<PathBuf>());
    [path.with_extension("rs"), path.join("mod.rs")]
}

/// The modules that `source` declares as files, each as its path of names: `["a"]` for `mod a;`, and `["a", "b"]` for
/// `mod a { mod b; }`.
fn declared_modules(source: &str) -> Vec<Vec<String>> {
    let code = without_comments_and_literals(source);
    let tokens = tokens(&code);
    let mut declared = Vec::new();
    let mut open: Vec<Option<&str>> = Vec::new(); // one for each open brace: the inline module it opened, if it did
    for (at, token) in tokens.iter().enumerate() {
        let opened_by = || (at >= 2 && tokens[at - 2] == "mod").then(|| tokens[at - 1]);
        match *token {
            "{" => open.push(opened_by()),
            "}" => _ = open.pop(),
            ";" => declared.extend(opened_by().map(|name| path(&open, name))),
            _other => {}
        }
    }
    declared
}

fn path(open: &[Option<&str>], name: &str) -> Vec<String> {
    open.iter().flatten().chain([&name]).map(|part| part.trim_start_matches("r#").to_owned()).collect()
}

/// Words (with `r#` in front, if it is) and single marks.
fn tokens(code: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '#';
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_mod_is_an_orphan() {
        let sources = sources(&[("src/lib.rs", "mod kept;"), ("src/kept.rs", ""), ("src/forgotten.rs", "")]);
        assert_eq!(orphans_of(&sources), ["src/forgotten.rs"]);
    }

    #[test]
    fn a_mod_in_a_comment_or_a_string_leads_nowhere() {
        let sources =
            sources(&[("src/lib.rs", "// mod a;\nconst S: &str = \"mod b;\";"), ("src/a.rs", ""), ("src/b.rs", "")]);
        assert_eq!(orphans_of(&sources), ["src/a.rs", "src/b.rs"]);
    }

    #[test]
    fn children_live_beside_roots_and_below_others() {
        let sources = sources(&[
            ("src/lib.rs", "pub mod a;\n#[cfg(test)]\nmod tests;"),
            ("src/a.rs", "pub(crate) mod b;"),
            ("src/a/b.rs", ""),
            ("src/tests/mod.rs", "mod story;"),
            ("src/tests/story.rs", ""),
        ]);
        assert_eq!(orphans_of(&sources), [""; 0]);
    }

    #[test]
    fn an_inline_module_adds_a_folder() {
        let sources = sources(&[("src/lib.rs", "mod a { fn f() {} mod b; }"), ("src/a/b.rs", ""), ("src/b.rs", "")]);
        assert_eq!(orphans_of(&sources), ["src/b.rs"]);
    }

    fn sources(files: &[(&str, &str)]) -> BTreeMap<PathBuf, String> {
        files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect()
    }

    fn orphans_of(sources: &BTreeMap<PathBuf, String>) -> Vec<&str> {
        let orphans = orphans(vec![PathBuf::from("src/lib.rs")], sources);
        orphans.into_iter().map(|path| path.to_str().unwrap()).collect()
    }
}
