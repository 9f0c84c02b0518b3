//! All datasets of a server, those included that no manager cares for.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::UNIX_EPOCH};

use super::{
    desk::{Desk, OrderError},
    disk,
    status::{Report, State, Status},
};
use crate::catalog::{Catalog, Source};

pub struct Desks {
    catalog: Arc<Catalog>,
    desks: BTreeMap<String, Arc<Desk>>,
}

impl Desks {
    /// A desk for each dataset of `catalog` that has versions; their folders are below `data_dir`.
    pub fn new(catalog: Arc<Catalog>, data_dir: &Path) -> Result<Self, disk::Error> {
        let mut desks = BTreeMap::new();
        for spec in catalog.specs() {
            if let Source::Repository(url) = &spec.source {
                let desk = Desk::new(data_dir, &spec.name, url.as_str(), catalog.clone())?;
                desks.insert(spec.name.clone(), Arc::new(desk));
            }
        }
        Ok(Self { catalog, desks })
    }

    /// Those that have versions.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Desk>> {
        self.desks.values()
    }

    pub fn desk(&self, name: &str) -> Result<Arc<Desk>, OrderError> {
        match self.desks.get(name) {
            Some(desk) => Ok(desk.clone()),
            None if self.catalog.specs().iter().any(|spec| spec.name == name) => {
                Err(OrderError::Fixed { name: name.to_owned() })
            }
            None => Err(OrderError::UnknownDataset { name: name.to_owned() }),
        }
    }

    pub fn status(&self, name: &str) -> Result<Status, OrderError> {
        let status = self.statuses().into_iter().find(|status| status.name == name);
        status.ok_or_else(|| OrderError::UnknownDataset { name: name.to_owned() })
    }

    /// In the order of the command line.
    pub fn statuses(&self) -> Vec<Status> {
        let serving = self.catalog.serving();
        let datasets = self.catalog.specs().iter().zip(serving.slots());
        let statuses = datasets.map(|(spec, slot)| match self.desks.get(&spec.name) {
            Some(desk) => desk.status(),
            None => Status {
                name: spec.name.clone(),
                report: Report { state: State::Fixed, ..Report::default() },
                keys: slot.current.as_ref().map_or(0, |version| version.keys()),
                serving_created_at_ms: None,
                serving_since_ms: slot
                    .since
                    .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
                    .and_then(|at| at.as_millis().try_into().ok()),
                ..Status::default()
            },
        });
        statuses.collect()
    }
}
