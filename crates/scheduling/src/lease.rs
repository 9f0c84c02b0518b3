use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use types::{LeaseId, SessionId, Timestamp};

use crate::Work;

/// One worker's live connection; its leases live and die with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub worker: String,
    pub opened_at: Timestamp,
    pub leases: BTreeSet<LeaseId>,
}

/// A worker's right to run one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub session: SessionId,
    pub work: Work,
    /// From 1; the largest over the job's rulesets.
    pub attempt: u32,
    pub granted_at: Timestamp,
}
