use std::collections::BTreeSet;

use super::Step;
use crate::Work;

pub(super) fn check(step: &Step<'_>) {
    let mut leased = BTreeSet::new();
    for (id, lease) in step.after.leases() {
        let what = match &lease.work {
            Work::Scan { corpus, segment, .. } => (*corpus, Some(*segment)),
            Work::List { corpus } => (*corpus, None),
        };
        assert!(leased.insert(what), "{what:?} is leased twice");
        let session = step.after.session(lease.session).expect("a lease dies with its session");
        assert!(session.leases.contains(&id));
    }
    let scans = leased.iter().filter(|(_, segment)| segment.is_some()).count() as u64;
    assert_eq!(step.after.backlog().leased_segments, scans);
}
