//! The leader is killed while a sweep is under way.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use protocol::v1;
use tokio::time::{Instant, sleep};

use crate::{
    client::status_of,
    render::{Out, elapsed},
    up::local::{Local, orchestrator_name, wait_other_leader},
};

/// An election takes a second or two.
const ELECTION_DEADLINE: Duration = Duration::from_secs(30);
/// A restart by `up`, with its pause, and catching up with the log.
const RETURN_DEADLINE: Duration = Duration::from_secs(60);

/// What the accident cost.
#[derive(Debug)]
pub(super) struct Accident {
    /// The member that was killed, from 1.
    pub(super) struck: u16,
    pub(super) election: Duration,
    at: Instant,
}

/// Kills the leader as a power cut would, and waits until another one leads.
pub(super) async fn strike(local: &Local, out: &mut Out) -> Result<Accident> {
    let struck = local.leader().await.context("there is no leader to kill")?;
    let pid = local.strike(struck)?;
    let at = Instant::now();
    out.line(format!("  kill -9 {pid}: {}, which leads", orchestrator_name(struck)))?;
    out.flush()?;
    let addresses = local.plan().settings.addresses();
    let (leader, election) = wait_other_leader(&addresses, struck, ELECTION_DEADLINE).await?;
    local.release(struck);
    out.line(format!("  {} leads after {}; the worker goes on", orchestrator_name(leader), elapsed(election)))?;
    out.flush()?;
    Ok(Accident { struck, election, at })
}

/// Waits until the killed member serves again, with all that was decided without it.
pub(super) async fn wait_back(local: &Local, accident: &Accident, out: &mut Out) -> Result<()> {
    let name = orchestrator_name(accident.struck);
    let address = local.plan().settings.addresses().swap_remove(usize::from(accident.struck) - 1);
    let begun = Instant::now();
    while begun.elapsed() < RETURN_DEADLINE {
        let leader = crate::up::local::leader_status(&local.plan().settings.addresses()).await;
        if let (Ok(own), Some(leader)) = (status_of(&address).await, leader)
            && is_back(&own, &leader, &address)
        {
            let state = if own.applied_index == leader.applied_index {
                "the same state as the leader"
            } else {
                "almost caught up"
            };
            out.line(format!(
                "  {name} is back as node {}, seen {} after it was killed; log index {}, {state}",
                own.node_id,
                elapsed(accident.at.elapsed()),
                own.applied_index
            ))?;
            if own.applied_index == leader.applied_index && own.state_digest != leader.state_digest {
                bail!("{name} has another state than the leader at log index {}", own.applied_index);
            }
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
    bail!("{name} has not come back within {} s", RETURN_DEADLINE.as_secs());
}

fn is_back(own: &v1::StatusResponse, leader: &v1::StatusResponse, address: &str) -> bool {
    let is_voter = |member: &v1::Member| member.voter && member.address == address && member.node_id == own.node_id;
    own.ready && leader.members.iter().any(is_voter) && own.applied_index + 8 >= leader.applied_index
}
