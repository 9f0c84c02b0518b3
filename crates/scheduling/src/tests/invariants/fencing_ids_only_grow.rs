use types::LeaseId;

use super::Step;
use crate::Event;

#[derive(Default)]
pub(super) struct FencingIds {
    last: Option<LeaseId>,
}

impl FencingIds {
    pub(super) fn check(&mut self, step: &Step<'_>) {
        for event in step.events {
            let Event::LeaseGranted { lease, .. } = event else { continue };
            assert!(Some(*lease) > self.last, "{lease} came after {:?}", self.last);
            assert_eq!(lease.index, step.stamp.index);
            self.last = Some(*lease);
        }
    }
}
