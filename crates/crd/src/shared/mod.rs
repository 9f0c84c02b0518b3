//! Pieces that several kinds have.

mod pods;
mod reference;
mod span;
mod storage;
mod volume;

pub use pods::{PodOverrides, Resources};
pub use reference::{LocalRef, OrchestratorRef};
pub use span::{Span, SpanError};
pub use storage::{ObjectCredentials, StorageLocation};
pub use volume::{RetainPolicy, Volume, VolumePolicy, bytes_of};
