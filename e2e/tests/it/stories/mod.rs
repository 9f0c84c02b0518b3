//! The stories, in the order in which they are told: what everyone does first, then what goes wrong, then what changes everything.

mod autoscale;
mod bad_input;
mod dataset;
mod fail_points;
mod faults;
mod hunt;
mod invalid;
mod nodes;
mod quickstart;
mod quorum;
mod reinstall;
mod rescan;
mod scale;
mod upgrade;
mod volume;

use crate::runner::Story;

pub(crate) const ALL: &[Story] = &[
    quickstart::STORY,
    rescan::STORY,
    scale::STORY,
    autoscale::STORY,
    fail_points::STORY,
    faults::STORY,
    nodes::CRASHED,
    nodes::CUT_OFF,
    volume::STORY,
    quorum::STORY,
    dataset::STORY,
    invalid::STORY,
    bad_input::STORY,
    upgrade::STORY,
    reinstall::STORY,
];
