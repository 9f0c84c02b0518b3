//! An API server of one's own, for as long as a test runs.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::Kubectl;
use crate::place::{Place, bash, must_not_skip};

/// etcd and kube-apiserver on loopback, without controllers and nodes. Ends when dropped, and also when the test is killed: the
/// script behind it ends with its standard input.
#[derive(Debug)]
pub struct ApiServer {
    script: Child,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    _folder: TempDir,
}

impl ApiServer {
    /// Starts one and waits until it serves.
    ///
    /// # Errors
    /// When the programs are missing or do not start; with the end of their log.
    pub fn start() -> Result<Self> {
        let place = Place::find()?;
        let kubectl = place.program("kubectl")?;
        let folder = tempfile::Builder::new().prefix("api-server.").tempdir().context("failed to create a folder")?;
        let mut command = bash(&place.script("api-server.sh"));
        command.arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut script = command.spawn().context("failed to start api-server.sh")?;
        let mut line = String::new();
        let stdout = script.stdout.take().context("its output is piped")?;
        BufReader::new(stdout).read_line(&mut line).context("failed to read what api-server.sh says")?;
        if line.is_empty() {
            let mut complaint = String::new();
            script.stderr.take().context("its complaints are piped")?.read_to_string(&mut complaint)?;
            script.wait()?;
            ensure!(!line.is_empty(), "api-server.sh ended: {complaint}");
        }
        Ok(Self { script, kubeconfig: PathBuf::from(line.trim_end()), kubectl, _folder: folder })
    }

    /// The same; where the programs have not been built, says that `test` is skipped and returns nothing.
    ///
    /// # Panics
    /// When one cannot be started although it should, and in CI also when the programs are missing.
    #[must_use]
    pub fn start_or_skip(test: &str) -> Option<Self> {
        let place = Place::find().expect("tests run in a checkout");
        if let Some(reason) = place.without_api_server() {
            assert!(!must_not_skip(), "{test} cannot run: {reason}");
            eprintln!("skipped: {test}: {reason}");
            return None;
        }
        Some(Self::start().expect("an API server starts"))
    }

    /// A kubeconfig that may do everything.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        let mut command = vec![self.kubectl.clone().into_os_string(), "--kubeconfig".into()];
        command.push(self.kubeconfig.clone().into_os_string());
        Kubectl::new(command)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.script.stdin.take()); // it ends with this
        drop(self.script.wait());
    }
}

/// A command with kubectl's path and nothing else yet.
pub(crate) fn command_of(words: &[std::ffi::OsString]) -> Command {
    let (program, arguments) = words.split_first().expect("never made empty");
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_at_once_do_not_meet_and_leave_nothing_behind() {
        let Some(one) = ApiServer::start_or_skip("two_at_once_do_not_meet_and_leave_nothing_behind") else { return };
        let other = ApiServer::start().unwrap();
        one.kubectl().run(&["create", "namespace", "only-in-one"]).unwrap();
        assert!(one.kubectl().try_get("namespace", "only-in-one").unwrap().is_some());
        assert!(other.kubectl().try_get("namespace", "only-in-one").unwrap().is_none());

        let kubeconfig = one.kubeconfig().to_owned();
        drop(one);
        assert!(!kubeconfig.exists());
        assert!(other.kubectl().try_get("namespace", "default").is_ok());
    }
}
