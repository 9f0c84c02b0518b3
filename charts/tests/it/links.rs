//! Documentation leads somewhere: every relative link, and every path that a command names.

use std::fs;
use std::path::{Path, PathBuf};

use charts::files_below;
use testcluster::Place;

fn pages() -> Vec<PathBuf> {
    let root = Place::find().unwrap().repository().to_owned();
    let mut pages: Vec<PathBuf> = ["docs", "charts", "examples"]
        .iter()
        .flat_map(|folder| files_below(&root.join(folder), "md").unwrap())
        .collect();
    pages.push(root.join("README.md"));
    pages
}

/// `[text](target)`: the targets that are files of this repository, without the part after `#`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://"))
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty())
}

#[test]
fn every_link_leads_to_a_file() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in links(&text) {
            seen += 1;
            if !page.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
    assert!(seen > 30, "only {seen} links");
}

#[test]
fn commands_name_charts_and_examples_that_are_there() {
    let root = Place::find().unwrap().repository().to_owned();
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let commands = text
            .lines()
            .filter(|line| ["helm ", "kubectl "].iter().any(|program| line.trim_start().starts_with(program)));
        for word in commands.flat_map(|line| line.split_whitespace()) {
            if ["charts/", "examples/"].iter().any(|folder| word.starts_with(folder)) {
                assert!(Path::new(&root).join(word).exists(), "{}: {word}", page.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 8, "only {seen} paths");
}
