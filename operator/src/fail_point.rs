//! Places where the operator can be made to die, for tests: between two writes, where a crash leaves a step half done.
//!
//! `DRAGNET_FAIL_POINTS=after-join,after-promote` names some, and `all` is all of them. The process ends there at once, as if it were
//! killed. Each lies behind a change that lasts and that the next process finds done: so what is to be done is done however many of
//! them are armed, one death and one change at a time.

use std::sync::OnceLock;

/// What a process that met its fail point returns.
pub const EXIT_CODE: i32 = 70;

macro_rules! points {
    ($($constant:ident = $name:literal: $meaning:literal),+ $(,)?) => {
        $(pub const $constant: &str = $name;)+

        /// Every fail point, with what was done just before it.
        pub const ALL: &[(&str, &str)] = &[$(($name, $meaning)),+];
    };
}

points! {
    AFTER_CLUSTER_ID = "after-cluster-id": "status has the name of the cluster to found; nothing is founded yet",
    AFTER_FOUND = "after-found": "the first member founded the cluster; status does not say so yet",
    AFTER_RESTORE = "after-restore": "the first member restored a backup; status does not say so yet",
    AFTER_JOIN = "after-join": "a pod took an id of the cluster; it is no member yet",
    AFTER_LEARNER = "after-learner": "a pod became a learner; it does not vote yet",
    AFTER_PROMOTE = "after-promote": "a learner became a voter",
    AFTER_TRANSFER = "after-transfer": "leadership was handed over; the pod it left still runs",
    AFTER_POD_DELETE = "after-pod-delete": "a pod was deleted to be replaced; it is not back yet",
    AFTER_SCALE_OUT = "after-scale-out": "the StatefulSet has more replicas; the new pods are nothing yet",
    AFTER_REMOVE_MEMBER = "after-remove-member": "a member was removed; its pod still runs",
    AFTER_SCALE_IN = "after-scale-in": "the StatefulSet has fewer replicas; volumes are still there",
    AFTER_REPLACED_REMOVED = "after-replaced-removed": "the member of a lost volume was removed; its successor is not there yet",
    AFTER_CLAIM_RESIZE = "after-claim-resize": "a volume claim was made larger; others were not",
    AFTER_SET_ORPHANED = "after-set-orphaned": "the StatefulSet was deleted without its pods, to be made with larger volumes",
    AFTER_SET_DELETED = "after-set-deleted": "a lost cluster's StatefulSet was deleted, as told; its volumes are still there",
    AFTER_CLAIM_DELETED = "after-claim-deleted": "a lost cluster's volume was deleted, as told; others were not",
    AFTER_BACKUP = "after-backup": "a backup was written; status does not say so yet",
}

static ARMED: OnceLock<Vec<&'static str>> = OnceLock::new();

/// Fail points by their names, separated by commas; `all` are all of them. Errors: a name that none has.
pub fn find(names: &str) -> Result<Vec<&'static str>, String> {
    let known = || ALL.iter().map(|(known, _)| *known);
    if names == "all" {
        return Ok(known().collect());
    }
    let one = |name: &str| known().find(|known| *known == name).ok_or_else(|| name.to_owned());
    names.split(',').map(|name| one(name.trim())).collect()
}

/// From now on the process dies where one of `points` is reached.
pub fn arm(points: Vec<&'static str>) {
    let _ = ARMED.set(points);
}

/// Ends the process if `point` is armed.
pub fn reach(point: &'static str) {
    if ARMED.get().is_some_and(|armed| armed.contains(&point)) {
        tracing::error!(point, "fail point reached, as told");
        std::process::exit(EXIT_CODE);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn fail_points_are_found_by_their_only_names() {
        let names: BTreeSet<&str> = ALL.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), ALL.len());
        assert_eq!(find("after-join, after-found"), Ok(vec![AFTER_JOIN, AFTER_FOUND]));
        assert_eq!(find("after-join,after-lunch"), Err("after-lunch".to_owned()));
        assert_eq!(find("all").unwrap().len(), ALL.len());
    }
}
