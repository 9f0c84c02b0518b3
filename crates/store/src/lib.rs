//! Object storage by key, behind one URL.
//!
//! Everything that outlives a process and is not in the Raft log is an object here: manifests, hashes,
//! rulesets, findings, versions of datasets. Nearly all are written once and never changed, so a repeated
//! [`Store::put`] of the same content is harmless and readers need no locks. The few that do change are replaced
//! by [`Store::compare_and_swap`], and names that only one writer may have are taken by [`Store::put_new`].
//!
//! Deliberately absent: caching and retries beyond those of the client. One layer alone retries, see
//! [`Error::is_retryable`].
//!
//! `s3://` takes its endpoint and credentials from the environment (`AWS_ENDPOINT`, `AWS_ACCESS_KEY_ID`, …).
//! `gs://` and `az://` need the feature of that name on `object_store` in the root manifest and nothing here.

mod changing;
mod durable;
mod entries;
mod error;
mod files;
pub mod keys;
mod list;
mod store;

pub use changing::{Swap, Tag};
pub use entries::{Entry, Read};
pub use error::Error;
pub use list::Listed;
pub use store::Store;
