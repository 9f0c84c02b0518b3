//! The API's own schemas, in the form that kubeconform reads, from what their owners publish as Go modules: Kubernetes'
//! OpenAPI document, the definitions of the Prometheus operator and of cert-manager; and from `crds/` for our own.
//!
//! They are made strict: a field that the API does not know is a mistake here, as it is for `kubectl apply`.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use testcluster::{Place, must_not_skip};

use crate::objects::{documents, files_below};

const KUBERNETES: &str = "k8s.io/kubernetes@v1.36.3";
const PROMETHEUS: &str = "github.com/prometheus-operator/prometheus-operator@v0.92.1";
const CERT_MANAGER: &str = "github.com/cert-manager/cert-manager@v1.19.1";

/// kubeconform with schemas for everything that charts and examples use.
#[derive(Debug)]
pub struct Schemas {
    folder: TempDir,
    program: PathBuf,
}

impl Schemas {
    /// Schemas, or `None` after saying that `test` is skipped.
    ///
    /// # Panics
    /// In continuous integration, which has to have them.
    #[must_use]
    pub fn or_skip(test: &str) -> Option<Self> {
        match Self::make() {
            Ok(schemas) => Some(schemas),
            Err(reason) => {
                assert!(!must_not_skip(), "{test} cannot run: {reason:#}");
                println!("skipped: {test}: {reason:#}");
                None
            }
        }
    }

    fn make() -> Result<Self> {
        let place = Place::find()?;
        let program = place.program("kubeconform")?;
        let folder = TempDir::new().context("failed to make a folder for schemas")?;
        kubernetes(&module(KUBERNETES)?, folder.path())?;
        for definitions in [
            module(PROMETHEUS)?.join("example/prometheus-operator-crd"),
            module(CERT_MANAGER)?.join("deploy/crds"),
            place.repository().join("crds"),
        ] {
            custom(&definitions, folder.path())?;
        }
        Ok(Self { folder, program })
    }

    /// Validates every document of `text`.
    ///
    /// # Errors
    /// With kubeconform's report, when one does not fit its schema or has none.
    pub fn validate(&self, text: &str) -> Result<()> {
        let location = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", self.folder.path().display());
        let mut command = Command::new(&self.program);
        command.args(["-strict", "-summary", "-schema-location", &location, "-"]);
        testcluster::run(command, Some(text)).map(drop)
    }
}

/// The folder of a published module, fetched once into Go's own cache.
fn module(name: &str) -> Result<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    let mut command = Command::new("go");
    command.args(["mod", "download", "-json", name]).env("PATH", format!("{path}:/usr/local/go/bin"));
    // Outside of any module, so that no go.mod is read or written.
    command.current_dir(env::temp_dir());
    let told = testcluster::run(command, None).with_context(|| format!("failed to fetch the Go module {name}"))?;
    let told: Value = serde_json::from_str(&told).context("failed to read what go tells of a module")?;
    Ok(PathBuf::from(told["Dir"].as_str().with_context(|| format!("go tells no folder of {name}"))?))
}

/// One file a kind, with everything that it refers to.
fn kubernetes(module: &Path, folder: &Path) -> Result<()> {
    let path = module.join("api/openapi-spec/swagger.json");
    let text = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let document: Value = serde_json::from_slice(&text).context("Kubernetes' OpenAPI document is no JSON")?;
    let mut definitions = document["definitions"].as_object().context("it has no definitions")?.clone();
    for definition in definitions.values_mut() {
        make_strict(definition);
    }
    for (name, definition) in &definitions {
        for kind in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let mut needed = BTreeMap::new();
            collect(name, &definitions, &mut needed);
            let schema = json!({"$ref": format!("#/definitions/{name}"), "definitions": needed});
            let text = |key: &str| kind[key].as_str().unwrap_or_default().to_owned();
            write(folder, &text("group"), &text("version"), &text("kind"), &schema)?;
        }
    }
    Ok(())
}

