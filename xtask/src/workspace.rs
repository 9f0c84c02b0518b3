//! This repository as cargo and git see it: packages with their dependencies, and the files we keep.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process::{cargo, program};

/// What `cargo metadata` tells; names as in its JSON.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// Ours and, for every platform, all that they depend on.
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_root: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Where a foreign package came from; `None` for ours.
    pub(crate) source: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` under `[dependencies]`, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    /// The root file of a library, binary, test or build script.
    pub(crate) src_path: PathBuf,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let json = cargo(&["metadata", "--locked", "--format-version", "1"]).output()?;
        serde_json::from_slice(&json).context("failed to read the output of cargo metadata")
    }

    /// A small workspace of ours beside the main one, without what it depends on.
    pub(crate) fn load_beside(manifest: &str) -> Result<Self> {
        let json = cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1", "--manifest-path", manifest])
            .output()?;
        serde_json::from_slice(&json)
            .with_context(|| format!("failed to read the output of cargo metadata for {manifest}"))
    }

    /// Our own packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.source.is_none())
    }

    /// Every file that is, or would be, committed, as paths below the root in order. New ones count: they are checked before
    /// the commit that brings them.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let root = self.workspace_root.to_str().context("the workspace's path is not UTF-8")?;
        let listing =
            program("git", &["-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]).output()?;
        let listing = String::from_utf8(listing).context("a file name is not UTF-8")?;
        let mut files: Vec<PathBuf> = listing.split_terminator('\0').map(PathBuf::from).collect();
        files.retain(|file| self.workspace_root.join(file).is_file()); // deleted but not yet committed
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// A file's text; `None` for one that is not text.
    pub(crate) fn text(&self, file: &Path) -> Result<Option<String>> {
        let bytes =
            fs::read(self.workspace_root.join(file)).with_context(|| format!("failed to read {}", file.display()))?;
        Ok(String::from_utf8(bytes).ok())
    }

    /// A package's folder below the root, such as `crates/types`.
    pub(crate) fn folder<'a>(&self, package: &'a Package) -> &'a Path {
        let folder = package.manifest_path.parent().unwrap_or(&package.manifest_path);
        folder.strip_prefix(&self.workspace_root).unwrap_or(folder)
    }
}
