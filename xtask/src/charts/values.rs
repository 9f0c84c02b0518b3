//! The table of values in a chart's README: every value of `values.yaml` with what the line above it says.
//!
//! A line `# -- text` belongs to the key below it. A key without one must have keys below it that have.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

const BEGIN: &str = "<!-- values: made of values.yaml by `cargo xtask fix` -->\n";
const END: &str = "<!-- end of values -->\n";

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// `image.tag`
    path: Vec<String>,
    text: String,
}

/// `readme` with the table of `values` between its marks.
pub(super) fn into_readme(readme: &str, values: &str) -> Result<String> {
    let (before, rest) = readme.split_once(BEGIN).with_context(|| format!("README.md has no line {}", BEGIN.trim()))?;
    let (_old, after) = rest.split_once(END).with_context(|| format!("README.md has no line {}", END.trim()))?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", table(values)?))
}

fn table(values: &str) -> Result<String> {
    let defaults: Value = yaml_serde::from_str(values).context("values.yaml is no YAML")?;
    let rows = rows(values)?;
    every_value_is_told(&defaults, &mut Vec::new(), &rows)?;
    let mut table = String::from("| value | default | what it does |\n|---|---|---|\n");
    for row in rows {
        let default = row.path.iter().try_fold(&defaults, |value, key| value.get(key));
        let default = default.with_context(|| format!("values.yaml has no {}", row.path.join(".")))?;
        let text = row.text.replace('|', "\\|");
        table.push_str(&format!("| `{}` | `{}` | {text} |\n", row.path.join("."), serde_json::to_string(default)?));
    }
    Ok(table)
}

/// The documented keys, in their order. Reads what it must of YAML: block mappings, indented by two.
fn rows(values: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut told: Option<String> = None;
    for line in values.lines() {
        let content = line.trim_start();
        if let Some(text) = content.strip_prefix("# -- ") {
            ensure!(told.is_none(), "two lines above one key: {text}");
            told = Some(text.to_owned());
        } else if let Some((key, _value)) = content.split_once(':')
            && !content.starts_with(['#', '-'])
        {
            let depth = (line.len() - content.len()) / 2;
            // Below a list or a documented map there may be keys that are examples, not values.
            if depth <= path.len() {
                path.truncate(depth);
                path.push(key.to_owned());
                if let Some(text) = told.take() {
                    rows.push(Row { path: path.clone(), text });
                }
            }
        }
    }
    if let Some(text) = told {
        bail!("nothing is below the line `# -- {text}`");
    }
    Ok(rows)
}

fn every_value_is_told(value: &Value, path: &mut Vec<String>, rows: &[Row]) -> Result<()> {
    if rows.iter().any(|row| row.path == *path) {
        return Ok(());
    }
    let Some(map) = value.as_object().filter(|map| !map.is_empty()) else {
        bail!("values.yaml does not say what {} does: put a line `# -- …` above it", path.join("."));
    };
    for (key, value) in map {
        path.push(key.clone());
        every_value_is_told(value, path, rows)?;
        path.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &str = "image:\n  # -- Its tag\n  tag: \"\"\n# -- Who may | ask\npeers:\n  - namespaceSelector: {}\n";

    #[test]
    fn every_documented_value_is_a_line_with_its_default() {
        let readme = format!("# Chart\n{BEGIN}old{END}after\n");
        let expected = format!(
            "# Chart\n{BEGIN}\n| value | default | what it does |\n|---|---|---|\n| `image.tag` | `\"\"` | Its tag |\n\
             | `peers` | `[{{\"namespaceSelector\":{{}}}}]` | Who may \\| ask |\n\n{END}after\n"
        );
        assert_eq!(into_readme(&readme, VALUES).unwrap(), expected);
        assert_eq!(into_readme(&expected, VALUES).unwrap(), expected, "made twice, it is the same");
    }

    #[test]
    fn a_value_that_nobody_explains_is_found() {
        let error = table(&format!("{VALUES}secret: 1\n")).unwrap_err();
        assert!(error.to_string().starts_with("values.yaml does not say what secret does"), "{error}");
    }

    #[test]
    fn a_line_that_explains_nothing_is_found() {
        assert!(table(&format!("{VALUES}# -- Lost\n")).unwrap_err().to_string().contains("Lost"));
    }

    #[test]
    fn a_readme_without_marks_is_refused() {
        assert!(into_readme("# Chart\n", VALUES).is_err());
    }
}
