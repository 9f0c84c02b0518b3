//! Findings as stored and as printed.
//!
//! ```text
//! Finding ──encode──► Parquet, sealed ──object storage──► decode ──► ndjson::line
//!                          └────► DuckDB, pyarrow, Spark: any reader of Parquet
//! ```
//! One row per finding: a rule that fired on a file. A row says everything about itself, so an object
//! can be read years later without asking a cluster.
//!
//! Deliberately absent: where objects are kept (`store::keys`), and which of them count. The commit of
//! the Raft log decides that, not the presence of an object.

mod columns;
mod fact;
mod finding;
pub mod ndjson;
mod parquet_file;
mod seal;

pub use fact::{Fact, Knowledge};
pub use finding::{Finding, Match};
pub use parquet_file::{Error, decode, encode};
