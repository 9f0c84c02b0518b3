//! `docs/custom-resources.md`: every field of every kind, with its type, default and limits, as the definitions say.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::definitions::Definition;

const HEAD: &str = "# Custom resources, field by field

Made of `crds/` by `cargo xtask fix`; what fields mean together, conditions and procedures are in [operator.md](operator.md).
A field in **bold** must be there. `a[].b` is field `b` of each entry of list `a`.
";

pub(super) fn page(definitions: &[Definition]) -> Result<String> {
    let mut page = HEAD.to_owned();
    for definition in definitions {
        let spec = &definition.content["spec"];
        let names = &spec["names"];
        let version = &spec["versions"][0];
        let kind = names["kind"].as_str().context("a definition names no kind")?;
        write!(page, "\n## {kind}\n\n")?;
        let schema = &version["schema"]["openAPIV3Schema"];
        writeln!(page, "{}", text(schema))?;
        let short = names["shortNames"].as_array().map(Vec::as_slice).unwrap_or_default();
        let short: Vec<String> = short.iter().filter_map(Value::as_str).map(|name| format!("`{name}`")).collect();
        let api =
            format!("{}/{}", spec["group"].as_str().unwrap_or_default(), version["name"].as_str().unwrap_or_default());
        writeln!(
            page,
            "\n`apiVersion: {api}`; `kubectl get {}` (short: {}).",
            names["plural"].as_str().unwrap_or_default(),
            short.join(", ")
        )?;
        rules(&mut page, schema)?;
        for (part, heading) in [("spec", "Spec"), ("status", "Status")] {
            let schema = &schema["properties"][part];
            if schema.is_object() {
                write!(page, "\n### {heading}\n")?;
                rules(&mut page, schema)?;
                page.push_str("\n| field | type | default | what it is |\n|---|---|---|---|\n");
                fields(&mut page, schema, "")?;
            }
        }
    }
    Ok(page)
}

/// Rules about an object as a whole, as a list.
fn rules(page: &mut String, schema: &Value) -> Result<()> {
    let messages = messages(schema);
    if !messages.is_empty() {
        page.push('\n');
        for message in messages {
            writeln!(page, "- {message}")?;
        }
    }
    Ok(())
}

fn fields(page: &mut String, schema: &Value, prefix: &str) -> Result<()> {
    let empty = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, field) in properties {
        let path = format!("{prefix}{name}");
        let must = required.iter().any(|required| required == name) && field.get("default").is_none();
        let shown = if must { format!("**`{path}`**") } else { format!("`{path}`") };
        let default = match field.get("default") {
            Some(default) if !default.is_object() => format!("`{}`", cell(&serde_json::to_string(default)?)),
            Some(_) | None => String::new(),
        };
        let mut about = vec![text(field)];
        about.extend(limits(field));
        about.extend(messages(field).into_iter().map(|message| format!("*{message}*")));
        about.retain(|part| !part.is_empty());
        writeln!(page, "| {shown} | {} | {default} | {} |", type_of(field), cell(&about.join(" ")))?;
        if is_conditions(name) {
            continue; // The same in every kind, and as in Kubernetes' own.
        }
        match field["type"].as_str() {
            Some("array") => fields(page, &field["items"], &format!("{path}[]."))?,
            _other => fields(page, field, &format!("{path}."))?,
        }
    }
    Ok(())
}

fn is_conditions(name: &str) -> bool {
    name == "conditions"
}

fn type_of(field: &Value) -> String {
    match (field["type"].as_str(), field["x-kubernetes-int-or-string"].as_bool()) {
        (_, Some(true)) => "integer or string".to_owned(),
        (Some("array"), _) => format!("list of {}", type_of(&field["items"])),
        (Some("object"), _) if field["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&field["additionalProperties"]))
        }
        (Some(name), _) => name.to_owned(),
        (None, _) => "any".to_owned(),
    }
}

fn limits(field: &Value) -> Option<String> {
    let values = field["enum"].as_array().map(|values| {
        let values: Vec<String> = values
            .iter()
            .filter(|value| !value.is_null())
            .map(|value| format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        format!("One of {}.", values.join(", "))
    });
    let range = match (field["minimum"].as_f64(), field["maximum"].as_f64()) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}.")),
        (Some(least), None) => Some(format!("At least {least}.")),
        (None, Some(most)) => Some(format!("At most {most}.")),
        (None, None) => None,
    };
    values.or(range)
}

fn messages(schema: &Value) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"].as_array().map(Vec::as_slice).unwrap_or_default();
    rules.iter().filter_map(|rule| rule["message"].as_str()).map(str::to_owned).collect()
}

fn text(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_told_with_type_default_limits_and_rule() {
        let schema = json!({
            "required": ["url"],
            "properties": {
                "replicas": {"type": "integer", "default": 3, "description": "How many.", "minimum": 1, "maximum": 5,
                             "x-kubernetes-validations": [{"rule": "true", "message": "replicas must be odd"}]},
                "url": {"type": "string", "description": "Where, a|b."},
                "members": {"type": "array", "items": {"type": "object", "properties": {"role": {"type": "string", "enum": ["Voter", null]}}}},
            }
        });
        let mut page = String::new();
        fields(&mut page, &schema, "").unwrap();
        let expected = "| `members` | list of object |  |  |\n\
                        | `members[].role` | string |  | One of `Voter`. |\n\
                        | `replicas` | integer | `3` | How many. 1 to 5. *replicas must be odd* |\n\
                        | **`url`** | string |  | Where, a\\|b. |\n";
        assert_eq!(page, expected);
    }
}
