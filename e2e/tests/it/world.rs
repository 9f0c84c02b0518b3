//! What all stories share: the cluster, the images on its nodes, Dragnet installed by its charts, and one S3 server.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testcluster::{Cluster, Deadline, Image, Kubectl, Place, eventually};

use crate::parts::{S3_IMAGE, S3_NAMESPACE, restricted_namespace, s3_server};
use crate::scene::secs;

/// Where the operator is.
pub(crate) const SYSTEM: &str = "dragnet-system";
/// Our cluster's name: of its namespaces, cgroups and folder.
const NAME: &str = "dragnet-e2e";
const NODES: usize = 3;

pub(crate) struct World {
    cluster: Cluster,
    place: Place,
    image: Image,
    programs: PathBuf,
}

impl World {
    /// Everything up and installed; or, inside, why this machine cannot have it.
    pub(crate) fn new(place: &Place) -> Result<Result<Self, String>> {
        let programs = env::current_exe().context("failed to find our own program")?;
        let programs = programs.ancestors().nth(2).context("our own program has no folder")?.to_owned();
        let keep = env::var_os("DRAGNET_E2E_KEEP").is_some();
        let (cluster, image) = match Cluster::given(place) {
            Some(cluster) => match env::var("DRAGNET_E2E_IMAGE").ok().and_then(|name| Image::parse(&name)) {
                Some(image) => (cluster, image),
                None => {
                    return Ok(Err(
                        "KUBECONFIG is set; DRAGNET_E2E_IMAGE must name an image its nodes can pull".to_owned()
                    ));
                }
            },
            None => {
                if let Some(reason) = place.without_nodes() {
                    return Ok(Err(reason));
                }
                let cluster = Cluster::up(place, NAME, NODES, keep)?;
                cluster.load_program(&place.s3_server()?, S3_IMAGE, "/usr/local/bin/versitygw")?;
                let image = cluster.load_dragnet(&programs)?;
                (cluster, image)
            }
        };
        let world = Self { cluster, place: place.clone(), image, programs };
        world.kubectl().apply(&s3_server())?;
        world.install(world.charts().as_path(), &world.image.clone())?;
        let storage = world.kubectl().in_namespace(S3_NAMESPACE);
        storage.run(&["rollout", "status", "deployment/s3", "--timeout=60s"])?;
        Ok(Ok(world))
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn kubectl(&self) -> Kubectl {
        self.cluster.kubectl()
    }

    /// The root of the checkout.
    pub(crate) fn repository(&self) -> &Path {
        self.place.repository()
    }

    /// Of this checkout.
    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// A program of this checkout.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    pub(crate) fn charts(&self) -> PathBuf {
        self.repository().join("charts")
    }

    /// Installs the charts in a folder, or upgrades to them, and waits until the operator serves.
    pub(crate) fn install(&self, charts: &Path, image: &Image) -> Result<()> {
        self.install_with(charts, image, &[])
    }

    /// The same with more settings, each `name=value`.
    pub(crate) fn install_with(&self, charts: &Path, image: &Image, settings: &[&str]) -> Result<()> {
        self.kubectl().apply(&restricted_namespace(SYSTEM))?;
        let chart = |name: &str| charts.join(name).to_string_lossy().into_owned();
        self.cluster.helm(&["upgrade", "--install", "dragnet-crds", &chart("dragnet-crds"), "--namespace", SYSTEM])?;
        let operator = chart("dragnet");
        let image_settings = [
            format!("image.registry={}", image.registry),
            format!("image.repository={}", image.repository),
            format!("image.tag={}", image.tag),
        ];
        let mut arguments =
            vec!["upgrade", "--install", "dragnet", &operator, "--namespace", SYSTEM, "--wait", "--timeout", "120s"];
        let image_settings = image_settings.iter().map(String::as_str);
        arguments.extend(image_settings.chain(settings.iter().copied()).flat_map(|setting| ["--set", setting]));
        self.cluster.helm(&arguments).map(drop).inspect_err(|_| self.explain(SYSTEM))?;
        self.await_operator(Deadline::after(secs(60)))
    }

    /// Until one of the operator's pods leads.
    pub(crate) fn await_operator(&self, deadline: Deadline) -> Result<()> {
        eventually("an operator leads", deadline, || Ok(self.operator_leader()?.map(drop)))
    }

    /// The operator's pod that leads, while it is there.
    pub(crate) fn operator_leader(&self) -> Result<Option<String>> {
        let kubectl = self.kubectl().in_namespace(SYSTEM);
        let lease = kubectl.get("lease", "dragnet-operator")?;
        let Some(holder) = lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty()) else {
            return Ok(None);
        };
        let pods = kubectl.list("pods", Some("app.kubernetes.io/component=operator"))?;
        let names = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
        Ok(names.into_iter().find(|name| holder.starts_with(name)).map(str::to_owned))
    }

    /// Prints what went on in a namespace.
    pub(crate) fn explain(&self, namespace: &str) {
        println!("=== what went on in {namespace}\n{}", self.kubectl().in_namespace(namespace).explain());
    }
}
