//! Dragnet on a cluster: images on its nodes, an S3 server, and the operator, installed by helm from the charts of a checkout.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::parts::{S3_ACCESS, S3_IMAGE, S3_NAMESPACE, S3_SECRET, restricted_namespace, s3_server};
use crate::{Cluster, Deadline, Image, Kubectl, Place, eventually, run};

/// Where the operator is.
pub const SYSTEM: &str = "dragnet-system";

/// A cluster with all that Dragnet needs, and Dragnet.
#[derive(Debug)]
pub struct Installation {
    cluster: Cluster,
    place: Place,
    image: Image,
    programs: PathBuf,
}

impl Installation {
    /// Three nodes of our own with the programs in a folder as an image, and an S3 server; Dragnet itself is not installed yet.
    ///
    /// # Errors
    /// When the cluster does not start.
    pub fn on_own_nodes(place: &Place, name: &str, keep: bool, programs: &Path) -> Result<Self> {
        let cluster = Cluster::up(place, name, 3, keep)?;
        cluster.load_program(&place.s3_server()?, S3_IMAGE, "/usr/local/bin/versitygw")?;
        let image = cluster.load_dragnet(programs)?;
        Self::on(cluster, place, image, programs)
    }

    /// The same on a cluster that can get the image by itself.
    ///
    /// # Errors
    /// When the S3 server does not start.
    pub fn on(cluster: Cluster, place: &Place, image: Image, programs: &Path) -> Result<Self> {
        let installation = Self { cluster, place: place.clone(), image, programs: programs.to_owned() };
        installation.kubectl().apply(&s3_server())?;
        let storage = installation.kubectl().in_namespace(S3_NAMESPACE);
        storage.run(&["rollout", "status", "deployment/s3", "--timeout=100s"])?;
        Ok(installation)
    }

    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        self.cluster.kubectl()
    }

    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Of this checkout.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// A program of this checkout.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The charts of this checkout.
    #[must_use]
    pub fn charts(&self) -> PathBuf {
        self.place.repository().join("charts")
    }

    /// Installs charts or upgrades to them, with settings such as `replicas=1`, and waits until the operator leads.
    ///
    /// # Errors
    /// When helm fails, or no operator leads in time.
    pub fn install(&self, charts: &Path, image: &Image, settings: &[&str]) -> Result<()> {
        self.kubectl().apply(&restricted_namespace(SYSTEM))?;
        let chart = |name: &str| charts.join(name).to_string_lossy().into_owned();
        self.cluster.helm(&["upgrade", "--install", "dragnet-crds", &chart("dragnet-crds"), "--namespace", SYSTEM])?;
        let Image { registry, repository, tag } = image;
        let of_image = [
            format!("image.registry={registry}"),
            format!("image.repository={repository}"),
            format!("image.tag={tag}"),
        ];
        let operator = chart("dragnet");
        let mut arguments = vec!["upgrade", "--install", "dragnet", &operator, "--namespace", SYSTEM];
        arguments.extend(["--wait", "--timeout", "100s"]);
        let settings = of_image.iter().map(String::as_str).chain(settings.iter().copied());
        arguments.extend(settings.flat_map(|setting| ["--set", setting]));
        self.cluster.helm(&arguments)?;
        self.await_operator(Deadline::after(Duration::from_secs(60)))
    }

    /// Until one of the operator's pods leads.
    ///
    /// # Errors
    /// When the deadline passes first.
    pub fn await_operator(&self, deadline: Deadline) -> Result<()> {
        eventually("an operator leads", deadline, || Ok(self.operator_leader()?.map(drop)))
    }

    /// The operator's pod that leads, while it is there.
    ///
    /// # Errors
    /// When there is no Lease.
    pub fn operator_leader(&self) -> Result<Option<String>> {
        let kubectl = self.kubectl().in_namespace(SYSTEM);
        let lease = kubectl.get("lease", "dragnet-operator")?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let pods = kubectl.list("pods", Some("app.kubernetes.io/component=operator"))?;
        let mut names = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
        Ok(names.find(|name| !holder.is_empty() && holder.starts_with(name)).map(str::to_owned))
    }

    /// Puts the files of a folder of this machine into `s3://dragnet/PREFIX`.
    ///
    /// # Errors
    /// When the S3 server refuses one.
    pub fn upload(&self, folder: &Path, prefix: &str) -> Result<()> {
        let storage = self.kubectl().in_namespace(S3_NAMESPACE);
        let pods = storage.list("pods", None)?;
        let pod = pods.iter().find(|pod| is_ready(pod)).context("the S3 server is not ready")?;
        // Through the API server only where pods cannot be reached: that costs forty milliseconds a file.
        let forwarded = if self.cluster.is_own() { None } else { Some(Forwarded::open(&storage, "service/s3", 7070)?) };
        let address = match &forwarded {
            Some(forwarded) => format!("127.0.0.1:{}", forwarded.port),
            None => format!("{}:7070", pod["status"]["podIP"].as_str().context("a pod that is ready has an address")?),
        };
        let mut command = self.cluster.command(&self.program("dragnet"));
        command.args(["corpus", "upload"]).arg(folder).arg(format!("s3://dragnet/{prefix}"));
        command.env("AWS_ENDPOINT", format!("http://{address}")).env("AWS_ALLOW_HTTP", "true");
        command
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", S3_ACCESS)
            .env("AWS_SECRET_ACCESS_KEY", S3_SECRET);
        run(command, None).map(drop)
    }

    /// `dragnet` in a pod of a namespace's Orchestrator `main`, as that namespace's tenant; its JSON lines.
    ///
    /// # Errors
    /// When no pod is ready, or the command fails.
    pub fn dragnet(&self, namespace: &str, arguments: &[&str]) -> Result<Vec<Value>> {
        let kubectl = self.kubectl().in_namespace(namespace);
        let pods = kubectl.list("pods", Some("app.kubernetes.io/component=orchestrator"))?;
        let pod = pods.iter().find(|pod| is_ready(pod)).context("no pod of the orchestrator is ready")?;
        let pod = pod["metadata"]["name"].as_str().context("a pod has a name")?;
        let instance = pod.rsplit_once("-orchestrator-").context("a pod is named after its Orchestrator")?.0;
        let cluster = format!("{instance}-orchestrator:7601");
        let fixed = ["exec", pod, "--", "/dragnet", "--json", "--tenant", namespace, "--cluster", &cluster];
        let printed = kubectl.run(&[&fixed, arguments].concat())?;
        let lines = printed.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
    }
}

