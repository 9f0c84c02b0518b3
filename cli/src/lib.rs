//! The parts of `dragnet`, in reading order.
//!
//! ```text
//! args ──► commands ──► client ──► leader (gRPC)          up ──► orchestrator 1..N, scan-worker (processes)
//!             │            └────► object storage          demo = up + commands, one scripted story
//!             └──► render ──► standard output (tables, NDJSON, bars)        report ──► standard error
//! ```
//!
//! Nothing here decides what is scanned or what counts as an answer: commands ask the leader, read what
//! it names, and show it.

pub mod args;
pub mod client;
pub mod commands;
pub mod demo;
pub mod parse;
pub mod render;
pub mod report;
pub mod up;
