//! What every controller is handed.

use std::sync::Arc;

use crd::BatchDataset;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tracing::warn;

use super::{
    apply::Applied,
    children::{Children, Keeping},
    known::Known,
    labels,
    orchestrators::Orchestrators,
};
use crate::{config::Settings, metrics::Metrics};

/// Shared by all controllers of this process.
pub struct Context {
    pub client: Client,
    pub settings: Settings,
    pub metrics: Metrics,
    pub children: Children,
    pub orchestrators: Orchestrators,
    pub datasets: Known<BatchDataset>,
    pub applied: Arc<Applied>,
    recorder: Recorder,
}

impl Context {
    /// Also returns the work of keeping the caches, for the caller's task set.
    pub fn new(client: Client, settings: Settings, metrics: Metrics, pod: &str) -> (Arc<Self>, Vec<Keeping>) {
        let applied = Arc::new(Applied::default());
        let (children, mut keeping) = Children::new(&client, &settings.namespaces, &applied);
        let (orchestrators, more) = Orchestrators::new(&client, &settings.namespaces);
        keeping.extend(more);
        let (datasets, more) = Known::new(&client, &settings.namespaces);
        keeping.extend(more);
        let reporter = Reporter { controller: labels::MANAGER.to_owned(), instance: Some(pod.to_owned()) };
        let recorder = Recorder::new(client.clone(), reporter);
        (Arc::new(Self { client, settings, metrics, children, orchestrators, datasets, applied, recorder }), keeping)
    }

    /// Tells people of a step that was taken. Not of a state: those are conditions, whose turns are told by themselves.
    pub async fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &str, note: impl Into<String>) {
        self.publish(object, EventType::Normal, reason, note.into()).await;
    }

    /// Warns people of something that they should look at.
    pub async fn warn<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &str, note: impl Into<String>) {
        self.publish(object, EventType::Warning, reason, note.into()).await;
    }

    async fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, type_: EventType, reason: &str, note: String) {
        /// What an Event's note may have, in bytes.
        const MAX_NOTE: usize = 1024;
        let end = (0..=note.len().min(MAX_NOTE)).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note[..end].to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        self.metrics.request("event");
        if let Err(error) = self.recorder.publish(&event, &object.object_ref(&())).await {
            // An Event that is lost is no reason to do the work again.
            warn!(%error, reason, "failed to publish an event");
        }
    }
}