/// Whether a pod is ready and means to stay.
#[must_use]
pub fn is_ready(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null() && has_condition(pod, "Ready", "True")
}

/// Whether a condition has a status, said about what the spec is now.
#[must_use]
pub fn has_condition(object: &Value, condition: &str, status: &str) -> bool {
    let generation = &object["metadata"]["generation"];
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| {
        let observed = &one["observedGeneration"];
        let is_of_now = observed.is_null() || generation.is_null() || observed == generation;
        one["type"] == condition && one["status"] == status && is_of_now
    })
}

/// A local port that leads to a Service, as long as this lives.
struct Forwarded {
    kubectl: Child,
    port: u16,
}

impl Forwarded {
    fn open(kubectl: &Kubectl, to: &str, port: u16) -> Result<Self> {
        let mut command: Command = kubectl.command(&["port-forward", to, &format!(":{port}")]);
        let mut kubectl = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start kubectl port-forward")?;
        let mut line = String::new();
        BufReader::new(kubectl.stdout.take().context("its output is piped")?).read_line(&mut line)?;
        let rest = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
        match rest.and_then(|port| port.parse().ok()) {
            Some(port) => Ok(Self { kubectl, port }),
            None => {
                drop(kubectl.kill());
                drop(kubectl.wait());
                anyhow::bail!("kubectl port-forward said {line:?}")
            }
        }
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        drop(self.kubectl.kill());
        drop(self.kubectl.wait());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_about_an_older_spec_does_not_count() {
        let object = |observed: u64| {
            let conditions = json!([{ "type": "Ready", "status": "True", "observedGeneration": observed }]);
            json!({ "metadata": { "generation": 2 }, "status": { "conditions": conditions } })
        };
        assert!(has_condition(&object(2), "Ready", "True"));
        assert!(!has_condition(&object(1), "Ready", "True"));
        assert!(!has_condition(&object(2), "Ready", "False"));
    }
}
