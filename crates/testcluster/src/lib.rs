//! A real Kubernetes for tests and benches, driven as people drive it: by kubectl and helm.
//!
//! ```text
//! place ──► where the scripts and programs are, and why something cannot run here
//!   ├──► ApiServer   etcd and kube-apiserver on loopback: schemas, admission, RBAC       e2e/cluster/api-server.sh
//!   └──► Cluster     nodes with kubelets, or the one that KUBECONFIG names               e2e/cluster/cluster.sh
//!          ├──► Kubectl, helm     every call bounded in time
//!          ├──► Installation     Dragnet itself: its charts, its image, an S3 server; documents to apply are in `parts`
//!          └──► explain          logs, Events and descriptions of a namespace, for whoever reads a failure
//! ```
//!
//! Only tests and benches use it. Deliberately absent: a client library. What a story does, a reader can repeat by hand.

mod api_server;
mod cluster;
mod command;
mod explain;
mod installation;
mod kubectl;
pub mod parts;
mod place;
mod wait;

pub use api_server::ApiServer;
pub use cluster::{Cluster, Image};
pub use command::{output, run};
pub use installation::{Installation, SYSTEM, has_condition, is_ready};
pub use kubectl::Kubectl;
pub use place::{Place, must_not_skip};
pub use wait::{Deadline, eventually};
