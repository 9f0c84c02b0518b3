//! BatchDataset: from rows, or versions built elsewhere, to servers that answer for them.
//!
//! ```text
//! source ──build──► Jobs: a shard each, then a version of them ──► announced in object storage
//!                                                                      │ servers read that
//! what servers say ──► facts ──rollout──► which server serves which version ──► told over HTTP
//! pods that are ready ──topology──► who answers for which hash slots ──► ConfigMap, and told over HTTP
//! ```
//! Plans are pure: `build`, `rollout`, `topology` and `growth` make values of values, `objects` makes what is applied.

mod admin;
mod build;
mod controller;
mod facts;
mod growth;
mod names;
mod objects;
mod rollout;
mod status;
mod topology;

pub(crate) use controller::run;
