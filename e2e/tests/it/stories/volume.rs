//! Volumes grow under a hunt, and one is gone for good.

use anyhow::{Result, ensure};
use serde_json::json;
use testcluster::has_condition;
use testcluster::parts::{CLUSTER, orchestrator};

use super::hunt::{self, Size};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, number, secs, text};

pub(crate) const STORY: Story = Story {
    name: "volumes_grow_in_place_and_a_member_whose_volume_is_lost_comes_back_as_a_new_one",
    deadline: secs(300),
    needs: Needs::Cluster,
    tell,
};

/// The component that members are.
pub(super) const MEMBERS: &str = "orchestrator";

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let hunt = hunt::begin(scene, &Size { members: 3, workers: 1, files: 200, kilobytes: 4 })?;
    grow(scene, "orchestrator", CLUSTER, MEMBERS)?;
    let smaller = scene.kubectl().refusal(&orchestrator(scene.namespace(), 3, ""))?;
    ensure!(smaller.contains("a volume cannot shrink"), "a smaller volume was refused with: {smaller}");
    hunt.is_complete(scene, 60)?;
    let leader = super::faults::leader(scene)?;
    let victim = (0..3).map(|ordinal| format!("{CLUSTER}-orchestrator-{ordinal}")).find(|pod| *pod != leader);
    let victim = victim.unwrap_or_default();
    let before = node_id(scene, &victim)?;

    lose(scene, &victim)?;
    scene.until("the member is there again under another id", 120, || {
        let now = node_id(scene, &victim)?;
        let orchestrator = scene.kubectl().get("orchestrator", CLUSTER)?;
        Ok((now != 0 && now != before && number(&orchestrator, "/status/voters") == 3).then_some(()))
    })?;
    scene.until_ready("orchestrator", CLUSTER, 60)?;
    let members = scene.dragnet(&["status"])?;
    ensure!(!members.is_empty(), "dragnet status says nothing");
    hunt.is_complete(scene, 60)
}

/// From one gibibyte to two; pods run on.
pub(super) fn grow(scene: &Scene<'_>, kind: &str, name: &str, component: &str) -> Result<()> {
    let before = uids(scene, component)?;
    let claims = claimed(scene, component)?;
    ensure!(!claims.is_empty() && claims.iter().all(|size| size == "1Gi"), "volumes begin with {claims:?}");
    scene.kubectl().patch(kind, name, &json!({ "spec": { "volume": { "size": "2Gi" } } }))?;
    let component_of_set = format!("app.kubernetes.io/component={component}");
    scene.until("volumes and the template of new ones are larger", 90, || {
        let sets = scene.kubectl().list("statefulsets", Some(&component_of_set))?;
        let path = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
        let is_new = sets.iter().any(|set| text(set, path) == "2Gi" && number(set, "/status/readyReplicas") > 0);
        let is_larger = claimed(scene, component)? == vec!["2Gi"; claims.len()];
        let object = scene.kubectl().get(kind, name)?;
        let is_done = has_condition(&object, "Progressing", "False") && has_condition(&object, "Ready", "True");
        Ok((is_new && is_larger && is_done).then_some(()))
    })?;
    ensure!(!before.is_empty() && uids(scene, component)? == before, "pods were replaced only to grow their volumes");
    Ok(())
}

/// Of a component's pods.
pub(super) fn uids(scene: &Scene<'_>, component: &str) -> Result<Vec<String>> {
    let pods = scene.kubectl().list("pods", Some(&format!("app.kubernetes.io/component={component}")))?;
    Ok(pods.iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect())
}

/// The member's volume, and the pod that would hold on to it.
pub(super) fn lose(scene: &Scene<'_>, pod: &str) -> Result<()> {
    scene.kubectl().run(&["delete", "persistentvolumeclaim", &format!("data-{pod}"), "--wait=false"])?;
    scene.kubectl().run(&["delete", "pod", pod, "--grace-period=0", "--force"]).map(drop)
}

/// What each volume of a component has, as its storage says.
pub(super) fn claimed(scene: &Scene<'_>, component: &str) -> Result<Vec<String>> {
    let selector = format!("app.kubernetes.io/component={component}");
    let claims = scene.kubectl().list("persistentvolumeclaims", Some(&selector))?;
    Ok(claims.iter().map(|claim| text(claim, "/status/capacity/storage").to_owned()).collect())
}

/// Of a pod that is a member, else 0.
pub(super) fn node_id(scene: &Scene<'_>, pod: &str) -> Result<u64> {
    let orchestrator = scene.kubectl().get("orchestrator", CLUSTER)?;
    let members = orchestrator["status"]["members"].as_array().into_iter().flatten();
    let member = members.into_iter().find(|member| text(member, "/name") == pod);
    Ok(member.map_or(0, |member| number(member, "/nodeId")))
}
