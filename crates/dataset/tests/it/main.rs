//! Datasets on a real disk and in a real S3 server: built, announced, fetched, verified, damaged.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod building;
mod damaged;
mod disk;
mod fetching;
mod lies;
mod lifecycle;
mod parts;
mod s3;
mod sources;
mod world;
