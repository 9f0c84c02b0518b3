//! The life of versions on a server: brought, verified, opened, switched to, kept for a rollback, deleted.
//!
//! ```text
//! object storage ──announcement, files──► keeper ──► data-dir      one keeper a dataset
//!                                           │ decide (pure)
//!                                           ▼ open · switch · close · report
//! people ── switch · rollback ───────────► desk ───► catalog ──► event loops
//! ```
//!
//! The keeper runs in the server's process, or in `kv-server manage` beside it and talks to the desk over HTTP: the same code
//! either way. Whatever fails, what is served goes on being served.
//!
//! Deliberately not here: reading, and which shard a key is in ([`crate::catalog`]); what is announced ([`dataset`]).

mod args;
mod beside;
mod chain;
pub mod decide;
mod desk;
mod desks;
mod disk;
mod download;
mod error;
mod job;
mod keeper;
mod metrics;
mod notes;
mod retry;
mod run;
mod server;
mod status;
mod storage;
mod verify;

pub use args::{Switch, VersionArgs};
pub(crate) use chain::chain;
pub use desk::{Desk, Instruction, OrderError};
pub use desks::Desks;
pub use disk::{Error as DiskError, Lock};
pub use error::Error;
pub use keeper::Config;
pub use metrics::register;
pub use retry::{Pause, Pauses};
pub use run::{Manager, start_alone};
pub use status::{Announcement, Counters, Kind, LastError, Progress, Report, State, Status};
