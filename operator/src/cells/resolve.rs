//! From a resource to the cell that keeps what it stands for.

use std::sync::Arc;

use crd::OrchestratorRef;
use kube::{Resource as _, ResourceExt as _};

use super::{Cell, CellKey, Cells};
use crate::frame::{
    Context,
    orchestrators::{self, Unresolved},
};

/// Members that a cluster may have at most: addresses of all of them are tried when its resource cannot be read.
const MOST_MEMBERS: i32 = 5;

/// The Orchestrator that a resource means.
pub(crate) struct Resolved {
    pub(crate) name: String,
    /// It is being deleted, and what it keeps with it.
    pub(crate) is_going: bool,
    pub(crate) cell: Arc<Cell>,
}

/// `reference` is what the spec says; `before` is the Orchestrator that was meant when the status was written.
pub(crate) fn resolve(
    ctx: &Context,
    cells: &Cells,
    namespace: &str,
    reference: Option<&OrchestratorRef>,
    before: Option<&str>,
) -> Result<Resolved, Unresolved> {
    let remembered = before.map(|name| OrchestratorRef { name: name.to_owned() });
    let found = ctx.orchestrators.resolve_as_before(namespace, reference, before);
    let named = reference.or(remembered.as_ref());
    let key = |name: &str| CellKey { namespace: namespace.to_owned(), orchestrator: name.to_owned() };
    let found = found.inspect_err(|_| {
        if let Some(gone) = named {
            cells.forget(&key(&gone.name));
        }
    })?;
    let name = found.name_any();
    let replicas = found.0.as_ref().map_or(MOST_MEMBERS, |orchestrator| orchestrator.spec.replicas);
    let cell = cells.cell(&key(&name), orchestrators::addresses(namespace, &name, replicas));
    let is_going = found.meta().deletion_timestamp.is_some();
    Ok(Resolved { name, is_going, cell })
}
