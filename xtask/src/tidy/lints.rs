//! Lints are declared once, in the root manifest; a crate that does not ask for them has none.

use anyhow::{Context, Result};

use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for member in workspace.members() {
        let manifest = workspace.folder(member).join("Cargo.toml");
        let text = workspace.text(&manifest)?.context("a manifest is not UTF-8")?;
        if !takes_workspace_lints(&text) {
            problems.push(format!("{} lacks `[lints] workspace = true`", manifest.display()));
        }
    }
    Ok(problems)
}

fn takes_workspace_lints(manifest: &str) -> bool {
    let mut table = "";
    manifest.lines().map(|line| line.split('#').next().unwrap_or(line).trim()).any(|line| {
        if line.starts_with('[') {
            table = line;
        }
        let setting: String = line.split_whitespace().collect();
        (table == "[lints]" && setting == "workspace=true") || (table.is_empty() && setting == "lints.workspace=true")
    })
}

#[cfg(test)]
mod tests {
    use super::takes_workspace_lints;

    #[test]
    fn the_usual_form_is_recognised() {
        assert!(takes_workspace_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
    }

    #[test]
    fn a_manifest_without_lints_is_found() {
        assert!(!takes_workspace_lints("[package]\nname = \"a\"\n"));
    }

    #[test]
    fn the_same_words_elsewhere_do_not_count() {
        assert!(!takes_workspace_lints("[package]\nworkspace = true\n[lints]\n# workspace = true\n"));
    }
}
