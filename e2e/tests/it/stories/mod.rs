//! The stories, in the order in which they are told: what everyone does first, then what goes wrong, then what changes everything.

mod faults;
mod hunt;
mod invalid;
mod nodes;
mod quickstart;
mod quorum;
mod rescan;
mod scale;
mod volume;

use crate::runner::Story;

pub(crate) const ALL: &[Story] = &[
    quickstart::STORY,
    rescan::STORY,
    scale::STORY,
    faults::STORY,
    nodes::CRASHED,
    nodes::CUT_OFF,
    volume::STORY,
    quorum::STORY,
    invalid::STORY,
];
