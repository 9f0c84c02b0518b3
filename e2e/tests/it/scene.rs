//! Where a story takes place: a namespace of its own under restricted pod security, and how it looks at things and waits for them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testcluster::{Deadline, Kubectl, eventually, run};

use crate::parts::{CLUSTER, S3_NAMESPACE, credentials, restricted_namespace};
use crate::world::{SYSTEM, World};

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) struct Scene<'w> {
    world: &'w mut World,
    namespace: String,
    deadline: Deadline,
    /// Undone in reverse when the story ends, however it ends.
    undo: Vec<Undo>,
}

enum Undo {
    Heal(String),
    Boot(String),
    DeleteNamespace(String),
    Reinstall,
}

impl<'w> Scene<'w> {
    pub(crate) fn open(world: &'w mut World, story: &str, deadline: Deadline) -> Result<Self> {
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
    pub(crate) fn elsewhere(&mut self, namespace: &str) -> Scene<'_> {
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

    pub(crate) fn world(&mut self) -> &mut World {
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

    /// The program `dragnet` in a pod of the Orchestrator `main`, printing JSON lines.
    pub(crate) fn dragnet(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let cluster = format!("{CLUSTER}-orchestrator:7601");
        let pods = self.kubectl().list("pods", Some("app.kubernetes.io/component=orchestrator"))?;
        let pod = pods.iter().find(|pod| is_ready(pod)).context("no pod of the orchestrator is ready")?;
        let pod = pod["metadata"]["name"].as_str().context("a pod has a name")?;
        let fixed = [
            "exec",
            pod,
            "-c",
            "orchestrator",
            "--",
            "/dragnet",
            "--json",
            "--tenant",
            &self.namespace,
            "--cluster",
            &cluster,
        ];
        let printed = self.kubectl().run(&[&fixed, arguments].concat())?;
        let lines = printed.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
    }

    /// Puts the files of a folder of this machine into the story's part of the bucket.
    pub(crate) fn upload(&self, folder: &Path) -> Result<()> {
        let storage = self.world.kubectl().in_namespace(S3_NAMESPACE);
        let forwarded = Forwarded::open(&storage, "service/s3", 7070)?;
        let mut command = self.world.cluster().command(&self.world.program("dragnet"));
        command.args(["corpus", "upload"]).arg(folder).arg(format!("s3://dragnet/{}/files", self.namespace));
        with_s3(&mut command, forwarded.port);
        run(command, None).map(drop)
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
        self.world.explain(&self.namespace);
        self.world.explain(SYSTEM);
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
                Undo::Reinstall => self.world.install(&self.world.charts(), &self.world.image().clone()),
                Undo::DeleteNamespace(name) => self.delete_namespace(&name),
            };
            first = first.and(undone);
        }
        first
    }
}

/// A local port that leads to a Service, as long as this lives.
pub(crate) struct Forwarded {
    kubectl: Child,
    pub(crate) port: u16,
}

impl Forwarded {
    pub(crate) fn open(kubectl: &Kubectl, to: &str, port: u16) -> Result<Self> {
        let mut command = kubectl.command(&["port-forward", to, &format!(":{port}")]);
        let mut kubectl =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("failed to start kubectl")?;
        let mut line = String::new();
        BufReader::new(kubectl.stdout.take().context("its output is piped")?).read_line(&mut line)?;
        let port =
            line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|port| port.parse().ok());
        let port = port.with_context(|| format!("kubectl port-forward said {line:?}"));
        if port.is_err() {
            drop(kubectl.kill());
        }
        Ok(Self { port: port?, kubectl })
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        drop(self.kubectl.kill());
        drop(self.kubectl.wait());
    }
}

pub(crate) fn with_s3(command: &mut Command, port: u16) {
    command
        .env("AWS_ENDPOINT", format!("http://127.0.0.1:{port}"))
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", crate::parts::S3_ACCESS).env("AWS_SECRET_ACCESS_KEY", crate::parts::S3_SECRET);
}

/// Whether a condition has a status, said about what the spec is now.
pub(crate) fn has_condition(object: &Value, condition: &str, status: &str) -> bool {
    let generation = &object["metadata"]["generation"];
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|one| {
        let observed = &one["observedGeneration"];
        one["type"] == condition
            && one["status"] == status
            && (observed.is_null() || generation.is_null() || observed == generation)
    })
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null() && has_condition(pod, "Ready", "True")
}

/// The text of a field, for messages and comparisons.
pub(crate) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn number(object: &Value, path: &str) -> u64 {
    object.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

/// Every receipt adds up, nothing is pending, and all `files` are in it.
pub(crate) fn check_receipts(receipts: &[Value], files: u64) -> Result<()> {
    ensure!(!receipts.is_empty(), "there is no receipt");
    for receipt in receipts {
        let parts =
            ["matched", "clean", "timed_out", "crashed", "too_large", "unreadable", "gone", "abandoned", "pending"];
        let sum: u64 = parts.iter().map(|part| receipt[part].as_u64().unwrap_or_default()).sum();
        let stored = receipt["stored_files"].as_u64().context("a receipt says how many files are stored")?;
        ensure!(sum == stored, "the receipt does not add up: {receipt}");
        ensure!(stored == files, "{files} files were put there, the receipt has {stored}: {receipt}");
        ensure!(receipt["pending"].as_u64() == Some(0), "some files are pending: {receipt}");
    }
    Ok(())
}
