//! Talking to members, one by one, each by the address of its pod.

use std::time::Duration;

use protocol::v1::{self, cluster_client::ClusterClient};
use tonic::{Request, Status, transport::Channel};

use super::observed::{Answer, Member};
use crate::frame::{Error, orchestrators::GRPC_PORT};

/// For a look. A member that is slower is as good as one that does not answer.
const LOOK: Duration = Duration::from_secs(3);
/// For what needs a majority, or a backup's upload.
const CHANGE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(300);

/// One member.
pub(crate) struct Peer {
    client: ClusterClient<Channel>,
}

/// What the leader says of workers and of their work.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Load {
    /// Each worker's name, and its files a second.
    pub(crate) sessions: Vec<(String, f64)>,
    /// Segments that are owed and not leased.
    pub(crate) waiting: u64,
    /// Listings that are due. Without a worker nobody lists, and what is not listed is in no backlog.
    pub(crate) listings: u64,
    /// Segments that are leased, and listings under way.
    pub(crate) working: u64,
}

/// A backup that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) url: String,
    pub(crate) index: u64,
    pub(crate) taken_at_ms: u64,
}

impl Peer {
    /// `host` is the pod's address: names need a moment to be known, and longer to be forgotten.
    pub(crate) fn new(host: &str) -> Result<Self, Error> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let channel = protocol::client::channel(&format!("{host}:{GRPC_PORT}"))
            .map_err(|error| Error::Other(format!("{host} is no address of a pod: {error}")))?;
        Ok(Self { client: ClusterClient::new(channel) })
    }

    pub(crate) async fn status(&mut self, brief: bool) -> Result<Answer, Status> {
        let answer = self.client.status(within(LOOK, v1::StatusRequest { brief })).await?.into_inner();
        Ok(read(answer))
    }

    /// Sessions and work; asked of the leader.
    pub(crate) async fn load(&mut self) -> Result<Load, Status> {
        let answer = self.client.status(within(LOOK, v1::StatusRequest { brief: false })).await?.into_inner();
        let sessions = answer.open_sessions.iter().map(|session| (session.worker.clone(), session.files_per_second));
        Ok(Load {
            sessions: sessions.collect(),
            waiting: answer.backlog.iter().fold(0, |sum, part| sum.saturating_add(part.segments)),
            listings: answer.listings_due,
            working: answer.leased_segments.saturating_add(answer.listings),
        })
    }

    pub(crate) async fn found(&mut self, cluster_id: &str) -> Result<(), Error> {
        let request = v1::FoundRequest { cluster_id: cluster_id.to_owned() };
        done("found the cluster", self.client.found(within(CHANGE, request)).await)
    }

    pub(crate) async fn restore(&mut self, url: &str, cluster_id: &str) -> Result<(), Error> {
        let request = v1::RestoreRequest {
            url: url.to_owned(),
            cluster_id: cluster_id.to_owned(),
            from_cluster_id: String::new(),
        };
        done("restore the backup", self.client.restore(within(LONG, request)).await)
    }

    pub(crate) async fn join(&mut self, addresses: Vec<String>, cluster_id: &str) -> Result<(), Error> {
        let request = v1::JoinRequest { addresses, cluster_id: cluster_id.to_owned() };
        done("join the cluster", self.client.join(within(CHANGE, request)).await)
    }

    pub(crate) async fn add_learner(&mut self, node_id: u64, address: String, cluster_id: &str) -> Result<(), Error> {
        let request = v1::AddMemberRequest { node_id, address, cluster_id: cluster_id.to_owned(), learner_only: true };
        done("add a learner", self.client.add_member(within(CHANGE, request)).await)
    }

    pub(crate) async fn promote(&mut self, node_id: u64) -> Result<(), Error> {
        let request = v1::PromoteMemberRequest { node_id, wait_ms: 10_000 };
        done("promote a learner", self.client.promote_member(within(CHANGE, request)).await)
    }

    pub(crate) async fn remove(&mut self, node_id: u64) -> Result<(), Error> {
        let request = v1::RemoveMemberRequest { node_id, force: false };
        done("remove a member", self.client.remove_member(within(CHANGE, request)).await)
    }

    pub(crate) async fn transfer(&mut self, to: u64) -> Result<(), Error> {
        let request = v1::TransferLeaderRequest { to };
        done("hand over leadership", self.client.transfer_leader(within(CHANGE, request)).await)
    }

    /// Writes a backup and removes those beyond `keep`.
    pub(crate) async fn backup(&mut self, url: &str, keep: u32) -> Result<(), Error> {
        let request = v1::BackupRequest { url: url.to_owned(), keep };
        done("write a backup", self.client.backup(within(LONG, request)).await)
    }

    /// The backups at `url`, newest first.
    pub(crate) async fn backups(&mut self, url: &str) -> Result<Vec<Stored>, Error> {
        let request = v1::ListBackupsRequest { url: url.to_owned() };
        let answer = self.client.list_backups(within(CHANGE, request)).await;
        let answer = answer.map_err(|status| failed("list backups", status))?.into_inner();
        let stored =
            |backup: v1::BackupInfo| Stored { url: backup.url, index: backup.index, taken_at_ms: backup.taken_at_ms };
        Ok(answer.backups.into_iter().map(stored).collect())
    }
}

fn within<T>(deadline: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

fn done<T>(what: &str, answer: Result<T, Status>) -> Result<(), Error> {
    answer.map(drop).map_err(|status| failed(what, status))
}

fn failed(what: &str, status: Status) -> Error {
    Error::Cluster { what: what.to_owned(), source: Box::new(status) }
}

fn read(answer: v1::StatusResponse) -> Answer {
    let member = |member: v1::Member| Member {
        node_id: member.node_id,
        address: member.address,
        voter: member.voter,
        lag: member.lag,
    };
    let mut backlog: Vec<(String, u64)> = Vec::new();
    for part in &answer.backlog {
        let class = match part.class() {
            v1::WorkClass::Fresh => "fresh",
            v1::WorkClass::Sweep => "sweep",
            v1::WorkClass::Urgent => "urgent",
            v1::WorkClass::Background => "background",
            v1::WorkClass::Unspecified => "other",
        };
        match backlog.iter_mut().find(|(known, _)| known == class) {
            Some((_, segments)) => *segments = segments.saturating_add(part.segments),
            None => backlog.push((class.to_owned(), part.segments)),
        }
    }
    backlog.sort();
    Answer {
        node_id: answer.node_id,
        cluster_id: answer.cluster_id,
        ready: answer.ready,
        leader_id: answer.leader_id,
        term: answer.term,
        members: answer.members.into_iter().map(member).collect(),
        version: answer.program_version,
        backlog,
    }
}
