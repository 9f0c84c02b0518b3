//! Requests and replies, also where peers are hostile.

mod clusters;
mod commands;
mod connections;
mod datasets;
mod hostile;
mod keyspace;
mod tracking;
mod waiting;
mod world;
