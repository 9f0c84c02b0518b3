//! The real program on real sockets.

mod bad_input;
mod filter;
mod forwarding;
mod metrics;
mod reload;
mod target;
