//! One question of the API server: may this YaraRuleset be stored?
//!
//! Refused is only what surely cannot hunt, with line and column. What cannot be known now (a ConfigMap that is yet to
//! come, a compiler that does not answer) is let through with a warning: the controller looks again.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use crd::{YaraRulesetSpec, reason};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    core::{
        DynamicObject,
        admission::{AdmissionRequest, AdmissionResponse, Operation},
    },
};
use tracing::warn;

use crate::ruleset::{Checker, Gathered, Refusal, config_maps, gather, status::sentence};

/// Below what the API server waits, so that it gets our answer and not its own.
const PATIENCE: Duration = Duration::from_secs(8);
/// `kubectl` prints them all.
const MOST_MISTAKES: usize = 10;
/// As the API asks for.
const MOST_WARNINGS: usize = 5;
const LONGEST_WARNING: usize = 250;

/// Where ConfigMaps come from; the cluster, or a test.
pub trait Rules: Send + Sync {
    /// `None` if there is none, or nobody can say.
    fn config_map<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Option<ConfigMap>> + Send + 'a>>;
}

impl Rules for Client {
    fn config_map<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Option<ConfigMap>> + Send + 'a>> {
        Box::pin(async move {
            let maps: Api<ConfigMap> = Api::namespaced(self.clone(), namespace);
            maps.get_opt(name).await.unwrap_or_else(|error| {
                warn!(%error, namespace, name, "the webhook cannot read a ConfigMap");
                None
            })
        })
    }
}

/// Answers reviews.
pub struct Review {
    rules: Box<dyn Rules>,
    checker: Arc<Checker>,
}

/// What became of a ruleset's check.
enum Outcome {
    Good { warnings: Vec<String> },
    Bad { mistakes: Vec<String> },
    Unknown { why: String },
}

impl Review {
    pub fn new(rules: impl Rules + 'static, checker: Arc<Checker>) -> Self {
        Self { rules: Box::new(rules), checker }
    }

    pub(super) async fn answer(&self, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
        let mut response = AdmissionResponse::from(request);
        let Some(spec) = changed_spec(request) else { return response };
        match self.check(request.namespace.as_deref().unwrap_or_default(), &spec).await {
            Outcome::Good { warnings } => {
                response.warnings = (!warnings.is_empty()).then_some(warnings);
                response
            }
            Outcome::Bad { mistakes } => response.deny(refusal(&mistakes)),
            Outcome::Unknown { why } => {
                response.warnings = Some(vec![shortened(&format!("not checked now: {why}; see the status later"))]);
                response
            }
        }
    }

    async fn check(&self, namespace: &str, spec: &YaraRulesetSpec) -> Outcome {
        let mut maps = BTreeMap::new();
        for name in config_maps(&spec.sources) {
            if let Some(map) = self.rules.config_map(namespace, name).await {
                maps.insert(name.to_owned(), map);
            }
        }
        let Gathered { sources, places } = match gather(&spec.sources, &maps) {
            Ok(gathered) => gathered,
            // It may be the next object of the same `kubectl apply`.
            Err(Refusal { reason: reason::REFERENCE_NOT_FOUND, message }) => return Outcome::Unknown { why: message },
            Err(Refusal { message, .. }) => return Outcome::Bad { mistakes: vec![message] },
        };
        match self.checker.check_within(PATIENCE, &sources).await {
            Ok(verdict) => {
                let said = |problems: &[rules::Problem]| -> Vec<_> {
                    problems.iter().map(|problem| sentence(problem, &places)).collect()
                };
                match verdict.problems.is_empty() {
                    true => {
                        let warnings =
                            said(&verdict.warnings).iter().take(MOST_WARNINGS).map(|it| shortened(it)).collect();
                        Outcome::Good { warnings }
                    }
                    false => Outcome::Bad { mistakes: said(&verdict.problems) },
                }
            }
            Err(error) if error.is_death() => Outcome::Bad { mistakes: vec![error.to_string()] },
            Err(error) => {
                warn!(%error, "the webhook cannot check rules");
                Outcome::Unknown { why: error.to_string() }
            }
        }
    }
}

/// The spec, if it is to be checked: not what is being deleted, and not what stays as it is.
fn changed_spec(request: &AdmissionRequest<DynamicObject>) -> Option<YaraRulesetSpec> {
    match request.operation {
        Operation::Create | Operation::Update => {}
        Operation::Delete | Operation::Connect => return None,
    }
    let object = request.object.as_ref()?;
    if object.metadata.deletion_timestamp.is_some() {
        return None; // its finalizer is being taken away
    }
    let spec = object.data.get("spec")?;
    let before = request.old_object.as_ref().and_then(|old| old.data.get("spec"));
    if before.is_some_and(|before| before.get("sources") == spec.get("sources")) {
        return None;
    }
    // What does not fit the schema is the API server's to refuse, and it is better at it.
    serde_json::from_value(spec.clone()).ok()
}

fn refusal(mistakes: &[String]) -> String {
    let shown = mistakes.iter().take(MOST_MISTAKES).map(String::as_str).collect::<Vec<_>>().join("\n");
    match mistakes.len().checked_sub(MOST_MISTAKES) {
        Some(more @ 1..) => format!("the rules do not compile:\n{shown}\nand {more} more"),
        _ => format!("the rules do not compile:\n{shown}"),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_WARNING) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
