//! A shell script with a broken line fails only when it gets there; its shell can tell before.

use std::path::Path;

use anyhow::Result;

use crate::process::program;
use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in workspace.files()? {
        let Some(text) = workspace.text(&file)? else { continue };
        if let Some(shell) = shell_of(&file, &text) {
            let complaint = complaint(shell, &workspace.workspace_root.join(&file))?;
            problems.extend(complaint.map(|complaint| format!("{shell} cannot read {}: {complaint}", file.display())));
        }
    }
    Ok(problems)
}

/// The shell that a script names in its first line; `bash` for an `.sh` file that names none.
fn shell_of(file: &Path, text: &str) -> Option<&'static str> {
    let first_line = text.lines().next().unwrap_or_default();
    let interpreter = first_line.strip_prefix("#!").and_then(|line| line.split(['/', ' ']).next_back());
    match interpreter {
        Some("sh" | "dash") => Some("sh"),
        Some("bash") => Some("bash"),
        Some(_other) => None,
        None => file.extension().is_some_and(|extension| extension == "sh").then_some("bash"),
    }
}

fn complaint(shell: &str, script: &Path) -> Result<Option<String>> {
    program(shell, &["-n", &script.to_string_lossy()]).complaint()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_known_by_their_first_line_or_their_name() {
        assert_eq!(shell_of(Path::new(".ci/run"), "#!/usr/bin/env bash\n"), Some("bash"));
        assert_eq!(shell_of(Path::new("install"), "#!/bin/sh\n"), Some("sh"));
        assert_eq!(shell_of(Path::new("tools/setup.sh"), "echo"), Some("bash"));
        assert_eq!(shell_of(Path::new("README.md"), "# Dragnet"), None);
    }

    #[test]
    fn a_script_with_an_open_if_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("broken.sh");
        std::fs::write(&script, "if true; then\n").unwrap();
        assert!(complaint("bash", &script).unwrap().is_some());

        std::fs::write(&script, "if true; then echo; fi\n").unwrap();
        assert_eq!(complaint("bash", &script).unwrap(), None);
    }
}
