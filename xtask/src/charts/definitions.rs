//! Custom resource definitions as files, and as templates of a chart that keeps them when it is uninstalled.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// One file of `crds/`.
pub(super) struct Definition {
    /// Of its file and of its template: `dragnet.dev_corpora.yaml`
    pub(super) file_name: String,
    /// `corpora.dragnet.dev`
    name: String,
    pub(super) content: Value,
    /// From the line `spec:` on, as it is in the file.
    spec: String,
}

/// All files of `folder`, by name.
pub(super) fn read(folder: &Path) -> Result<Vec<Definition>> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.with_context(|| format!("failed to list {}", folder.display()))?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    let mut definitions = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        definitions
            .push(Definition::parse(&name, &text).with_context(|| format!("{} is no definition", path.display()))?);
    }
    Ok(definitions)
}

impl Definition {
    fn parse(file_name: &str, text: &str) -> Result<Self> {
        let content: Value = yaml_serde::from_str(text).context("no YAML")?;
        ensure!(content["kind"] == "CustomResourceDefinition", "its kind is {}", content["kind"]);
        let name = content["metadata"]["name"].as_str().context("it has no name")?.to_owned();
        let (_head, spec) = text.split_once("\nspec:\n").context("it has no line `spec:`")?;
        Ok(Self { file_name: file_name.to_owned(), name, content, spec: format!("spec:\n{spec}") })
    }

    pub(super) fn template(&self) -> Result<String> {
        // What looks like a template would be run as one.
        ensure!(!self.spec.contains("{{"), "{} has `{{{{` in it, which Helm would take for its own", self.name);
        Ok(format!(
            "{{{{- /* Made of crds/{file_name} by `cargo xtask fix`; not to be edited. */ -}}}}
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: {name}
  {{{{- include \"dragnet-crds.metadata\" . | nindent 2 }}}}
{spec}",
            file_name = self.file_name,
            name = self.name,
            spec = self.spec
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORPORA: &str = "# Generated\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  \
                           name: corpora.dragnet.dev\nspec:\n  group: dragnet.dev\n";

    #[test]
    fn a_template_has_the_definitions_spec_and_metadata_of_the_chart() {
        let template = Definition::parse("corpora.yaml", CORPORA).unwrap().template().unwrap();
        assert!(template.ends_with("nindent 2 }}\nspec:\n  group: dragnet.dev\n"), "{template}");
        assert!(template.contains("\n  name: corpora.dragnet.dev\n"), "{template}");
    }

    #[test]
    fn what_helm_would_run_is_refused() {
        let definition =
            Definition::parse("corpora.yaml", &format!("{CORPORA}  description: '{{{{ oh }}}}'\n")).unwrap();
        assert!(definition.template().unwrap_err().to_string().contains("Helm would take"));
    }

    #[test]
    fn another_kind_is_no_definition() {
        let error = Definition::parse("a.yaml", "kind: ConfigMap\nspec:\n").err().unwrap();
        assert_eq!(error.to_string(), "its kind is \"ConfigMap\"");
    }
}
