//! Which build this is.

use std::sync::LazyLock;

/// The version for `--version`, start-up lines and findings, such as `0.1.0` or `0.1.0 (1a2b3c4)`.
///
/// The revision is what the environment variable `DRAGNET_REVISION` said at build time. It is not read from git: sources
/// without a repository must build too, and a commit would otherwise rebuild every crate that prints a version.
pub fn build_info() -> &'static str {
    static BUILD: LazyLock<String> =
        LazyLock::new(|| describe(env!("CARGO_PKG_VERSION"), option_env!("DRAGNET_REVISION")));
    &BUILD
}

fn describe(version: &str, revision: Option<&str>) -> String {
    match revision.filter(|revision| !revision.is_empty()) {
        Some(revision) => format!("{version} ({revision})"),
        None => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_is_shown_when_the_build_knew_it() {
        assert_eq!(describe("0.1.0", Some("1a2b3c4")), "0.1.0 (1a2b3c4)");
        assert_eq!(describe("0.1.0", Some("")), "0.1.0");
        assert_eq!(describe("0.1.0", None), "0.1.0");
    }
}
