//! The gRPC services. Thin: they check what came in, ask the driver or the state, and answer.

pub(crate) mod cluster;
pub(crate) mod raft;
pub(crate) mod scan;
mod views;
pub(crate) mod worker;

use openraft::ReadPolicy;
use protocol::client::not_leader;
use scheduling::{Event, Refusal};
use tonic::Status;

use crate::{drive, node::Node};

impl Node {
    /// A status that sends the caller to the leader this node knows.
    pub(crate) fn redirect(&self) -> Status {
        not_leader(self.leader().map(|(_, address)| address).as_deref())
    }

    /// Ok while this node leads with a fresh quorum, so that what it reads is what was committed.
    pub(crate) async fn check_leads(&self) -> Result<(), Status> {
        match self.raft.ensure_linearizable(ReadPolicy::LeaseRead).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.redirect()),
        }
    }

    /// Proposes a command and returns its events, or the status that its refusal deserves.
    pub(crate) async fn propose(&self, command: scheduling::Command) -> Result<Vec<Event>, Status> {
        let events = self.drive.propose(command).await.map_err(|error| self.drive_status(&error))?;
        for event in &events {
            if let Event::Refused { refusal } = event {
                return Err(refused(refusal));
            }
        }
        Ok(events)
    }

    pub(crate) fn drive_status(&self, error: &drive::Error) -> Status {
        match error {
            drive::Error::NotLeader => self.redirect(),
            drive::Error::Interrupted | drive::Error::Stopping => Status::unavailable(error.to_string()),
            drive::Error::Overloaded => Status::resource_exhausted(error.to_string()),
            drive::Error::TooLarge => Status::invalid_argument(error.to_string()),
        }
    }
}

fn refused(refusal: &Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::UnknownCorpus | Refusal::UnknownRuleset => Status::not_found(text),
        Refusal::UrlFixed { .. } => Status::already_exists(text),
        Refusal::Malformed { .. } => Status::invalid_argument(text),
        Refusal::SessionNotLive | Refusal::LeaseNotLive | Refusal::NotOwed | Refusal::WrongWork => {
            Status::failed_precondition(text)
        }
    }
}
