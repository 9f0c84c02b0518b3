use std::{fs, path::Path};

use tempfile::TempDir;

use crate::{LoadError, LoadedSource, Problem, Severity, load, render};

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn namespaces(sources: &[LoadedSource]) -> Vec<&str> {
    sources.iter().map(|source| &source.namespace[..]).collect()
}

/// The error's text, with the temporary folder's path left out.
fn refusal(folder: &TempDir) -> String {
    shortened(&load(folder.path()).unwrap_err(), folder.path())
}

fn shortened(error: &LoadError, folder: &Path) -> String {
    error.to_string().replace(&format!("{}/", folder.display()), "").replace(&folder.display().to_string(), "ROOT")
}

const RULE: &str = "rule r { condition: true }\n";

#[test]
fn a_folder_is_walked_and_named_by_path() {
    let folder = folder(&[
        ("b.yar", RULE),
        ("a/deep/x.yara", RULE),
        ("a/readme.md", "rule no"),
        (".git/c.yar", RULE),
        (".hidden.yar", RULE),
    ]);
    assert_eq!(namespaces(&load(folder.path()).unwrap()), ["a/deep/x", "b"]);
    assert_eq!(namespaces(&load(&folder.path().join("b.yar")).unwrap()), ["b"]);
}

#[test]
fn includes_are_put_in_place_and_lines_remember_their_file() {
    let folder = folder(&[
        (
            "index.yar",
            "// all\ninclude \"lib/one.yar\" // first\n  include \"lib/two.yar\" rule after { condition: nope }\n",
        ),
        ("lib/one.yar", "rule one { condition: true }"),
        ("lib/two.yar", "include \"three.yar\"\nrule two {\n condition: false }\n"),
        ("lib/three.yar", "rule three { condition: true }\n"),
        ("own.yar", "// include \"lib/one.yar\"\nrule own { condition: true }"),
    ]);
    let sources = load(folder.path()).unwrap();
    assert_eq!(namespaces(&sources), ["index", "own"], "included files are no sources of their own");
    let index = &sources[0];
    assert!(!index.text.contains("include \""));
    let origin_of = |what: &str| {
        let (line, _) = index.line_at(index.text.find(what).unwrap());
        let origin = index.origin(line);
        (origin.file.strip_prefix(&format!("{}/", folder.path().display())).unwrap().to_owned(), origin.line)
    };
    assert_eq!(origin_of("// all"), ("index.yar".to_owned(), 1));
    assert_eq!(origin_of("rule one"), ("lib/one.yar".to_owned(), 1));
    assert_eq!(origin_of("// first"), ("index.yar".to_owned(), 2));
    assert_eq!(origin_of("rule three"), ("lib/three.yar".to_owned(), 1));
    assert_eq!(origin_of("condition: false"), ("lib/two.yar".to_owned(), 3));
    assert_eq!(origin_of("rule after"), ("index.yar".to_owned(), 3));
    let at = index.text.find("nope").unwrap();
    let problem = Problem::at(index, Severity::Error, "x", at..at + 4);
    assert_eq!((problem.line, problem.column), (3, 49), "what stands behind an include keeps its column");
}

#[test]
fn a_missing_include_is_told_with_its_place() {
    let folder = folder(&[("a.yar", "rule r { condition: true }\n  include \"gone.yar\"")]);
    assert_eq!(refusal(&folder), "a.yar:2:11: the included file \"gone.yar\" does not exist in ROOT");
}

#[test]
fn an_error_with_a_place_is_shown_as_a_compiler_does() {
    let rendered = |folder: &TempDir| {
        let problem = load(folder.path()).unwrap_err().problem().unwrap();
        render(&[problem], false).replace(&format!("{}/", folder.path().display()), "")
    };
    let text = rendered(&folder(&[("a.yar", "// é\n  include \"gone.yar\" // x\r\n")]));
    assert!(text.starts_with("error: the included file \"gone.yar\" does not exist in"), "{text}");
    assert!(text.contains("a.yar:2:11\n"), "{text}");
    assert!(text.contains("2 |   include \"gone.yar\" // x\n  |           ^^^^^^^^^^ no such file"), "{text}");

    let text = rendered(&folder(&[("a.yar", "rule a\n a\0b\0\n")]));
    assert!(text.contains("2 |  a\u{fffd}b\u{fffd}\n  |   ^ the first NUL byte"), "{text}");
    let latin = folder(&[]);
    fs::write(latin.path().join("a.yar"), b"// caf\xe9 \xe9").unwrap();
    let text = rendered(&latin);
    assert!(text.contains("1 | // caf\u{fffd} \u{fffd}\n  |       ^ not UTF-8"), "{text}");
    assert!(load(folder(&[]).path()).unwrap_err().problem().is_none());
}

