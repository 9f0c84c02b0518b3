//! Stories on a real cluster, each as a person would live it: `tests/it`. The cluster itself is made by the scripts in `cluster/`.
//!
//! ```text
//! tests/it/main ──► runner ──► stories, each in a namespace of its own
//!                     │            └──► world: helm install, images, an S3 server
//!                     └──► testcluster ──► cluster/cluster.sh ──► etcd, API server, three nodes
//! ```
