//! Whether we may ship every dependency under Apache-2.0.
//!
//! Each package's SPDX expression must be satisfiable with licences that we accept. What a package contains beyond its
//! declaration, such as bundled C sources, is not seen here; `NOTICE` names those that we know of.

mod expression;

use anyhow::{Result, ensure};

use crate::licences::expression::Expression;
use crate::workspace::{Package, Workspace};

/// Licences under whose terms a dependency may be linked into Apache-2.0 binaries. All are permissive, but for MPL-2.0, whose
/// terms stay with its own files.
const ACCEPTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let problems: Vec<String> = workspace.packages.iter().filter_map(problem_with).collect();
    for problem in &problems {
        eprintln!("{problem}");
    }
    ensure!(problems.is_empty(), "{} of {} packages may not be used", problems.len(), workspace.packages.len());
    eprintln!("the licences of {} packages fit", workspace.packages.len());
    Ok(())
}

fn problem_with(package: &Package) -> Option<String> {
    let Package { name, version, .. } = package;
    let Some(licence) = &package.license else {
        return Some(format!("{name} {version} declares no licence"));
    };
    match licence.parse::<Expression>() {
        Err(error) => Some(format!("{name} {version}: cannot read its licence {licence:?}: {error}")),
        Ok(expression) if expression.is_satisfied_by(&|one| ACCEPTED.contains(&one)) => None,
        Ok(_not_satisfied) => Some(format!("{name} {version} is under {licence:?}, which is not accepted")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_permissive_package_passes() {
        assert_eq!(problem_with(&package(Some("MIT OR GPL-3.0-only"))), None);
    }

    #[test]
    fn a_copyleft_package_is_named_with_its_licence() {
        let problem = problem_with(&package(Some("GPL-3.0-only"))).unwrap();
        assert!(problem.contains("left-pad 1.0.0") && problem.contains("GPL-3.0-only"), "{problem}");
    }

    #[test]
    fn a_package_without_a_licence_is_refused() {
        assert!(problem_with(&package(None)).unwrap().contains("declares no licence"));
    }

    #[test]
    fn an_unreadable_licence_is_refused() {
        assert!(problem_with(&package(Some("MIT OR"))).unwrap().contains("cannot read"));
    }

    fn package(license: Option<&str>) -> Package {
        Package {
            name: "left-pad".to_owned(),
            version: "1.0.0".to_owned(),
            source: Some("registry".to_owned()),
            license: license.map(str::to_owned),
            manifest_path: PathBuf::from("left-pad/Cargo.toml"),
            dependencies: Vec::new(),
            targets: Vec::new(),
        }
    }
}
