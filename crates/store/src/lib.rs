//! Object storage: whole immutable objects by key, behind one URL.
//!
//! Everything that outlives a process and is not in the Raft log is an object here: manifests, hashes,
//! rulesets, findings. An object is written once and never changed, so a repeated [`Store::put`] of the
//! same content is harmless and readers need no locks.
//!
//! Deliberately absent: listing, deletion, ranges, caching and retries. Whoever calls knows the key, and
//! one layer alone retries (see [`Error::is_retryable`]).
//!
//! `s3://`, `gs://` and `az://` need the feature of that name on `object_store` in the root manifest and
//! nothing here; credentials then come from the environment, as that crate documents.

mod durable;
mod error;
pub mod keys;
mod store;

pub use error::Error;
pub use store::Store;
