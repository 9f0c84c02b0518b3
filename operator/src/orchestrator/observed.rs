//! What is: everything a plan is made of, as plain values.

use std::collections::BTreeMap;

use crd::Orchestrator;
use jiff::Timestamp;

/// Annotation with the instruction to begin anew from a backup, after a lost quorum.
pub(crate) const RECOVER_FROM: &str = "dragnet.dev/recover-from";

/// A moment of one Orchestrator.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) resource: Orchestrator,
    pub(crate) set: Option<Set>,
    /// By ordinal; also those beyond what is wanted.
    pub(crate) pods: BTreeMap<i32, Pod>,
    pub(crate) claims: BTreeMap<i32, Claim>,
    /// Digest of the template that pods should have.
    pub(crate) template: String,
    /// Digest of what the resource alone says of it.
    pub(crate) requested: String,
    /// Whether a roll that nobody but the operator itself asked for may begin or go on.
    pub(crate) turn: bool,
    /// What Kubernetes says of pods that do not start.
    pub(crate) trouble: Option<String>,
    pub(crate) now: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) replicas: i32,
    /// Digests it was applied with.
    pub(crate) template: String,
    pub(crate) requested: String,
    /// Of the resource, when the set was applied.
    pub(crate) generation: Option<i64>,
    /// What new claims would ask for, in bytes.
    pub(crate) claim_bytes: u128,
    /// The recovery that its claims are marked with.
    pub(crate) recovery: Option<String>,
    pub(crate) going: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) template: String,
    /// As the kubelet says.
    pub(crate) ready: bool,
    /// It is being deleted.
    pub(crate) going: bool,
    /// What the member says of itself; `None`: it does not answer.
    pub(crate) answer: Option<Answer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) requested: u128,
    pub(crate) recovery: Option<String>,
    /// It has a volume.
    pub(crate) bound: bool,
    pub(crate) going: bool,
}

/// What a member says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) node_id: u64,
    pub(crate) cluster_id: String,
    /// It hears from a leader and has caught up.
    pub(crate) ready: bool,
    pub(crate) leader_id: u64,
    pub(crate) term: u64,
    pub(crate) members: Vec<Member>,
    pub(crate) version: String,
    /// Segments that wait, by class; the leader's alone counts.
    pub(crate) backlog: Vec<(String, u64)>,
}

/// A member as the answering one knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) node_id: u64,
    pub(crate) address: String,
    pub(crate) voter: bool,
    pub(crate) lag: Option<u64>,
}

impl Observed {
    /// The member that leads and knows it: its ordinal and answer. Of two that claim to, the one of the newer term.
    pub(crate) fn leader(&self) -> Option<(i32, &Answer)> {
        let cluster = self.resource.status.as_ref()?.cluster_id.as_deref()?;
        let answers = self.pods.iter().filter_map(|(ordinal, pod)| Some((*ordinal, pod.answer.as_ref()?)));
        answers
            .filter(|(_, answer)| {
                answer.cluster_id == cluster
                    && answer.node_id != 0
                    && answer.leader_id == answer.node_id
                    && answer.ready
            })
            .max_by_key(|(_, answer)| answer.term)
    }

    /// What a member was last known as, from any that answers: the newest term's word counts.
    pub(crate) fn members(&self) -> Vec<Member> {
        if let Some((_, leader)) = self.leader() {
            return leader.members.clone();
        }
        let answers = self.pods.values().filter_map(|pod| pod.answer.as_ref());
        answers.max_by_key(|answer| answer.term).map(|answer| answer.members.clone()).unwrap_or_default()
    }
}
