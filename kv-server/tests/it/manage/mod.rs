//! The life of versions, seen from outside: real servers, real files, faults made by hand.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod beside;
mod faults;
mod full_disk;
mod kill;
mod life;
mod storage;
mod world;
