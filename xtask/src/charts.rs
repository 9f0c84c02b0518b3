//! What is made of other files in this repository, so that nobody writes it twice: the chart of custom resources, the tables
//! in the charts' READMEs, and the reference of every field.
//!
//! ```text
//! crates/crd ─► crds/*.yaml ─┬─► charts/dragnet-crds/templates/*.yaml
//!                            └─► docs/custom-resources.md (with conditions and their reasons)
//! charts/*/values.yaml ────────► charts/*/README.md (the part between two marks)
//! ```

mod conditions;
mod definitions;
mod reference;
mod values;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace::Workspace;

const DEFINITIONS: &str = "crds";
const CHARTS: &[&str] = &["charts/dragnet", "charts/dragnet-crds"];
const TEMPLATES: &str = "charts/dragnet-crds/templates";
const CONDITIONS: &str = "crates/crd/src/conditions.rs";
const REFERENCE: &str = "docs/custom-resources.md";

/// A file that is made here, as it should be.
struct Made {
    path: PathBuf,
    text: String,
}

/// Writes every file that is not as it should be, and removes templates of kinds that are gone.
pub(crate) fn write(root: &Path) -> Result<()> {
    for made in all(root)? {
        let path = root.join(&made.path);
        if fs::read_to_string(&path).ok().as_ref() != Some(&made.text) {
            fs::write(&path, &made.text).with_context(|| format!("failed to write {}", made.path.display()))?;
        }
    }
    for path in left_over(root)? {
        fs::remove_file(root.join(&path)).with_context(|| format!("failed to remove {}", path.display()))?;
    }
    Ok(())
}

/// For `tidy`.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let root = &workspace.workspace_root;
    let stale = all(root)?
        .into_iter()
        .filter(|made| fs::read_to_string(root.join(&made.path)).ok().as_ref() != Some(&made.text));
    let mut problems: Vec<String> =
        stale.map(|made| format!("{} is not current; run `cargo xtask fix`", made.path.display())).collect();
    let left_over = left_over(root)?;
    problems.extend(
        left_over.iter().map(|path| format!("{} is of a kind that is gone; run `cargo xtask fix`", path.display())),
    );
    Ok(problems)
}

fn all(root: &Path) -> Result<Vec<Made>> {
    let definitions = definitions::read(&root.join(DEFINITIONS))?;
    let mut made = Vec::new();
    for definition in &definitions {
        let path = Path::new(TEMPLATES).join(&definition.file_name);
        made.push(Made { path, text: definition.template()? });
    }
    let source = fs::read_to_string(root.join(CONDITIONS)).with_context(|| format!("failed to read {CONDITIONS}"))?;
    let text = reference::page(&definitions)? + &conditions::sections(&source)?;
    made.push(Made { path: PathBuf::from(REFERENCE), text });
    for chart in CHARTS {
        let path = Path::new(chart).join("README.md");
        let text = |name: &str| {
            let path = root.join(chart).join(name);
            fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
        };
        made.push(Made { path, text: values::into_readme(&text("README.md")?, &text("values.yaml")?)? });
    }
    Ok(made)
}

/// Templates without a definition, as paths below the root.
fn left_over(root: &Path) -> Result<Vec<PathBuf>> {
    let definitions = definitions::read(&root.join(DEFINITIONS))?;
    let known: Vec<String> = definitions.into_iter().map(|definition| definition.file_name).collect();
    let mut left_over = Vec::new();
    for entry in fs::read_dir(root.join(TEMPLATES)).with_context(|| format!("failed to list {TEMPLATES}"))? {
        let name = entry.with_context(|| format!("failed to list {TEMPLATES}"))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if name.ends_with(".yaml") && !known.contains(&name) {
            left_over.push(Path::new(TEMPLATES).join(name));
        }
    }
    left_over.sort();
    Ok(left_over)
}
