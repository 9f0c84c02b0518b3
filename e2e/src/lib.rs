//! Stories on a real cluster.