/// `name` and all that it refers to.
fn collect<'a>(name: &'a str, all: &'a Map<String, Value>, needed: &mut BTreeMap<&'a str, &'a Value>) {
    let Some((name, definition)) = all.get_key_value(name) else { return };
    if needed.insert(name, definition).is_none() {
        for reference in references(definition) {
            collect(reference, all, needed);
        }
    }
}

fn references(schema: &Value) -> Vec<&str> {
    match schema {
        Value::Object(map) => {
            let own = map.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/definitions/"));
            own.into_iter().chain(map.values().flat_map(references)).collect()
        }
        Value::Array(list) => list.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// The schemas in custom resource definitions.
fn custom(definitions: &Path, folder: &Path) -> Result<()> {
    let files = files_below(definitions, "yaml")?;
    ensure!(!files.is_empty(), "no definitions in {}", definitions.display());
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
        for object in documents(&text)?.into_iter().filter(|object| object.kind() == "CustomResourceDefinition") {
            let spec = &object.0["spec"];
            for version in spec["versions"].as_array().into_iter().flatten() {
                let mut schema = version["schema"]["openAPIV3Schema"].clone();
                make_strict(&mut schema);
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                for (field, known) in [
                    ("apiVersion", json!({"type": "string"})),
                    ("kind", json!({"type": "string"})),
                    ("metadata", json!({"type": "object"})),
                ] {
                    schema["properties"][field] = known;
                }
                write(folder, &text(&spec["group"]), &text(&version["name"]), &text(&spec["names"]["kind"]), &schema)?;
            }
        }
    }
    Ok(())
}

/// Names as kubeconform makes them of group (its first part), version and kind.
fn write(folder: &Path, group: &str, version: &str, kind: &str, schema: &Value) -> Result<()> {
    let group = group.split('.').next().filter(|group| !group.is_empty()).map(|group| format!("{group}-"));
    let name = format!("{}-{}{version}.json", kind.to_lowercase(), group.unwrap_or_default());
    let text = serde_json::to_string(schema).context("failed to write a schema as JSON")?;
    fs::write(folder.join(&name), text).with_context(|| format!("failed to write the schema {name}"))
}

fn make_strict(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let is_open = map.contains_key("additionalProperties")
                || map.get("x-kubernetes-preserve-unknown-fields").is_some_and(|open| open == true);
            if map.get("properties").is_some_and(Value::is_object) && !is_open {
                map.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            let is_either = map.get("x-kubernetes-int-or-string").is_some_and(|either| either == true)
                || map.get("format").is_some_and(|format| format == "int-or-string");
            let description = map.get("description").and_then(Value::as_str).unwrap_or_default();
            if is_either || description.starts_with("Quantity is a fixed-point") {
                map.insert("type".to_owned(), json!(["string", "number"]));
                map.remove("format");
            }
            map.values_mut().for_each(make_strict);
        }
        Value::Array(list) => list.iter_mut().for_each(make_strict),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_refused_where_fields_are_known() {
        let mut schema = json!({
            "properties": {"port": {"x-kubernetes-int-or-string": true}, "labels": {"additionalProperties": {"type": "string"}}},
        });
        make_strict(&mut schema);
        let expected = json!({
            "additionalProperties": false,
            "properties": {
                "port": {"x-kubernetes-int-or-string": true, "type": ["string", "number"]},
                "labels": {"additionalProperties": {"type": "string"}},
            },
        });
        assert_eq!(schema, expected);
    }

    #[test]
    fn a_schema_has_what_it_refers_to() {
        let all = json!({
            "a": {"properties": {"b": {"$ref": "#/definitions/b"}}},
            "b": {"items": [{"$ref": "#/definitions/a"}]},
            "c": {},
        });
        let mut needed = BTreeMap::new();
        collect("a", all.as_object().unwrap(), &mut needed);
        assert_eq!(needed.into_keys().collect::<Vec<_>>(), ["a", "b"]);
    }
}
