use types::SessionId;

use super::Step;
use crate::{Command, Event, FreeSlots, Planner, Reservations, Stamp};

const SLOTS: u32 = 3;

/// What is planned over a state is granted by it, and all of it that there are slots for.
pub(super) fn check(step: &Step<'_>) {
    let Some((session, _)) = step.after.sessions().next() else {
        return;
    };
    let ended = SessionId { index: u64::MAX, slot: 0 };
    let free = [ended, session].map(|session| FreeSlots { session, slots: SLOTS });
    let grants = Planner::default().plan(step.after, &Reservations::default(), step.now, &free);
    assert_eq!(grants.len(), step.grantable.min(SLOTS as usize));
    let stamp = Stamp { index: step.stamp.index + 1, at: step.now, first_slot: 0 };
    let events = step.after.clone().apply(stamp, Command::GrantLeases { grants });
    assert!(events.iter().all(|event| matches!(event, Event::LeaseGranted { .. })), "{events:?}");
}
