//! From Rust types to what the API server is given.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{BatchDataset, Corpus, KINDS, Kind, Orchestrator, ScanWorker, YaraRuleset, columns};

/// Every definition, in the order of [`KINDS`].
pub fn crds() -> Vec<CustomResourceDefinition> {
    KINDS.into_iter().map(definition).collect()
}

/// `crd` as it lies in `crds/`.
///
/// Errors: none in practice; a definition holds nothing that YAML cannot say.
pub fn yaml(crd: &CustomResourceDefinition) -> Result<String, yaml_serde::Error> {
    let text = yaml_serde::to_string(crd)?;
    Ok(format!("# Generated from crates/crd by `cargo xtask fix`; not to be edited.\n{text}"))
}

fn definition(kind: Kind) -> CustomResourceDefinition {
    let mut crd = match kind {
        Kind::Orchestrator => Orchestrator::crd(),
        Kind::ScanWorker => ScanWorker::crd(),
        Kind::BatchDataset => BatchDataset::crd(),
        Kind::Corpus => Corpus::crd(),
        Kind::YaraRuleset => YaraRuleset::crd(),
    };
    for version in &mut crd.spec.versions {
        version.additional_printer_columns = Some(columns(kind).iter().map(Into::into).collect());
    }
    crd
}
