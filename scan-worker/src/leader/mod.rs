//! The worker's side of its session with the leader, whoever that is at the moment.
//!
//! ```text
//!  jobs ── Handle: settle, append, settle_listing ──► Session task ──► gRPC stream to the leader
//!       ◄── Event: welcome, grant, session ended ───        └─ Ledger: leases held, requests unanswered
//! ```
//!
//! The stream may break and the leader may change; jobs do not notice. What was not answered is sent again,
//! word for word, on the next stream: the lease makes that harmless. Only the end of the session is told.

mod connect;
mod ledger;
mod session;

pub use session::{Answered, Config, Event, Handle, Session};
