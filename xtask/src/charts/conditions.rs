//! Conditions and their reasons for the reference, from the one table in `crates/crd/src/conditions.rs`. Read as text, so that
//! this program need not be compiled with a Kubernetes client.

use std::fmt::Write as _;

use anyhow::{Result, ensure};

/// The sections, from the source of the table.
pub(super) fn sections(source: &str) -> Result<String> {
    let (conditions, reasons) = (meanings(source), reasons(source));
    ensure!(!conditions.is_empty(), "no meanings of conditions were found in conditions.rs");
    ensure!(!reasons.is_empty(), "no reasons of conditions were found in conditions.rs");
    let mut text = "\n## Conditions\n\n| condition | true means |\n|---|---|\n".to_owned();
    for (name, meaning) in conditions {
        writeln!(text, "| `{name}` | {meaning} |")?;
    }
    text.push_str("\n## Reasons\n\nWords for programs, stable; the message beside them is for people.\n\n");
    text.push_str("| reason | says |\n|---|---|\n");
    for (name, meaning) in reasons {
        writeln!(text, "| `{name}` | {meaning} |")?;
    }
    Ok(text)
}

/// Lines `Name => "meaning",` of the function `meaning`.
fn meanings(source: &str) -> Vec<(&str, &str)> {
    let body = source.split_once("fn meaning(").map_or("", |(_, rest)| rest);
    let body = body.split_once("\n    }\n").map_or(body, |(body, _)| body);
    let arms = body.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split_once(" => \""));
    arms.collect()
}

/// Constants of `mod reason`, each with the lines of documentation above it.
fn reasons(source: &str) -> Vec<(&str, String)> {
    let body = source.split_once("mod reason {").map_or("", |(_, rest)| rest);
    let body = body.split_once("\n}\n").map_or(body, |(body, _)| body);
    let mut reasons = Vec::new();
    let mut told: Vec<&str> = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            told.push(text);
        } else if let Some(name) = line.strip_suffix("\";").and_then(|line| line.rsplit('"').next()) {
            reasons.push((name, std::mem::take(&mut told).join(" ")));
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
    pub fn meaning(self) -> &'static str {
        match self {
            Ready => "it does",
        }
    }
pub mod reason {
    /// All is
    /// well.
    pub const AS_EXPECTED: &str = "AsExpected";
}
"#;

    #[test]
    fn every_condition_and_reason_has_a_line() {
        let text = sections(SOURCE).unwrap();
        assert!(text.contains("| `Ready` | it does |\n"), "{text}");
        assert!(text.contains("| `AsExpected` | All is well. |\n"), "{text}");
    }

    #[test]
    fn a_table_that_looks_different_is_noticed() {
        assert!(sections("fn main() {}").is_err());
    }
}
