//! What all stories share: Dragnet installed on a cluster.

use std::env;

use anyhow::{Context, Result};
use testcluster::{Cluster, Image, Installation, Place, SYSTEM};

/// Our cluster's name: of its network namespaces, cgroups and folder.
const NAME: &str = "dragnet-e2e";

/// Everything up and installed; or, inside, why this machine cannot have it.
pub(crate) fn begin(place: &Place) -> Result<Result<Installation, String>> {
    let program = env::current_exe().context("failed to find our own program")?;
    let programs = program.ancestors().nth(2).context("our own program has no folder")?;
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
            Installation::on_own_nodes(place, NAME, env::var_os("DRAGNET_E2E_KEEP").is_some(), programs)?
        }
    };
    world.install(&world.charts(), &world.image().clone(), &[]).inspect_err(|_| explain(&world, SYSTEM))?;
    Ok(Ok(world))
}

/// Prints what went on in a namespace.
pub(crate) fn explain(world: &Installation, namespace: &str) {
    println!("=== what went on in {namespace}\n{}", world.kubectl().in_namespace(namespace).explain());
}
