//! Custom resources of the group `dragnet.dev`.
