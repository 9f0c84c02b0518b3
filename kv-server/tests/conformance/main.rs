//! What Redis and its clients do decides what is right: real clients meet our server, and our server's replies meet Redis's.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod differential;
mod install;
mod kv_server;
mod process;
mod redis_server;
mod scenario;
mod servers;
mod wire;
mod with_fred;
mod with_redis_rs;
mod with_redis_tools;
mod with_scripts;
