//! Where things are on this machine, and what is missing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The script that every place is recognised by.
const LANDMARK: &str = "e2e/cluster/cluster.sh";

/// A checkout, and the programs of a cluster in the cache.
#[derive(Clone, Debug)]
pub struct Place {
    repository: PathBuf,
    programs: PathBuf,
}

impl Place {
    /// The checkout around the package under test, or around the working folder.
    ///
    /// # Errors
    /// When neither lies in a checkout.
    pub fn find() -> Result<Self> {
        let start = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(package) => PathBuf::from(package),
            None => env::current_dir().context("failed to find the working folder")?,
        };
        let repository = start.ancestors().find(|folder| folder.join(LANDMARK).is_file());
        let repository = repository.with_context(|| format!("{} is in no checkout of Dragnet", start.display()))?;
        let cache = match env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty()) {
            Some(cache) => PathBuf::from(cache),
            None => env::home_dir().context("failed to find the home folder")?.join(".cache"),
        };
        Ok(Self { repository: repository.to_owned(), programs: cache.join("dragnet/cluster/bin") })
    }

    /// The root of the checkout.
    #[must_use]
    pub fn repository(&self) -> &Path {
        &self.repository
    }

    /// A script of `e2e/cluster/`.
    #[must_use]
    pub fn script(&self, name: &str) -> PathBuf {
        self.repository.join("e2e/cluster").join(name)
    }

    /// A program of a cluster, such as `kubectl`.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let program = self.programs.join(name);
        ensure!(program.is_file(), "{name} is not built: `make setup` does it");
        Ok(program)
    }

    /// The S3 server that `make setup` installs.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn s3_server(&self) -> Result<PathBuf> {
        let program = self.programs.join("../../tools/versitygw");
        ensure!(program.is_file(), "versitygw is not built: `make setup` does it");
        Ok(program)
    }

    /// Why no API server can be started here; `None` when one can.
    #[must_use]
    pub fn without_api_server(&self) -> Option<String> {
        let missing = ["etcd", "kube-apiserver", "kubectl"].iter().find_map(|name| self.program(name).err());
        missing.map(|error| error.to_string())
    }

    /// Why no cluster of our own can be started here; `None` when one can.
    #[must_use]
    pub fn without_nodes(&self) -> Option<String> {
        if !cfg!(target_os = "linux") {
            return Some("nodes need Linux".to_owned());
        }
        if !is_root() {
            return Some("nodes need root, for network namespaces and containers".to_owned());
        }
        if let Some(missing) =
            ["containerd", "runc", "ip", "iptables", "openssl"].iter().find(|name| !is_installed(name))
        {
            return Some(format!("{missing} is missing: `make setup` installs it"));
        }
        // Root in a container may be root in name only.
        let unshared = Command::new("unshare").args(["--net", "--mount", "true"]).output();
        if !unshared.is_ok_and(|output| output.status.success()) {
            return Some("this machine lets its root make no network namespaces".to_owned());
        }
        let programs = [
            "kubelet",
            "kube-proxy",
            "kube-scheduler",
            "kube-controller-manager",
            "coredns",
            "helm",
            "pause",
            "provisioner",
        ];
        let missing = programs.iter().find_map(|name| self.program(name).err()).or_else(|| self.s3_server().err());
        missing.map(|error| error.to_string()).or_else(|| self.without_api_server())
    }
}

/// Whether a test that cannot run is a failure: continuous integration has to have everything.
#[must_use]
pub fn must_not_skip() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_whitespace().nth(1)).is_some_and(|effective| effective == "0")
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).any(|folder| folder.join(program).is_file())
}

/// A command that runs a script of ours, whatever the working folder is.
pub(crate) fn bash(script: &Path) -> Command {
    let mut command = Command::new("bash");
    command.arg(script);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_package_lies_in_a_checkout() {
        let place = Place::find().unwrap();
        assert!(place.script("api-server.sh").is_file());
    }

    #[test]
    fn a_program_that_nobody_built_is_named_with_the_remedy() {
        let place = Place { repository: PathBuf::new(), programs: PathBuf::from("/nowhere") };
        assert_eq!(place.without_api_server().unwrap(), "etcd is not built: `make setup` does it");
    }
}