#[test]
fn an_include_cannot_leave_the_folder() {
    let outer = folder(&[("secret.yar", RULE), ("rules/a.yar", "include \"../secret.yar\""), ("rules/b.yar", RULE)]);
    let text = load(&outer.path().join("rules")).unwrap_err().to_string();
    assert!(text.contains("a.yar:1:9: the included file \"../secret.yar\" is outside"), "{text}");
    fs::write(outer.path().join("rules/a.yar"), "include \"../nowhere.yar\"").unwrap();
    assert!(load(&outer.path().join("rules")).unwrap_err().to_string().contains("is outside"));
    // Nor by a link, and a linked file elsewhere is not part of the folder.
    fs::write(outer.path().join("rules/a.yar"), "include \"link.yar\"").unwrap();
    std::os::unix::fs::symlink(outer.path().join("secret.yar"), outer.path().join("rules/link.yar")).unwrap();
    assert!(load(&outer.path().join("rules")).unwrap_err().to_string().contains("is outside"));
    fs::remove_file(outer.path().join("rules/a.yar")).unwrap();
    assert_eq!(namespaces(&load(&outer.path().join("rules")).unwrap()), ["b"]);
}

#[test]
fn circles_are_named_whoever_closes_them() {
    let folder_of_two = folder(&[("a.yar", "include \"b.yar\""), ("b.yar", "\ninclude \"a.yar\"")]);
    assert_eq!(refusal(&folder_of_two), "b.yar:2:9: files include each other in a circle: a.yar → b.yar → a.yar");
    let itself = folder(&[("a.yar", "include \"a.yar\"")]);
    assert_eq!(refusal(&itself), "a.yar:1:9: files include each other in a circle: a.yar → a.yar");
    let beside = folder(&[("ok.yar", RULE), ("x/a.yar", "include \"b.yar\""), ("x/b.yar", "include \"a.yar\"")]);
    assert!(refusal(&beside).contains("circle: x/a.yar → x/b.yar → x/a.yar"));
}

#[test]
fn includes_have_a_depth_limit() {
    let files: Vec<_> = (0..20).map(|n| (format!("f{n:02}.yar"), format!("include \"f{:02}.yar\"", n + 1))).collect();
    let mut files: Vec<_> = files.iter().map(|(name, text)| (&name[..], &text[..])).collect();
    files.push(("f20.yar", RULE));
    assert_eq!(refusal(&folder(&files)), "f16.yar:1:9: includes are nested more than 16 deep");
}

#[test]
fn includes_cannot_blow_up() {
    let files: Vec<_> =
        (0..15).map(|n| (format!("f{n:02}.yar"), format!("include \"f{:02}.yar\"\n", n + 1).repeat(100))).collect();
    let mut files: Vec<_> = files.iter().map(|(name, text)| (&name[..], &text[..])).collect();
    let big = RULE.repeat(10_000);
    files.push(("f15.yar", &big));
    assert!(refusal(&folder(&files)).contains("larger than 16 MiB"));
}

#[test]
fn texts_that_are_no_rules_are_refused() {
    assert_eq!(
        refusal(&folder(&[("a.yar", "")])),
        "ROOT holds no rules; a ruleset needs at least one rule in a .yar or .yara file"
    );
    assert!(refusal(&folder(&[("a.yar", "// rule x\nimport \"pe\"")])).contains("holds no rules"));
    assert!(refusal(&folder(&[("a.txt", RULE)])).contains("holds no rules"));
    assert_eq!(
        refusal(&folder(&[("a.yar", "rule a\n\0")])),
        "a.yar:2:1: the file holds a NUL byte, so it is not a text of rules"
    );
    let latin = folder(&[("b.yar", RULE)]);
    fs::write(latin.path().join("a.yar"), b"\n// caf\xe9").unwrap();
    assert!(refusal(&latin).starts_with("a.yar:2:7: the file is not UTF-8"));
    assert!(matches!(load(Path::new("/nowhere/at/all")).unwrap_err(), LoadError::Read { .. }));
}

#[test]
fn a_byte_order_mark_is_left_out() {
    let folder = folder(&[("a.yar", "\u{feff}rule r { condition: true }")]);
    assert!(load(folder.path()).unwrap()[0].text.starts_with("rule"));
}

#[test]
fn too_large_a_ruleset_is_refused_with_the_limit() {
    let half = format!("rule r {{ condition: true }}\n//{}", "x".repeat(9 << 20));
    assert!(refusal(&folder(&[("a.yar", &half), ("b.yar", &half)])).contains("larger than 16 MiB"));
    assert!(load(folder(&[("a.yar", &half)]).path()).is_ok());
}

#[test]
fn two_files_cannot_share_a_namespace() {
    let folder = folder(&[("a.yar", RULE), ("a.yara", RULE)]);
    assert_eq!(refusal(&folder), "a.yar and a.yara would share the namespace \"a\"; rename one of them");
}
