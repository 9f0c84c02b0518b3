use super::Step;
use crate::State;

/// Steps between two looks; writing a state out costs more than applying a command.
const EVERY: u32 = 25;

#[derive(Default)]
pub(super) struct View {
    steps: u32,
    taken: Option<(State, Vec<u8>)>,
}

impl View {
    pub(super) fn check(&mut self, step: &Step<'_>) {
        self.steps += 1;
        if !self.steps.is_multiple_of(EVERY) {
            return;
        }
        if let Some((view, bytes)) = self.taken.take() {
            assert!(rmp_serde::to_vec_named(&view).unwrap() == bytes, "a clone changed with its original");
        }
        self.taken = Some((step.after.clone(), rmp_serde::to_vec_named(step.after).unwrap()));
    }
}
