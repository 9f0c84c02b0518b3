//! `dragnet cluster`: members that come and go, who leads, snapshots, backups.

mod backups;
mod join;
mod members;

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Subcommand;
use protocol::{
    client::{LeaderClient, channel},
    v1::{self, cluster_client::ClusterClient},
};
use tokio::time::timeout;
use tonic::{Response, Status, transport::Channel};

use super::Context;
use crate::parse;

/// A change of members needs a majority twice, and the leader bounds each step itself.
const DEADLINE: Duration = Duration::from_secs(30);
/// A learner that copies a large state takes its time; the leader waits for it as long.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(90);
/// Packing and uploading a large state.
const BACKUP_DEADLINE: Duration = Duration::from_secs(600);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show members with their role, how far they are behind, and when the leader last heard of them
    #[command(after_help = "\
Examples:
  dragnet cluster members
  dragnet cluster members --json | jq -r 'select(.role == \"learner\").address'")]
    Members,
    /// Found a new cluster with a node that waits for its role
    #[command(after_help = "\
For a node that was started with --await-role. It becomes the only voter; add others to it.

Example:
  dragnet cluster found 10.0.0.5:7601 --name blue")]
    Found {
        /// The node
        #[arg(value_name = "HOST:PORT", value_parser = parse::address)]
        node: String,
        /// What the cluster is called, 1 to 63 of a-z, 0-9 and '-' [default: random]
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
    },
    /// Add a node that waits for its role: it copies the log, and then votes
    #[command(after_help = "\
For a node that was started with --await-role, and for one that was removed and still has its log. Safe to repeat.

Examples:
  dragnet cluster add 10.0.0.6:7601
  dragnet cluster add 10.0.0.6:7601 --learner")]
    Add {
        /// The node
        #[arg(value_name = "HOST:PORT", value_parser = parse::address)]
        node: String,
        /// Leave it a learner, without a vote
        #[arg(long)]
        learner: bool,
    },
    /// Give a learner that has caught up a vote
    #[command(after_help = "Example:\n  dragnet cluster promote 4 --wait 1m")]
    Promote {
        /// The member's id or address
        #[arg(value_name = "NODE")]
        node: String,
        /// How long to wait until it has caught up, at most a minute
        #[arg(long, value_name = "TIME", value_parser = parse::duration, default_value = "30s")]
        wait: Duration,
    },
    /// Take a member out of the cluster; if it leads, another one does first
    #[command(after_help = "\
Its process goes on and can be stopped then. Refused when too few of the remaining voters answer: without a majority \
nothing can be changed any more.

Examples:
  dragnet cluster remove 3
  dragnet cluster remove 10.0.0.7:7601 --force")]
    Remove {
        /// The member's id or address
        #[arg(value_name = "NODE")]
        node: String,
        /// Remove it although too few of the remaining voters answer
        #[arg(long)]
        force: bool,
    },
    /// Hand leadership to another voter
    #[command(after_help = "Examples:\n  dragnet cluster transfer\n  dragnet cluster transfer --to 2")]
    Transfer {
        /// The voter's id or address [default: the one that is furthest]
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
    },
    /// Have members write a snapshot of their state to their own disks now
    #[command(after_help = "\
Members do this by themselves, by time and log size.

Examples:
  dragnet cluster snapshot
  dragnet cluster snapshot 10.0.0.5:7601")]
    Snapshot {
        /// The member [default: every one]
        #[arg(value_name = "HOST:PORT", value_parser = parse::address)]
        node: Option<String>,
    },
    /// Write the cluster's state to object storage now
    #[command(after_help = "\
The state is corpora, rulesets, and what was done; manifests and findings stay where they are, in the cluster's own \
object storage. Members back up by themselves when started with --backup-url.

When too few members are left to agree, --member has one of those write what it knows to be decided. What the others had \
decided by then, and it had not heard of, is not in it: those files are scanned once more.

Examples:
  dragnet cluster backup --to s3://bucket/backups --keep 24
  dragnet cluster backup --to s3://bucket/rescued --member orchestrator-2:7601
  dragnet cluster backups --at s3://bucket/backups")]
    Backup {
        /// Where to [default: as the members were started with]
        #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
        to: String,
        /// How many backups of this cluster to keep there, the newest; 0: all
        #[arg(long, value_name = "N", default_value_t = 0)]
        keep: u32,
        /// The member that writes it [default: the one that leads]
        #[arg(long, value_name = "HOST:PORT", value_parser = parse::address)]
        member: Option<String>,
    },
    /// List the backups in a place, newest first
    #[command(after_help = "Example:\n  dragnet cluster backups --at s3://bucket/backups --json")]
    Backups {
        /// Where [default: as the members were started with]
        #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
        at: String,
    },
    /// Found a new cluster from a backup, with a node that waits for its role
    #[command(after_help = "\
