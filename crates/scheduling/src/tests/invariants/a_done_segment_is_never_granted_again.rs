use super::Step;
use crate::{Event, Work};

pub(super) fn check(step: &Step<'_>) {
    for event in step.events {
        let Event::LeaseGranted { lease, .. } = event else { continue };
        let Work::Scan { corpus, segment, targets } = &step.after.lease(*lease).expect("just granted").work else {
            continue;
        };
        for target in targets {
            let coverage = step.before.coverage(*corpus, target.ruleset).expect("what is granted is hunted");
            let done = coverage.done_version(*segment);
            assert!(done.is_none_or(|done| done < target.to), "{segment} was done at {done:?}, granted {target:?}");
            assert_eq!(done, target.from, "a delta starts from what is done");
        }
    }
}
