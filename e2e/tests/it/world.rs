//! What all stories share: Dragnet installed on a cluster.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;
use testcluster::{Cluster, Image, Installation, Place, SYSTEM};

/// Our clusters' names, with a number behind: of their network namespaces, cgroups and folders.
const NAME: &str = "dragnet-e2e";

/// Whether there is a cluster to use instead of our own.
pub(crate) fn is_given() -> bool {
    env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty())
}

/// The folder that cargo put the programs of this checkout into.
pub(crate) fn built() -> Result<PathBuf> {
    let program = env::current_exe().context("failed to find our own program")?;
    program.ancestors().nth(2).map(Path::to_owned).context("our own program has no folder")
}

/// Second names of these programs: the first are an older commit's while that one is built to be upgraded from.
pub(crate) fn programs() -> Result<TempDir> {
    let built = built()?;
    let folder = tempfile::Builder::new().prefix("e2e-programs.").tempdir_in(&built)?;
    for name in ["orchestrator", "scan-worker", "kv-server", "dragnet", "operator", "statsd-filter"] {
        let program = built.join(name);
        fs::hard_link(&program, folder.path().join(name))
            .with_context(|| format!("failed to link {}; build the workspace first", program.display()))?;
    }
    Ok(folder)
}

/// Everything up and installed; or, inside, why this machine cannot have it.
pub(crate) fn begin(place: &Place, number: usize, programs: &Path) -> Result<Result<Installation, String>> {
    let world = match Cluster::given(place) {
        Some(cluster) => {
            let image = env::var("DRAGNET_E2E_IMAGE").ok().and_then(|name| Image::parse(&name));
            let Some(image) = image else {
                return Ok(
                    Err("KUBECONFIG is set, and DRAGNET_E2E_IMAGE names no image its nodes can pull".to_owned()),
                );
            };
            Installation::on(cluster, place, image, programs)?
        }
        None => {
            if let Some(reason) = place.without_nodes() {
                return Ok(Err(reason));
            }
            let (name, keep) = (format!("{NAME}-{number}"), env::var_os("DRAGNET_E2E_KEEP").is_some());
            Installation::on_own_nodes(place, &name, keep, programs)?
        }
    };
    world.install(&world.charts(), &world.image().clone(), &[]).inspect_err(|_| explain(&world, SYSTEM))?;
    Ok(Ok(world))
}

/// Prints what went on in a namespace.
pub(crate) fn explain(world: &Installation, namespace: &str) {
    println!("=== what went on in {namespace}\n{}", world.kubectl().in_namespace(namespace).explain());
}