For a node that was started with --await-role. The new cluster has a name of its own and one voter; workers connect anew, \
and what was under way is done again. Nodes of the old cluster cannot join it with their old directories.

Examples:
  dragnet cluster restore 10.0.0.5:7601 --from s3://bucket/backups
  dragnet cluster restore 10.0.0.5:7601 --from s3://bucket/backups/20261122T201500Z-blue-8123.backup --name green")]
    Restore {
        /// The node
        #[arg(value_name = "HOST:PORT", value_parser = parse::address)]
        node: String,
        /// Where the backups are, or one of them
        #[arg(long, value_name = "URL")]
        from: String,
        /// Of a place with backups of several clusters, only those of this one
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        of: String,
        /// What the new cluster is called [default: random]
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
    },
}

pub async fn run(command: Command, ctx: &mut Context) -> Result<()> {
    match command {
        Command::Members => members::show(ctx).await,
        Command::Found { node, name } => join::found(ctx, &node, name).await,
        Command::Add { node, learner } => join::add(ctx, &node, learner).await,
        Command::Promote { node, wait } => members::promote(ctx, &node, wait).await,
        Command::Remove { node, force } => members::remove(ctx, &node, force).await,
        Command::Transfer { to } => members::transfer(ctx, to.as_deref()).await,
        Command::Snapshot { node } => backups::snapshot(ctx, node).await,
        Command::Backup { to, keep, member } => backups::take(ctx, to, keep, member).await,
        Command::Backups { at } => backups::list(ctx, at).await,
        Command::Restore { node, from, of, name } => {
            join::restore(ctx, &node, v1::RestoreRequest { url: from, cluster_id: name, from_cluster_id: of }).await
        }
    }
}

/// Asks whichever member leads.
async fn ask_leader<Answer, Fut>(
    ctx: &Context,
    what: &str,
    deadline: Duration,
    call: impl Fn(ClusterClient<Channel>) -> Fut,
) -> Result<Answer>
where
    Fut: Future<Output = Result<Response<Answer>, Status>>,
{
    let leader = LeaderClient::new(ctx.cluster.addresses().to_vec());
    let answer = leader.call(deadline, |channel| {
        let answer = call(ClusterClient::new(channel));
        async move { answer.await.map(Response::into_inner) }
    });
    answer.await.with_context(|| format!("could not {what}"))
}

/// Asks one node, whether it leads or not.
async fn ask_node<Answer>(
    address: &str,
    what: &str,
    deadline: Duration,
    call: impl AsyncFnOnce(ClusterClient<Channel>) -> Result<Response<Answer>, Status>,
) -> Result<Answer> {
    let client = ClusterClient::new(channel(address)?);
    let answer = timeout(deadline, call(client)).await;
    let answer = answer.map_err(|_| anyhow!("{address} did not answer within {} s", deadline.as_secs()))?;
    answer.map(Response::into_inner).map_err(|status| refusal(&status)).with_context(|| format!("could not {what}"))
}

fn refusal(status: &Status) -> anyhow::Error {
    match protocol::client::identity_hint(status) {
        Some((cluster, node)) => anyhow!(
            "it is node {node} of cluster {cluster} already; a node takes another role with an empty directory only"
        ),
        None => anyhow!("{}", status.message()),
    }
}

/// A member by its id or its address, as the leader knows it.
async fn member(ctx: &Context, node: &str) -> Result<(v1::StatusResponse, v1::Member)> {
    let status = leader_status(ctx).await?;
    let id: Option<u64> = node.parse().ok();
    let fits = |member: &&v1::Member| Some(member.node_id) == id || member.address == node;
    let found: Vec<_> = status.members.iter().filter(fits).cloned().collect();
    match found.as_slice() {
        [] => bail!("no member has the id or address {node}; `dragnet cluster members` lists them"),
        [member] => {
            let member = member.clone();
            Ok((status, member))
        }
        several => {
            let ids: Vec<_> = several.iter().map(|member| member.node_id.to_string()).collect();
            bail!("several members have the address {node}: say which by its id, {}", ids.join(" or "))
        }
    }
}

/// What the leader says about itself and the others.
async fn leader_status(ctx: &Context) -> Result<v1::StatusResponse> {
    ask_leader(ctx, "ask the leader for its members", DEADLINE, async |mut client| {
        let status = client.status(v1::StatusRequest { brief: true }).await?;
        let (node_id, leader) = (status.get_ref().node_id, status.get_ref().leader_id);
        if node_id != 0 && node_id == leader {
            return Ok(status);
        }
        let address = Some(status.get_ref().leader_address.as_str()).filter(|address| !address.is_empty());
        Err(protocol::client::not_leader(address))
    })
    .await
}
