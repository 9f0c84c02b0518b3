//! Corpora: listing the files of one, cutting them into segments, and opening them again for a scan.
//!
//! ```text
//! Source::list ──FileEntry──► Diff::see ──new or changed──► Packer ──► Manifest ──► object storage
//!      │                        │
//!      └─ Listing::finish ──► Diff::finish ──► files that are gone, by segment
//!
//! Manifest ──FileEntry──► Source::open_file ──► File ──scan──► Source::still_same
//! ```
//!
//! A corpus is never changed by us and may be changed by anyone else at any time, so every answer here
//! is about a file *as it was listed*: its etag says which content was meant, and a file with another
//! etag is another file.
//!
//! Deliberately absent: reading of file contents, hashing, following symbolic links, and any memory of
//! earlier listings besides [`Known`]. Other kinds of storage become another variant inside [`Source`].

mod entry;
mod error;
mod frame;
mod hashes;
mod key;
mod known;
mod local;
mod manifest;
mod packer;
mod patterns;
mod source;

pub use entry::FileEntry;
pub use error::Error;
pub use hashes::Hashes;
pub use key::{display_key, parse_key};
pub use known::{Diff, Known, Seen};
pub use manifest::Manifest;
pub use packer::Packer;
pub use patterns::Patterns;
pub use source::{Listed, Listing, Opener, Source};
