//! Redis frames: requests in, replies out. Bytes in, values out; no sockets here.
//!
//! ```text
//! bytes ─► Decoder ─► Request (slices of the bytes) ─► ... ─► Reply ─► bytes
//! ```
//!
//! The decoder answers every input, also malformed input, as Redis 7.0 does, because clients and their test suites know no
//! other specification. Deliberately not here: what a command means, and reading replies, which is a client's work.

mod decode;
mod encode;
mod error;
mod glob;
mod inline;
mod number;
mod slot;

pub use decode::{Decoded, Decoder, Limits, Request};
pub use encode::{Protocol, Reply, write_request};
pub use error::Error;
pub use glob::{glob_matches, literal_prefix};
pub use number::parse_integer;
pub use slot::{HASH_SLOTS, hash_slot};
