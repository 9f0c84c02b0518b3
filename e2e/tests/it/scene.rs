//! Where a story takes place: a namespace of its own under restricted pod security, and how it looks at things and waits for them.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testcluster::parts::{credentials, restricted_namespace};
use testcluster::{Deadline, Installation, Kubectl, SYSTEM, eventually, has_condition};

use crate::world::explain;

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) struct Scene<'w> {
    world: &'w Installation,
    namespace: String,
    deadline: Deadline,
    /// Undone in reverse when the story ends, however it ends.
    undo: Vec<Undo>,
}

/// Why a story cannot be told here, which is no failure of it.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) &'static str);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Skip {}

enum Undo {
    Heal(String),
    Boot(String),
    DeleteNamespace(String),
    Reinstall,
}

impl<'w> Scene<'w> {
    pub(crate) fn open(world: &'w Installation, story: &str, deadline: Deadline) -> Result<Self> {
        let namespace: String = story.replace('_', "-").chars().take(40).collect();
        let namespace = namespace.trim_end_matches('-').to_owned();
        let scene =
            Self { world, namespace: namespace.clone(), deadline, undo: vec![Undo::DeleteNamespace(namespace)] };
        scene.delete_namespace(&scene.namespace)?;
        scene.world.kubectl().apply(&restricted_namespace(&scene.namespace))?;
        scene.kubectl().apply(&credentials())?;
        Ok(scene)
    }

    /// How another namespace looks from here. It has nothing of its own to undo.
    pub(crate) fn elsewhere(&self, namespace: &str) -> Scene<'w> {
        Scene { world: self.world, namespace: namespace.to_owned(), deadline: self.deadline, undo: Vec::new() }
    }

    pub(crate) fn delete_at_the_end(&mut self, namespace: &str) {
        self.undo.push(Undo::DeleteNamespace(namespace.to_owned()));
    }

    /// Kind and name of every resource of ours in the namespace.
    pub(crate) fn all_resources(&self) -> Result<Vec<(String, String)>> {
        let all = self.kubectl().list("dragnet", None)?;
        let named =
            all.iter().map(|object| (text(object, "/kind").to_lowercase(), text(object, "/metadata/name").to_owned()));
        Ok(named.collect())
    }

    pub(crate) fn world(&self) -> &'w Installation {
        self.world
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// kubectl in the story's namespace.
    pub(crate) fn kubectl(&self) -> Kubectl {
        self.world.kubectl().in_namespace(&self.namespace)
    }

    pub(crate) fn apply(&self, documents: &str) -> Result<()> {
        self.kubectl().apply(documents).map(drop)
    }

    /// Waits no longer than `seconds`, nor than the whole story may take.
    pub(crate) fn until<T>(&self, what: &str, seconds: u64, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        eventually(what, Deadline::after(secs(seconds)).or(self.deadline), look)
    }

    /// Waits for a condition of a resource, said about its newest generation, and returns the resource.
    pub(crate) fn until_condition(
        &self,
        kind: &str,
        name: &str,
        condition: &str,
        status: &str,
        seconds: u64,
    ) -> Result<Value> {
        self.until(&format!("{kind} {name} is {condition}={status}"), seconds, || {
            let object = self.kubectl().get(kind, name)?;
            Ok(has_condition(&object, condition, status).then_some(object))
        })
    }

    pub(crate) fn until_ready(&self, kind: &str, name: &str, seconds: u64) -> Result<Value> {
        self.until_condition(kind, name, "Ready", "True", seconds)
    }

    /// `dragnet` in a pod of the Orchestrator `main`, as the story's tenant; its JSON lines.
    pub(crate) fn dragnet(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        self.world.dragnet(&self.namespace, arguments)
    }

    /// Puts the files of a folder of this machine into the story's part of the bucket.
    pub(crate) fn upload(&self, folder: &Path) -> Result<()> {
        self.world.upload(folder, &format!("{}/files", self.namespace))
    }

    /// Takes a node off the network until the story ends or [`Scene::heal`].
    pub(crate) fn cut(&mut self, node: &str) -> Result<()> {
        self.undo.push(Undo::Heal(node.to_owned()));
        self.world.cluster().cut(node)
    }

    pub(crate) fn heal(&mut self, node: &str) -> Result<()> {
        self.world.cluster().heal(node)
    }

    /// Crashes a node; it boots when the story ends, or by [`Scene::boot`].
    pub(crate) fn crash(&mut self, node: &str) -> Result<()> {
        self.undo.push(Undo::Boot(node.to_owned()));
        self.world.cluster().crash(node)
    }

    pub(crate) fn boot(&mut self, node: &str) -> Result<()> {
        self.undo.retain(|undo| !matches!(undo, Undo::Boot(crashed) if crashed == node));
        self.world.cluster().boot(node)
    }

    /// The story changes how Dragnet is installed; afterwards it is as before.
    pub(crate) fn reinstall_at_the_end(&mut self) {
        self.undo.push(Undo::Reinstall);
    }

    /// Prints what happened here and in the operator's namespace.
    pub(crate) fn explain(&self) {
        explain(self.world, &self.namespace);
        explain(self.world, SYSTEM);
    }

    fn delete_namespace(&self, name: &str) -> Result<()> {
        self.world
            .kubectl()
            .run(&["delete", "namespace", name, "--ignore-not-found", "--wait", "--timeout=110s"])
            .map(drop)
    }

    pub(crate) fn close(mut self) -> Result<()> {
        let mut first = Ok(());
        while let Some(undo) = self.undo.pop() {
            let undone = match undo {
                Undo::Heal(node) => self.world.cluster().heal(&node),
                Undo::Boot(node) => self.world.cluster().boot(&node),
                Undo::Reinstall => self.world.install(&self.world.charts(), self.world.image(), &[]),
                Undo::DeleteNamespace(name) => self.delete_namespace(&name),
            };
            first = first.and(undone);
        }
        first
    }
}

/// The text of a field, for messages and comparisons.
pub(crate) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn number(object: &Value, path: &str) -> u64 {
    object.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

/// Every receipt adds up, nothing is pending, and all `files` are in them.
pub(crate) fn check_receipts(receipts: &[Value], files: u64) -> Result<()> {
    let mut stored = 0;
    for receipt in receipts {
        let part = |name: &str| receipt[name].as_u64().with_context(|| format!("no {name} in {receipt}"));
        let parts = ["matched", "clean", "timed_out", "crashed", "too_large", "unreadable", "gone", "abandoned"];
        let answered = parts.iter().map(|name| part(name)).sum::<Result<u64>>()?;
        ensure!(part("pending_files")? == 0, "some files are pending: {receipt}");
        ensure!(answered == part("stored_files")?, "the receipt does not add up: {receipt}");
        stored += answered;
    }
    ensure!(stored == files, "{files} files were put there, the receipts have {stored}: {receipts:?}");
    Ok(())
}
