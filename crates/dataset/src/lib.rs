//! Datasets: immutable, numbered versions of keys and values in object storage, and which of them is served.
//!
//! ```text
//! Parquet, CSV, JSON lines ──► build ──► shards, manifest ──► object storage ──► fetch ──► verify ──► a server's folder
//!                                                               announced.json: what is to be served
//! ```
//! A version exists once its manifest is there, and nothing of it ever changes. One small object says which
//! version is to be served; it is replaced by compare-and-swap only.
//!
//! Deliberately absent: serving, watching, retries, and deciding when to switch. Whoever calls does that.

pub mod announcement;
pub mod build;
mod digest;
pub mod fetch;
mod hash;
mod layout;
pub mod manifest;
pub mod proof;
mod rate;
pub mod repository;
mod slots;
pub mod verify;
mod version;

pub use announcement::{Announced, Announcement, Bad};
pub use digest::{ContentDigest, ContentDigestError};
pub use fetch::{Fetch, FetchError};
pub use hash::hash_file;
pub use manifest::{Manifest, shard_folder};
pub use rate::RateLimit;
pub use repository::{Error, Repository, RolledBack};
pub use slots::{MAX_SHARDS, SlotRange, Slotting};
pub use version::{VersionId, VersionIdError};
