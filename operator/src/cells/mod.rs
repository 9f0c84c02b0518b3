//! What orchestrators say of hunts and corpora, for the controllers of both.
//!
//! ```text
//! orchestrator ──one watch, one question now and then──► feed ──► what is seen (a value to look at)
//!                                                         └────► wake-ups for those whose numbers changed, at a bounded rate
//! ```
//! A cell is one tenant of one Orchestrator: a namespace. However many rulesets it has, there is one connection and one
//! watch. Nothing here decides anything, and nothing here talks to the Kubernetes API.

mod cell;
mod feed;
pub(crate) mod finalizer;
mod resolve;
mod speed;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;

pub(crate) use cell::{Cell, CellKey, Error, Sighting};
pub(crate) use resolve::{Resolved, resolve};
pub(crate) use speed::rough;

/// Resources to look at again, because the cluster says something new of them.
pub(crate) struct Wakes {
    pub(crate) rulesets: mpsc::Receiver<ObjectRef<crd::YaraRuleset>>,
    pub(crate) corpora: mpsc::Receiver<ObjectRef<crd::Corpus>>,
}

/// Wake-ups that wait for their controller. A feed waits when it is full, and loses nothing: it sends names, not numbers.
const WAITING: usize = 64;
/// Cells that were asked for and are not watched yet.
const NEW_CELLS: usize = 256;

/// All cells that somebody asked for.
pub(crate) struct Cells {
    cells: Mutex<BTreeMap<CellKey, Arc<Cell>>>,
    /// Corpora that resources declare, whether their clusters know of them or not; by namespace.
    declared: Mutex<BTreeMap<String, BTreeSet<String>>>,
    new: mpsc::Sender<Arc<Cell>>,
}

/// Follows all cells; to be run beside the controllers.
pub(crate) struct Feeds {
    new: mpsc::Receiver<Arc<Cell>>,
    senders: feed::Senders,
}

/// Cells, what follows them, and what comes of that.
pub(crate) fn cells() -> (Arc<Cells>, Feeds, Wakes) {
    let (new, new_cells) = mpsc::channel(NEW_CELLS);
    let (ruleset, rulesets) = mpsc::channel(WAITING);
    let (corpus, corpora) = mpsc::channel(WAITING);
    let cells = Arc::new(Cells { cells: Mutex::default(), declared: Mutex::default(), new });
    (cells, Feeds { new: new_cells, senders: feed::Senders { ruleset, corpus } }, Wakes { rulesets, corpora })
}

impl Cells {
    /// The cell of a namespace in the Orchestrator at these addresses. From now on it is followed.
    pub(crate) fn cell(&self, key: &CellKey, addresses: Vec<String>) -> Arc<Cell> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = cells.get(key).filter(|cell| cell.addresses() == addresses) {
            return Arc::clone(cell);
        }
        let cell = Arc::new(Cell::new(key.clone(), addresses));
        // Should there be no room, the next reconciliation asks again.
        if self.new.try_send(Arc::clone(&cell)).is_ok()
            && let Some(replaced) = cells.insert(key.clone(), Arc::clone(&cell))
        {
            replaced.close();
        }
        cell
    }

    pub(crate) fn declare_corpus(&self, namespace: &str, name: &str) {
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        declared.entry(namespace.to_owned()).or_default().insert(name.to_owned());
    }

    pub(crate) fn withdraw_corpus(&self, namespace: &str, name: &str) {
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = declared.get_mut(namespace) {
            names.remove(name);
        }
    }

    /// Rulesets are not complete before what lies in these is answered, too.
    pub(crate) fn declared_corpora(&self, namespace: &str) -> BTreeSet<String> {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        declared.get(namespace).cloned().unwrap_or_default()
    }

    /// The Orchestrator is gone: nobody follows it any more.
    pub(crate) fn forget(&self, key: &CellKey) {
        if let Some(cell) = self.cells.lock().unwrap_or_else(PoisonError::into_inner).remove(key) {
            cell.close();
        }
    }
}

impl Feeds {
    /// Never returns while there is somebody who may ask for cells.
    pub(crate) async fn run(mut self) {
        let mut feeds = FuturesUnordered::new();
        loop {
            tokio::select! {
                cell = self.new.recv() => match cell {
                    Some(cell) => feeds.push(feed::follow(cell, self.senders.clone())),
                    None => return,
                },
                Some(()) = feeds.next(), if !feeds.is_empty() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
