//! Nodes that wait for a role, and get one.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use protocol::v1::{self, MemberRole};

use super::{BACKUP_DEADLINE, CATCH_UP_DEADLINE, DEADLINE, ask_leader, ask_node, backups, leader_status};
use crate::{client::status_of, commands::Context, render::bytes};

pub(super) async fn found(ctx: &mut Context, node: &str, name: String) -> Result<()> {
    let what = format!("found a cluster at {node}");
    let founded =
        ask_node(node, &what, DEADLINE, async |mut client| client.found(v1::FoundRequest { cluster_id: name }).await);
    let founded = founded.await?;
    if ctx.out.is_json() {
        return ctx.out.object(&json(&founded));
    }
    ctx.out.line(format!("cluster {} is founded; {node} is node {}", founded.cluster_id, founded.node_id))
}

pub(super) async fn restore(ctx: &mut Context, node: &str, request: v1::RestoreRequest) -> Result<()> {
    let what = format!("restore at {node}");
    let restored = ask_node(node, &what, BACKUP_DEADLINE, async |mut client| client.restore(request).await).await?;
    if ctx.out.is_json() {
        return ctx.out.object(&json(&restored));
    }
    let v1::RoleResponse { cluster_id, node_id, restored } = restored;
    if let Some(backup) = restored {
        let (from, size) = (&backup.cluster_id, bytes(backup.bytes));
        ctx.out.line(format!("read {} ({size}, taken {}, of cluster {from})", backup.url, backups::time(&backup)))?;
    }
    ctx.out.line(format!("cluster {cluster_id} is founded; {node} is node {node_id}"))
}

/// Has the node take an id, then the leader let it in. Each step may have been done by an earlier try.
pub(super) async fn add(ctx: &mut Context, node: &str, learner: bool) -> Result<()> {
    let leader = leader_status(ctx).await?;
    let status = status_of(node).await?;
    let node_id = if status.role() == MemberRole::Awaiting {
        let addresses = leader.members.iter().map(|member| member.address.clone());
        let request = v1::JoinRequest { addresses: addresses.collect(), cluster_id: leader.cluster_id.clone() };
        let what = format!("have {node} join");
        let joined = ask_node(node, &what, DEADLINE, async |mut client| client.join(request).await).await?;
        joined.node_id
    } else if status.cluster_id != leader.cluster_id {
        bail!("{node} is of cluster {}, not of {}; give it an empty directory", status.cluster_id, leader.cluster_id);
    } else {
        status.node_id
    };
    let address = Some(status.advertised_address).filter(|address| !address.is_empty());
    let address = address.unwrap_or_else(|| node.to_owned());
    until_it_runs(node, node_id).await?;
    let request = v1::AddMemberRequest {
        node_id,
        address: address.clone(),
        cluster_id: leader.cluster_id.clone(),
        learner_only: true,
    };
    ask_leader(ctx, &format!("add {node}"), DEADLINE, |mut client| {
        let request = request.clone();
        async move { client.add_member(request).await }
    })
    .await?;
    if !learner {
        ask_leader(ctx, &format!("give {node} a vote"), CATCH_UP_DEADLINE, async |mut client| {
            client.promote_member(v1::PromoteMemberRequest { node_id, wait_ms: 60_000 }).await
        })
        .await?;
    }
    let role = if learner { "learner" } else { "voter" };
    if ctx.out.is_json() {
        return ctx.out.object(&serde_json::json!({ "node_id": node_id, "address": address, "role": role }));
    }
    ctx.out.line(format!("{address} is node {node_id}, a {role}"))
}

/// A node that just took its role starts its services in a moment.
async fn until_it_runs(node: &str, node_id: u64) -> Result<()> {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let status = status_of(node).await;
        match status {
            Ok(status) if status.node_id == node_id => return Ok(()),
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(error).context("it did not start"),
            _ if tokio::time::Instant::now() >= deadline => bail!("{node} did not take its role in time"),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn json(role: &v1::RoleResponse) -> serde_json::Value {
    let restored = role.restored.as_ref().map(backups::json);
    serde_json::json!({ "cluster_id": role.cluster_id, "node_id": role.node_id, "restored": restored })
}
