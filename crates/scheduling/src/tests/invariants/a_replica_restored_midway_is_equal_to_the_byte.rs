use super::Step;
use crate::State;

const RESTORED_EVERY: u32 = 60;
const COMPARED_EVERY: u32 = 20;

/// Applies the same commands, and goes through a snapshot now and then.
#[derive(Default)]
pub(super) struct Replica {
    steps: u32,
    state: State,
}

impl Replica {
    pub(super) fn check(&mut self, step: &Step<'_>) {
        self.steps += 1;
        assert_eq!(self.state.apply(step.stamp, step.command.clone()), step.events);
        if self.steps.is_multiple_of(COMPARED_EVERY) {
            let bytes = rmp_serde::to_vec_named(&self.state).unwrap();
            assert!(bytes == rmp_serde::to_vec_named(step.after).unwrap(), "replicas differ");
            assert_eq!(self.state, *step.after);
            if self.steps.is_multiple_of(RESTORED_EVERY) {
                self.state = rmp_serde::from_slice(&bytes).unwrap();
            }
        }
    }
}
