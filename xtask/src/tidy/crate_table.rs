//! Who may depend on whom. A crate's manifest keeps its promise: what is not in it cannot be used by accident.

use anyhow::Result;

use crate::workspace::{Dependency, Package, Workspace};

/// What the pure cores may have under `[dependencies]`: values and formats, nothing with a clock, a disk or a socket.
const ONLY: &[(&str, &[&str])] = &[
    ("types", &["hex", "serde", "sha2", "thiserror"]),
    ("scheduling", &["roaring", "serde", "thiserror", "types"]),
    ("supervision", &["types"]),
];

/// What a crate must never know, each with the reason.
const NEVER: &[(&str, &[&str], &str)] = &[
    ("protocol", &["scheduling", "supervision"], "the wire does not know who decides"),
    ("corpus", &["tokio", "tonic"], "bytes in, values out"),
    ("crd", &["tokio", "tonic"], "it says what resources are, and talks to nobody"),
    ("findings", &["tokio", "tonic"], "bytes in, values out"),
    ("rules", &["tokio", "tonic"], "bytes in, values out"),
    ("shard", &["tokio", "tonic", "store", "dataset"], "RocksDB blocks, and whoever calls decides on which thread"),
    ("dataset", &["tonic", "redis"], "serving is not its business"),
    ("store", &["shard", "dataset", "tonic"], "it does not know what objects hold"),
];

/// What only one crate may use, tests included.
const SOLE: &[(&str, &str)] = &[("rocksdb", "shard")];

/// Where crates live that others may depend on; everything else is a program.
const SHARED: &str = "crates";

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let is_shared = |package: &Package| workspace.folder(package).starts_with(SHARED);
    let members: Vec<&Package> = workspace.members().collect();
    let programs: Vec<&str> =
        members.iter().filter(|member| !is_shared(member)).map(|member| member.name.as_str()).collect();
    let ours: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();

    let mut problems = Vec::new();
    for member in members {
        problems.extend(beyond_only(member));
        problems.extend(never(member));
        problems.extend(sole(member));
        problems.extend(on_programs(member, &programs));
        if member.name == "telemetry" {
            problems.extend(on_components(member, &ours));
        }
    }
    Ok(problems)
}

fn beyond_only(package: &Package) -> Vec<String> {
    let Some((name, allowed)) = ONLY.iter().find(|(name, _)| *name == package.name) else { return Vec::new() };
    let beyond = normal_dependencies(package).filter(|dependency| !allowed.contains(&dependency.name.as_str()));
    beyond
        .map(|dependency| format!("{name} is a pure core and may use only {allowed:?}, not {}", dependency.name))
        .collect()
}

fn never(package: &Package) -> Vec<String> {
    let Some((name, forbidden, reason)) = NEVER.iter().find(|(name, ..)| *name == package.name) else {
        return Vec::new();
    };
    let known = normal_dependencies(package).filter(|dependency| forbidden.contains(&dependency.name.as_str()));
    known.map(|dependency| format!("{name} must not know {}: {reason}", dependency.name)).collect()
}

fn sole(package: &Package) -> Vec<String> {
    let others = SOLE.iter().filter(|(dependency, owner)| {
        package.name != *owner && package.dependencies.iter().any(|used| used.name == *dependency)
    });
    others
        .map(|(dependency, owner)| format!("{} must not use {dependency}: {owner} alone does", package.name))
        .collect()
}

/// Programs meet over the wire. Tests are no exception: they start the real binaries.
fn on_programs(package: &Package, programs: &[&str]) -> Vec<String> {
    let known = package.dependencies.iter().filter(|dependency| programs.contains(&dependency.name.as_str()));
    known
        .map(|dependency| format!("{} depends on {}: programs meet only over the wire", package.name, dependency.name))
        .collect()
}

fn on_components(package: &Package, ours: &[&str]) -> Vec<String> {
    let known = package.dependencies.iter().filter(|dependency| ours.contains(&dependency.name.as_str()));
    known.map(|dependency| format!("{} must not know {}, as any component", package.name, dependency.name)).collect()
}

fn normal_dependencies(package: &Package) -> impl Iterator<Item = &Dependency> {
    package.dependencies.iter().filter(|dependency| dependency.kind.is_none())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_table_that_is_kept_has_no_problems() {
        let scheduling = package("crates/scheduling", &["types", "roaring"]);
        let orchestrator = package("orchestrator", &["scheduling", "tokio"]);
        assert_eq!(problems([package("crates/types", &["serde"]), scheduling, orchestrator]), [""; 0]);
    }

    #[test]
    fn a_pure_core_may_not_use_tokio() {
        let problems = problems([package("crates/scheduling", &["types", "tokio"])]);
        assert!(problems[0].contains("scheduling is a pure core") && problems[0].contains("not tokio"), "{problems:?}");
    }

    #[test]
    fn a_pure_core_may_test_with_anything() {
        let mut scheduling = package("crates/scheduling", &["proptest"]);
        scheduling.dependencies[0].kind = Some("dev".to_owned());
        assert_eq!(problems([scheduling]), [""; 0]);
    }

    #[test]
    fn formats_may_not_use_the_network() {
        let problems = problems([package("crates/rules", &["tonic"])]);
        assert_eq!(problems, ["rules must not know tonic: bytes in, values out"]);
    }

    #[test]
    fn one_crate_alone_uses_rocksdb() {
        let problems = problems([package("crates/shard", &["rocksdb"]), package("kv-server", &["shard", "rocksdb"])]);
        assert_eq!(problems, ["kv-server must not use rocksdb: shard alone does"]);
    }

    #[test]
    fn programs_may_not_use_one_another() {
        let problems = problems([package("orchestrator", &[]), package("cli", &["orchestrator"])]);
        assert_eq!(problems, ["cli depends on orchestrator: programs meet only over the wire"]);
    }

    #[test]
    fn a_shared_crate_may_not_use_a_program() {
        let problems = problems([package("scan-worker", &[]), package("crates/engine", &["scan-worker"])]);
        assert_eq!(problems, ["engine depends on scan-worker: programs meet only over the wire"]);
    }

    #[test]
    fn telemetry_knows_nobody() {
        let problems = problems([package("crates/types", &[]), package("crates/telemetry", &["types", "tracing"])]);
        assert_eq!(problems, ["telemetry must not know types, as any component"]);
    }

    fn problems<const N: usize>(packages: [Package; N]) -> Vec<String> {
        let workspace = Workspace { packages: packages.into(), workspace_root: PathBuf::from("/repo") };
        check(&workspace).unwrap()
    }

    fn package(folder: &str, dependencies: &[&str]) -> Package {
        let folder = PathBuf::from("/repo").join(folder);
        let dependency = |name: &&str| Dependency { name: (*name).to_owned(), kind: None };
        Package {
            name: folder.file_name().unwrap().to_str().unwrap().to_owned(),
            version: "0.1.0".to_owned(),
            source: None,
            license: Some("Apache-2.0".to_owned()),
            manifest_path: folder.join("Cargo.toml"),
            dependencies: dependencies.iter().map(dependency).collect(),
            targets: Vec::new(),
        }
    }
}
