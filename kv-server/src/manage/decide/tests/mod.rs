//! Stories tell one life each; properties hold for every life.

mod properties;
mod stories;
mod story;
