//! Paths of one developer's machine and names of package hosts work for their writer alone.

use anyhow::Result;

use crate::workspace::Workspace;

/// Folders whose contents differ from machine to machine. In pieces, or this file would be found too.
const FOLDERS: &[&str] = &[concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/")];

/// Hosts that a package client is configured with elsewhere: first label, then the rest.
const HOSTS: &[(&str, &str)] = &[
    ("index", "crates.io"),
    ("static", "crates.io"),
    ("deb", "debian.org"),
    ("security", "debian.org"),
    ("registry", "npmjs.org"),
    ("files", "pythonhosted.org"),
    ("proxy", "golang.org"),
    ("repo", "maven.apache.org"),
    ("repo1", "maven.org"),
];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in workspace.files()? {
        let Some(text) = workspace.text(&file)? else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            problems.extend(machine_word(line).map(|word| format!("{}:{number} names {word}", file.display())));
        }
    }
    Ok(problems)
}

fn machine_word(line: &str) -> Option<String> {
    let folder = FOLDERS.iter().find(|folder| has_absolute_path(line, folder)).map(|folder| (*folder).to_owned());
    folder.or_else(|| HOSTS.iter().map(|(label, domain)| format!("{label}.{domain}")).find(|host| line.contains(host)))
}

/// Whether `folder` stands in `line` as the start of a path and not as its middle, as in `$TMP/work/`.
fn has_absolute_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~*?})]>".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_path_of_a_machine_is_found() {
        for folder in FOLDERS {
            for line in [format!("cd {folder}x"), format!("\"{folder}x\""), format!("file://{folder}x")] {
                assert_eq!(machine_word(&line).as_deref(), Some(*folder), "{line}");
            }
        }
    }

    #[test]
    fn a_package_host_is_found() {
        let line = format!("registry = \"sparse+https://{}.{}/\"", HOSTS[0].0, HOSTS[0].1);
        assert!(machine_word(&line).is_some());
    }

    #[test]
    fn the_middle_of_a_path_is_nobodys_machine() {
        for line in ["${TMP}/work/x", "target/work/x", "~/work/x", "<dir>/home/x", "work/x"] {
            assert_eq!(machine_word(line), None, "{line}");
        }
    }
}
