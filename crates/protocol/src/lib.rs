//! The wire: `.proto` files, the code made from them, conversion to and from `types`, and the client
//! that finds and follows the leader.
//!
//! Rules of the wire: packages are versioned, fields are never renumbered, unknown fields are ignored,
//! and a missing message field is an error that names it.

pub mod client;
mod convert;

pub use convert::{ConvertError, names};

/// Metadata key under which a node that does not lead names the leader's address.
pub const LEADER_METADATA: &str = "dragnet-leader";

/// Metadata keys under which a node that has an identity already names it, when it is told to take another.
pub const CLUSTER_ID_METADATA: &str = "dragnet-cluster-id";
pub const NODE_ID_METADATA: &str = "dragnet-node-id";

/// Largest message either side accepts, in bytes: a ruleset's sources at their limit, with room for its units.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Generated from `proto/dragnet/v1`.
pub mod v1 {
    #![allow(clippy::all, clippy::cast_possible_truncation, unreachable_pub, clippy::allow_attributes)]
    tonic::include_proto!("dragnet.v1");
}
