//! Who is in the cluster, and who is to be.

use std::time::Duration;

use anyhow::{Result, bail};
use protocol::v1;
use serde::Serialize;

use super::{CATCH_UP_DEADLINE, DEADLINE, ask_leader, leader_status, member};
use crate::{
    commands::Context,
    render::{Align, Table, count, elapsed},
};

/// One member, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    node_id: u64,
    address: &'a str,
    /// leader, voter, learner
    role: &'static str,
    /// Entries behind the leader.
    lag: Option<u64>,
    /// Milliseconds since the leader last heard of it.
    silent_ms: Option<u64>,
}

pub(super) async fn show(ctx: &mut Context) -> Result<()> {
    let status = leader_status(ctx).await?;
    let rows = status.members.iter().map(|member| Row {
        node_id: member.node_id,
        address: &member.address,
        role: role(member),
        lag: member.lag,
        silent_ms: member.silent_ms,
    });
    let rows: Vec<_> = rows.collect();
    if ctx.out.is_json() {
        return rows.iter().try_for_each(|row| ctx.out.object(row));
    }
    let (left, right) = (Align::Left, Align::Right);
    let mut table =
        Table::new(&[("node", right), ("address", left), ("role", left), ("behind", right), ("heard of", right)]);
    for row in &rows {
        table.row([
            row.node_id.to_string(),
            row.address.to_owned(),
            row.role.to_owned(),
            row.lag.map_or("-".to_owned(), count),
            heard(row),
        ]);
    }
    ctx.out.line(format!("cluster {}, term {}", status.cluster_id, status.term))?;
    ctx.out.line(table)
}

fn role(member: &v1::Member) -> &'static str {
    match (member.leader, member.voter) {
        (true, _) => "leader",
        (false, true) => "voter",
        (false, false) => "learner",
    }
}

fn heard(row: &Row<'_>) -> String {
    match row.silent_ms {
        None => "never".to_owned(),
        Some(silent) if silent < 2_000 => "now".to_owned(),
        Some(silent) => format!("{} ago", elapsed(Duration::from_millis(silent))),
    }
}

pub(super) async fn promote(ctx: &mut Context, node: &str, wait: Duration) -> Result<()> {
    let (_, member) = member(ctx, node).await?;
    let node_id = member.node_id;
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    ask_leader(ctx, &format!("give node {node_id} a vote"), CATCH_UP_DEADLINE, async |mut client| {
        client.promote_member(v1::PromoteMemberRequest { node_id, wait_ms }).await
    })
    .await?;
    say(ctx, node_id, "voter", format!("node {node_id} votes"))
}

pub(super) async fn remove(ctx: &mut Context, node: &str, force: bool) -> Result<()> {
    let (status, member) = member(ctx, node).await?;
    let node_id = member.node_id;
    if node_id == status.leader_id {
        if status.members.iter().filter(|member| member.voter).count() < 2 {
            bail!("node {node_id} is the only voter: without it there is no cluster");
        }
        transfer_to(ctx, 0).await?;
    }
    ask_leader(ctx, &format!("remove node {node_id}"), DEADLINE, async |mut client| {
        client.remove_member(v1::RemoveMemberRequest { node_id, force }).await
    })
    .await?;
    say(ctx, node_id, "removed", format!("node {node_id} at {} is no member any more", member.address))
}

pub(super) async fn transfer(ctx: &mut Context, to: Option<&str>) -> Result<()> {
    let to = match to {
        Some(node) => member(ctx, node).await?.1.node_id,
        None => 0,
    };
    let leader = transfer_to(ctx, to).await?;
    say(ctx, leader, "leader", format!("node {leader} leads"))
}

async fn transfer_to(ctx: &Context, to: u64) -> Result<u64> {
    let answer = ask_leader(ctx, "hand leadership over", DEADLINE, async |mut client| {
        client.transfer_leader(v1::TransferLeaderRequest { to }).await
    });
    Ok(answer.await?.to)
}

fn say(ctx: &mut Context, node_id: u64, role: &str, text: String) -> Result<()> {
    if ctx.out.is_json() {
        return ctx.out.object(&serde_json::json!({ "node_id": node_id, "role": role }));
    }
    ctx.out.line(text)
}
