//! Stories, the reference model, and the property tests that hold the core against it.

mod compare;
mod history;
mod invariants;
mod model;
mod properties;
mod stories;
mod story;
