//! Kubernetes objects as values.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// One rendered object.
#[derive(Clone, Debug, PartialEq)]
pub struct Object(pub Value);

impl Object {
    /// Its kind, empty if it has none.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap_or_default()
    }

    /// Its name, empty if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Its namespace, empty if it lies in none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    /// The template of its pods, or itself if it is a pod; `None` for everything without pods.
    #[must_use]
    pub fn pod(&self) -> Option<&Value> {
        match self.kind() {
            "Pod" => Some(&self.0),
            "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => Some(&self.0["spec"]["template"]),
            _other => None,
        }
    }
}

/// The objects of a YAML text with several documents, without empty ones.
///
/// # Errors
/// When a document is no YAML.
pub fn documents(text: &str) -> Result<Vec<Object>> {
    let mut texts = vec![String::new()];
    for line in text.lines() {
        match texts.last_mut() {
            Some(text) if !line.starts_with("---") => {
                text.push_str(line);
                text.push('\n');
            }
            Some(_) | None => texts.push(String::new()),
        }
    }
    let mut objects = Vec::new();
    for text in texts {
        let value: Value = yaml_serde::from_str(&text).with_context(|| format!("no YAML:\n{text}"))?;
        if !value.is_null() {
            objects.push(Object(value));
        }
    }
    Ok(objects)
}

/// All files below `folder` whose name ends with `.extension`, in order.
///
/// # Errors
/// When a folder cannot be listed.
pub fn files_below(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))? {
        let path = entry.with_context(|| format!("failed to list {}", folder.display()))?.path();
        if path.is_dir() {
            files.extend(files_below(&path, extension)?);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_last_line_whole() {
        let objects = documents("# only a comment\n---\na: |\n  text\n---\nb: 1\n").unwrap();
        assert_eq!(objects, [Object(serde_json::json!({"a": "text\n"})), Object(serde_json::json!({"b": 1}))]);
    }
}
