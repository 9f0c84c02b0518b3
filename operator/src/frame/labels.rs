//! Labels on everything that is made, and how to find one's own again.

use std::collections::BTreeMap;

use crd::Kind;

pub const NAME: &str = "app.kubernetes.io/name";
pub const COMPONENT: &str = "app.kubernetes.io/component";
pub const INSTANCE: &str = "app.kubernetes.io/instance";
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const PART_OF: &str = "app.kubernetes.io/part-of";
pub const MANAGER: &str = "dragnet-operator";

/// What a thing is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    Orchestrator,
    ScanWorker,
    KvServer,
    DatasetBuild,
}

impl Component {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orchestrator => "orchestrator",
            Self::ScanWorker => "scan-worker",
            Self::KvServer => "kv-server",
            Self::DatasetBuild => "dataset-build",
        }
    }

    /// Whose it is.
    pub fn kind(self) -> Kind {
        match self {
            Self::Orchestrator => Kind::Orchestrator,
            Self::ScanWorker => Kind::ScanWorker,
            Self::KvServer | Self::DatasetBuild => Kind::BatchDataset,
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Orchestrator, Self::ScanWorker, Self::KvServer, Self::DatasetBuild]
            .into_iter()
            .find(|component| component.as_str() == name)
    }
}

/// All labels of a thing.
pub fn labels(component: Component, instance: &str) -> BTreeMap<String, String> {
    let mut labels = selector(component, instance);
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.insert(PART_OF.to_owned(), "dragnet".to_owned());
    labels
}

/// Those that choose pods; they can never change.
pub fn selector(component: Component, instance: &str) -> BTreeMap<String, String> {
    [(NAME, "dragnet"), (COMPONENT, component.as_str()), (INSTANCE, instance)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The same for a query: `a=b,c=d`.
pub fn selector_text(component: Component, instance: &str) -> String {
    let pairs: Vec<String> =
        selector(component, instance).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// The kind and name of the resource that a thing with these labels belongs to.
pub fn owner(labels: &BTreeMap<String, String>) -> Option<(Kind, &str)> {
    let component = Component::named(labels.get(COMPONENT)?)?;
    Some((component.kind(), labels.get(INSTANCE)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_leads_back_to_its_resource() {
        let labels = labels(Component::KvServer, "packages");
        assert_eq!(owner(&labels), Some((Kind::BatchDataset, "packages")));
        assert_eq!(owner(&BTreeMap::new()), None);
    }
}
