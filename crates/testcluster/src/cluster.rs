//! Nodes: three on this machine, or whatever KUBECONFIG names.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::Kubectl;
use crate::api_server::command_of;
use crate::command::run;
use crate::place::{Place, bash};

/// A cluster with nodes. One of our own ends when this is dropped, unless it is to be kept.
#[derive(Debug)]
pub struct Cluster {
    place: Place,
    /// `None` for one that is not ours.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    name: String,
    keep: bool,
    /// Held as long as the cluster is used: there is one of each name.
    _lock: File,
}

/// An image that every node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub registry: String,
    pub repository: String,
    pub tag: String,
}

impl Cluster {
    /// The cluster that KUBECONFIG names.
    #[must_use]
    pub fn given(place: &Place) -> Option<Self> {
        env::var_os("KUBECONFIG").filter(|path| !path.is_empty())?;
        Some(Self { place: place.clone(), own: None })
    }

    /// Starts one of our own. What an interrupted run has left of the same name goes first, or is used as it is with `keep`.
    ///
    /// # Errors
    /// When it does not start; its logs are below `/var/tmp/NAME-cluster/log`.
    pub fn up(place: &Place, name: &str, nodes: usize, keep: bool) -> Result<Self> {
        let lock_path = env::temp_dir().join(format!("{name}-cluster.lock"));
        let lock = File::create(&lock_path).with_context(|| format!("failed to create {}", lock_path.display()))?;
        lock.lock().with_context(|| format!("failed to lock {}", lock_path.display()))?;
        let cluster = Self { place: place.clone(), own: Some(Own { name: name.to_owned(), keep, _lock: lock }) };
        if keep && cluster.kubectl().run(&["get", "--raw", "/readyz"]).is_ok() {
            return Ok(cluster);
        }
        cluster.script(&["down"])?;
        cluster.script(&["up", &nodes.to_string()])?;
        Ok(cluster)
    }

    /// Whether its nodes may be crashed and cut off.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        let kubectl = self.place.program("kubectl").map_or_else(|_| OsString::from("kubectl"), PathBuf::into_os_string);
        Kubectl::new([self.beside_it(), vec![kubectl]].concat())
    }

    /// helm with these arguments, run to its end.
    ///
    /// # Errors
    /// When helm fails, with its complaint.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let helm = self.place.program("helm").map_or_else(|_| OsString::from("helm"), PathBuf::into_os_string);
        let mut command = command_of(&[self.beside_it(), vec![helm]].concat());
        command.args(arguments);
        run(command, None)
    }

    /// A program of this machine, run where addresses of pods and Services can be reached.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        command_of(&[self.beside_it(), vec![program.as_os_str().to_owned()]].concat())
    }

    /// Takes a node off the network while its pods go on.
    ///
    /// # Errors
    /// When the cluster is not ours or has no such node.
    pub fn cut(&self, node: &str) -> Result<()> {
        self.script(&["cut", node])
    }

    /// Ends [`Cluster::cut`].
    ///
    /// # Errors
    /// When the cluster is not ours or has no such node.
    pub fn heal(&self, node: &str) -> Result<()> {
        self.script(&["heal", node])
    }

    /// Ends everything on a node at once.
    ///
    /// # Errors
    /// When the cluster is not ours.
    pub fn crash(&self, node: &str) -> Result<()> {
        self.script(&["crash", node])
    }

    /// Ends [`Cluster::crash`].
    ///
    /// # Errors
    /// When the node does not start.
    pub fn boot(&self, node: &str) -> Result<()> {
        self.script(&["boot", node])
    }

    /// Makes an image of the programs in `folder` and gives it to every node. Its tag is made of its content.
    ///
    /// # Errors
    /// When a program is missing.
    pub fn load_dragnet(&self, folder: &Path) -> Result<Image> {
        let archive = tempfile::Builder::new().suffix(".tar").tempfile().context("failed to create a file")?;
        let mut command = bash(&self.place.script("image.sh"));
        command.arg("dragnet").arg(folder).arg("dragnet.test/dragnet").arg(archive.path());
        let image = Image::parse(run(command, None)?.trim()).context("image.sh did not say what it made")?;
        self.load(archive.path())?;
        Ok(image)
    }

    /// Gives an image of one static program to every node, under `name`; inside, the program is at `path`.
    ///
    /// # Errors
    /// When it cannot be made or loaded.
    pub fn load_program(&self, program: &Path, name: &str, path: &str) -> Result<()> {
        let archive = tempfile::Builder::new().suffix(".tar").tempfile().context("failed to create a file")?;
        let mut command = bash(&self.place.script("image.sh"));
        command.arg("program").arg(program).arg(name).arg(archive.path()).arg(path);
        run(command, None)?;
        self.load(archive.path())
    }

    /// Gives an archive of an image to every node.
    ///
    /// # Errors
    /// When the archive is not one.
    pub fn load(&self, archive: &Path) -> Result<()> {
        self.script(&["load", &archive.to_string_lossy()])
    }

    /// Ends it, whatever was said about keeping it.
    ///
    /// # Errors
    /// When something stays behind.
    pub fn down(&self) -> Result<()> {
        self.script(&["down"])
    }

    fn script(&self, arguments: &[&str]) -> Result<()> {
        let own = self.own.as_ref().context("the cluster is not ours")?;
        let mut command = bash(&self.place.script("cluster.sh"));
        command.args(arguments).env("CLUSTER_NAME", &own.name);
        // Its programs go on when it has ended, and would hold pipes open.
        let log = tempfile::tempfile().context("failed to create a file")?;
        let status = command
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .status()
            .context("failed to start cluster.sh")?;
        ensure!(status.success(), "cluster.sh {} ended with {status}: {}", arguments.join(" "), read(log)?);
        Ok(())
    }

    /// The words before a command that make it run beside the API server.
    fn beside_it(&self) -> Vec<OsString> {
        let Some(own) = &self.own else { return vec!["env".into()] };
        let script = self.place.script("cluster.sh").into_os_string();
        let name = format!("CLUSTER_NAME={}", own.name);
        vec!["env".into(), name.into(), "bash".into(), script, "run".into()]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.own.as_ref().is_some_and(|own| !own.keep)
            && let Err(error) = self.down()
        {
            eprintln!("the cluster did not go down: {error:#}");
        }
    }
}

fn read(mut file: File) -> Result<String> {
    use std::io::{Read, Seek};
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

impl Image {
    /// Of a name with all its three parts, such as `dragnet.test/dragnet:1`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (name, tag) = name.rsplit_once(':')?;
        let (registry, repository) = name.split_once('/')?;
        Some(Self { registry: registry.to_owned(), repository: repository.to_owned(), tag: tag.to_owned() })
    }

    /// As a pod names it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_come_apart_and_together_again() {
        let name = "registry.example:5000/team/dragnet:0.1.0";
        let image = Image::parse(name).unwrap();
        assert_eq!((image.registry.as_str(), image.repository.as_str()), ("registry.example:5000", "team/dragnet"));
        assert_eq!(image.name(), name);
        assert_eq!(Image::parse("dragnet:1"), None);
    }
}
