//! What must hold after every command, one file each. They know the state's public face alone, not the model.

mod a_done_segment_is_never_granted_again;
mod a_frozen_view_does_not_change;
mod a_planned_grant_still_holds_and_no_slot_stays_empty;
mod a_replica_restored_midway_is_equal_to_the_byte;
mod a_segment_has_at_most_one_live_lease;
mod attempts_never_decrease_until_done;
mod fencing_ids_only_grow;
mod receipts_add_up;

use types::Timestamp;

use crate::{Command, Event, Stamp, State};

/// One applied command, as the invariants see it.
pub(super) struct Step<'a> {
    pub(super) before: &'a State,
    pub(super) stamp: Stamp,
    pub(super) command: &'a Command,
    pub(super) events: &'a [Event],
    pub(super) after: &'a State,
    /// Jobs that the model says could be granted now.
    pub(super) grantable: usize,
    pub(super) now: Timestamp,
}

/// Those that remember something between steps.
#[derive(Default)]
pub(super) struct Invariants {
    fencing: fencing_ids_only_grow::FencingIds,
    view: a_frozen_view_does_not_change::View,
    replica: a_replica_restored_midway_is_equal_to_the_byte::Replica,
}

impl Invariants {
    /// Panics where one does not hold.
    pub(super) fn check(&mut self, step: &Step<'_>) {
        a_segment_has_at_most_one_live_lease::check(step);
        a_done_segment_is_never_granted_again::check(step);
        receipts_add_up::check(step);
        attempts_never_decrease_until_done::check(step);
        a_planned_grant_still_holds_and_no_slot_stays_empty::check(step);
        self.fencing.check(step);
        self.view.check(step);
        self.replica.check(step);
    }
}
