//! A map that leaves out a street is worse than none: ARCHITECTURE.md names every workspace member.

use std::path::Path;

use anyhow::Result;

use crate::workspace::Workspace;

const MAP: &str = "ARCHITECTURE.md";

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let map = workspace.text(Path::new(MAP))?.unwrap_or_default();
    let folders = workspace.members().map(|member| workspace.folder(member));
    let missing = folders.filter(|folder| !shows(&map, folder));
    Ok(missing.map(|folder| format!("{MAP} does not mention `{}`", folder.display())).collect())
}

/// Whether `map` has the folder in code marks: `crates/types`, or its last name, each with or without a slash at the end.
fn shows(map: &str, folder: &Path) -> bool {
    let name = folder.file_name().map(Path::new);
    let marked = map.split('`').skip(1).step_by(2).map(|code| Path::new(code.trim_end_matches('/')));
    marked.into_iter().any(|code| code == folder || Some(code) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_shown_by_path_or_by_name() {
        assert!(shows("| `crates/types` | ids |", Path::new("crates/types")));
        assert!(shows("| `types` | ids |", Path::new("crates/types")));
        assert!(shows("the `orchestrator/` decides", Path::new("orchestrator")));
    }

    #[test]
    fn a_folder_that_is_missing_is_found() {
        assert!(!shows("types of `corpora`, all types", Path::new("crates/types")));
    }
}
