//! The worker as a real process, against a leader that the test plays.

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod buckets;
mod enrichment;
mod fake_leader;
mod faults;
mod health;
mod listings;
mod processes;
mod s3;
mod scans;
mod sessions;
mod throughput;
mod world;
