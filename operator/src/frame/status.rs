//! Writing a status: only when it differs, and an Event for each condition that turned.

use std::fmt::Debug;

use crd::{Condition, Kind, reason};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
    core::error_boundary::InvalidObject,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Context, Error, apply::FIELD_MANAGER, conditions};
use crate::judgement::Judgement;

/// What goes wrong stays visible while other conditions are rewritten around it.
const WARNINGS: [&str; 3] = ["Degraded", "QuorumHealthy", "BackupHealthy"];

/// Writes `status` if it is not what `object` has; tells of conditions that turned.
///
/// Returns whether anything was written. Errors: the API server refused or did not answer.
pub async fn write<K, S>(ctx: &Context, kind: Kind, object: &K, before: Option<&S>, status: &S) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    S: Serialize + PartialEq,
{
    observe_conditions(ctx, kind, object, status);
    if before == Some(status) {
        return Ok(false);
    }
    let value = to_value(status)?;
    patch(ctx, object, &value).await?;
    let before = before.map(to_value).transpose()?.unwrap_or(Value::Null);
    tell(ctx, object, &conditions_of(&before), &conditions_of(&value)).await;
    Ok(true)
}

/// Says in the status of an object that it cannot be read, and why.
pub async fn write_invalid<K>(ctx: &Context, kind: Kind, invalid: &InvalidObject) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
{
    let namespace = invalid.metadata.namespace.clone().unwrap_or_default();
    let name = invalid.metadata.name.clone().unwrap_or_default();
    let message = format!("this object cannot be read: {}; correct it, or delete it", invalid.error);
    let judgements = [
        Judgement::no(crd::ConditionType::Ready, reason::INVALID_SPEC, message.clone()),
        Judgement::yes(crd::ConditionType::Degraded, reason::INVALID_SPEC, message),
    ];
    let api: Api<kube::api::DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), &namespace, &kube::api::ApiResource::erase::<K>(&()));
    ctx.metrics.request("get");
    let stored = api.get(&name).await.map_err(Error::api(format!("read {kind} {name}")))?;
    let before = conditions_of(stored.data.get("status").unwrap_or(&Value::Null));
    let generation = invalid.metadata.generation;
    let merged = conditions::merge(kind, &before, &judgements, generation, Timestamp::now());
    if merged == before {
        return Ok(());
    }
    let status = json!({ "observedGeneration": generation, "conditions": merged });
    let body = json!({ "status": status });
    ctx.metrics.request("status");
    // A merge keeps what else the status says; applying would take it away.
    api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&body))
        .await
        .map_err(Error::api(format!("write the status of {kind} {name}")))?;
    Ok(())
}

async fn patch<K>(ctx: &Context, object: &K, status: &Value) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let api: Api<K> = Api::namespaced(ctx.client.clone(), &namespace);
    let body = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        // Of a resource that was deleted and made anew meanwhile this status says nothing.
        "metadata": { "name": name, "uid": object.uid() },
        "status": status,
    });
    ctx.metrics.request("status");
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(&name, &params, &Patch::Apply(&body)).await {
        Ok(_) => Ok(()),
        // Deleted meanwhile; nobody is left to tell.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::api(format!("write the status of {} {name}", K::kind(&())))(error)),
    }
}

/// An Event for each reason that is new: of conditions that turned for one reason, the one that tells most speaks for all.
async fn tell<K: Resource<DynamicType = ()>>(ctx: &Context, object: &K, before: &[Condition], after: &[Condition]) {
    for condition in news(before, after) {
        let note = if condition.message.is_empty() {
            format!("{} is {}", condition.type_, condition.status)
        } else {
            format!("{} is {}: {}", condition.type_, condition.status, condition.message)
        };
        if is_bad(condition) {
            ctx.warn(object, &condition.reason, note).await;
        } else {
            ctx.tell(object, &condition.reason, note).await;
        }
    }
}

fn news<'a>(before: &[Condition], after: &'a [Condition]) -> Vec<&'a Condition> {
    let turned = |condition: &&Condition| {
        let old = before.iter().find(|old| old.type_ == condition.type_);
        let turned = old.is_none_or(|old| (&old.status, &old.reason) != (&condition.status, &condition.reason));
        turned
            && condition.status != "Unknown"
            && condition.reason != reason::UNKNOWN
            && (old.is_some() || is_news(condition))
    };
    let mut turned: Vec<&Condition> = after.iter().filter(turned).collect();
    turned.sort_by_key(|condition| (!is_bad(condition), !matches!(condition.type_.as_str(), "Ready" | "Complete")));
    let mut told = std::collections::BTreeSet::new();
    turned.retain(|condition| told.insert(condition.reason.as_str()));
    turned
}

/// Of a status that is written for the first time, what is not as one would expect.
fn is_news(condition: &Condition) -> bool {
    is_bad(condition) || condition.reason != reason::AS_EXPECTED && condition.reason != reason::NOT_CONFIGURED
}

fn is_bad(condition: &Condition) -> bool {
    WARNINGS.contains(&condition.type_.as_str())
        && condition.status == if condition.type_ == "Degraded" { "True" } else { "False" }
        && condition.reason != reason::NOT_CONFIGURED
}

fn observe_conditions<K: Resource<DynamicType = ()>, S: Serialize>(ctx: &Context, kind: Kind, object: &K, status: &S) {
    if let Ok(value) = serde_json::to_value(status) {
        let namespace = object.meta().namespace.as_deref().unwrap_or_default();
        let name = object.meta().name.as_deref().unwrap_or_default();
        for condition in conditions_of(&value) {
            let holds = match condition.status.as_str() {
                "True" => Some(true),
                "False" => Some(false),
                _unknown => None,
            };
            ctx.metrics.condition(kind, namespace, name, &condition.type_, holds);
        }
    }
}

fn conditions_of(status: &Value) -> Vec<Condition> {
    status.get("conditions").and_then(|list| serde_json::from_value(list.clone()).ok()).unwrap_or_default()
}

fn to_value<S: Serialize>(status: &S) -> Result<Value, Error> {
    serde_json::to_value(status).map_err(|error| Error::Other(format!("failed to write a status: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(judgements: &[Judgement], before: &[Condition]) -> Vec<Condition> {
        conditions::merge(Kind::Orchestrator, before, judgements, Some(1), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn one_reason_makes_one_event_and_the_warning_speaks() {
        use crd::ConditionType::{Degraded, Progressing, QuorumHealthy, Ready};
        let well = [
            Judgement::yes(Ready, reason::AS_EXPECTED, "all is well"),
            Judgement::no(Progressing, reason::AS_EXPECTED, ""),
            Judgement::no(Degraded, reason::AS_EXPECTED, ""),
            Judgement::yes(QuorumHealthy, reason::AS_EXPECTED, ""),
        ];
        let lost = [
            Judgement::no(Ready, reason::QUORUM_LOST, "1 of 3"),
            Judgement::yes(Degraded, reason::QUORUM_LOST, "1 of 3"),
            Judgement::no(QuorumHealthy, reason::QUORUM_LOST, "1 of 3"),
        ];
        let first = conditions(&well, &[]);
        let types = |news: Vec<&Condition>| news.iter().map(|it| it.type_.clone()).collect::<Vec<_>>();
        assert_eq!(types(news(&[], &first)), [""; 0], "that all is well from the start is no news");
        let second = conditions(&lost, &first);
        assert_eq!(types(news(&first, &second)), ["Degraded"]);
        let third = conditions(&well, &second);
        assert_eq!(types(news(&second, &third)), ["Ready"]);
        assert_eq!(types(news(&third, &third)), [""; 0]);
    }
}
