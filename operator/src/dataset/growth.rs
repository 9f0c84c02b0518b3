//! What is next until every server's volume has what spec.volume.size says: a pure decision.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};
use kube::ResourceExt as _;

use crate::frame::volumes::{is_bound, requested, template};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Nothing; or the set is not there, and will be made as it is to be.
    Done,
    /// The set is to be made anew, so that new servers get as much.
    Template,
    /// These claims are to ask for more.
    Claims(Vec<String>),
}

/// `wanted`: bytes. `claims`: all of the dataset's servers.
pub(crate) fn growth<'a>(
    wanted: u128,
    set: Option<&StatefulSet>,
    claims: impl Iterator<Item = &'a PersistentVolumeClaim>,
) -> Growth {
    if set.and_then(template).is_some_and(|claim| requested(claim) < wanted) {
        return Growth::Template;
    }
    let is_small = |claim: &&PersistentVolumeClaim| {
        is_bound(claim) && claim.metadata.deletion_timestamp.is_none() && requested(claim) < wanted
    };
    let small: Vec<String> = claims.filter(is_small).map(|claim| claim.name_any()).collect();
    if small.is_empty() { Growth::Done } else { Growth::Claims(small) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u128 = 1 << 30;

    fn claim(name: &str, size: &str) -> PersistentVolumeClaim {
        let json = serde_json::json!({
            "metadata": {"name": name}, "spec": {"resources": {"requests": {"storage": size}}},
            "status": {"phase": "Bound"},
        });
        serde_json::from_value(json).unwrap()
    }

    fn set(size: &str) -> StatefulSet {
        let json = serde_json::json!({"spec": {
            "selector": {}, "serviceName": "s", "template": {}, "volumeClaimTemplates": [claim("data", size)],
        }});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_template_grows_before_the_claims_and_nothing_shrinks() {
        let (small, large) = (claim("data-0", "1Gi"), claim("data-1", "2Gi"));
        let next = |wanted, template: &str, claims: &[&PersistentVolumeClaim]| {
            growth(wanted, Some(&set(template)), claims.iter().copied())
        };
        assert_eq!(next(2 * GIB, "1Gi", &[&small, &large]), Growth::Template);
        assert_eq!(next(2 * GIB, "2Gi", &[&small, &large]), Growth::Claims(vec!["data-0".to_owned()]));
        assert_eq!(next(2 * GIB, "2Gi", &[&large]), Growth::Done);
        assert_eq!(next(GIB, "2Gi", &[&large]), Growth::Done);
        assert_eq!(growth(2 * GIB, None, [&large].into_iter()), Growth::Done);
    }

    #[test]
    fn a_claim_that_waits_for_its_volume_is_left_alone() {
        let mut waiting = claim("data-0", "1Gi");
        waiting.status = None;
        assert_eq!(growth(2 * GIB, Some(&set("2Gi")), [&waiting].into_iter()), Growth::Done);
    }

    #[test]
    fn a_claim_that_goes_is_left_alone() {
        let mut going = claim("data-0", "1Gi");
        let when = serde_json::from_value(serde_json::json!("2026-01-01T00:00:00Z")).unwrap();
        going.metadata.deletion_timestamp = Some(when);
        assert_eq!(growth(2 * GIB, Some(&set("2Gi")), [&going].into_iter()), Growth::Done);
    }
}
