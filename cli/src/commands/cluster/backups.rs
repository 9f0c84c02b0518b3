//! Snapshots on members' disks, and backups in object storage.

use anyhow::{Result, bail};
use protocol::v1;

use super::{BACKUP_DEADLINE, DEADLINE, ask_leader, ask_node, leader_status};
use crate::{
    commands::Context,
    render::{Align, Table, bytes, count},
};

pub(super) async fn snapshot(ctx: &mut Context, node: Option<String>) -> Result<()> {
    let nodes = match node {
        Some(node) => vec![node],
        None => leader_status(ctx).await?.members.into_iter().map(|member| member.address).collect(),
    };
    let mut failed = 0;
    for node in nodes {
        let what = format!("have {node} write a snapshot");
        let taken = ask_node(&node, &what, BACKUP_DEADLINE, async |mut client| {
            client.take_snapshot(v1::TakeSnapshotRequest {}).await
        });
        match taken.await {
            Ok(taken) if ctx.out.is_json() => {
                ctx.out.object(&serde_json::json!({ "address": node, "index": taken.index }))?;
            }
            Ok(taken) => ctx.out.line(format!("{node} has a snapshot up to entry {}", count(taken.index)))?,
            Err(error) => {
                failed += 1;
                eprintln!("{error:#}");
            }
        }
    }
    if failed > 0 {
        bail!("{failed} members wrote no snapshot");
    }
    Ok(())
}

pub(super) async fn take(ctx: &mut Context, url: String, keep: u32, member: Option<String>) -> Result<()> {
    let member = match member {
        Some(member) => member,
        None => leader_status(ctx).await?.leader_address,
    };
    let request = v1::BackupRequest { url, keep };
    let taken = ask_node(&member, "back up", BACKUP_DEADLINE, async |mut client| client.backup(request).await).await?;
    let v1::BackupResponse { backup, removed } = taken;
    let backup = backup.unwrap_or_default();
    if ctx.out.is_json() {
        return ctx.out.object(&serde_json::json!({ "backup": json(&backup), "removed": removed }));
    }
    ctx.out.line(format!("{}: {}, up to entry {}", backup.url, bytes(backup.bytes), count(backup.index)))?;
    removed.iter().try_for_each(|url| ctx.out.line(format!("removed {url}")))
}

pub(super) async fn list(ctx: &mut Context, url: String) -> Result<()> {
    let request = v1::ListBackupsRequest { url };
    let listed = ask_leader(ctx, "list backups", DEADLINE, |mut client| {
        let request = request.clone();
        async move { client.list_backups(request).await }
    });
    let backups = listed.await?.backups;
    if ctx.out.is_json() {
        return backups.iter().try_for_each(|backup| ctx.out.object(&json(backup)));
    }
    if backups.is_empty() {
        return ctx.out.line("no backups");
    }
    let (left, right) = (Align::Left, Align::Right);
    let mut table =
        Table::new(&[("taken", left), ("cluster", left), ("entry", right), ("size", right), ("backup", left)]);
    for backup in &backups {
        let cells =
            [time(backup), backup.cluster_id.clone(), count(backup.index), bytes(backup.bytes), backup.url.clone()];
        table.row(cells);
    }
    ctx.out.line(table)
}

pub(super) fn json(backup: &v1::BackupInfo) -> serde_json::Value {
    serde_json::json!({
        "url": backup.url,
        "cluster_id": backup.cluster_id,
        "index": backup.index,
        "taken_at_ms": backup.taken_at_ms,
        "bytes": backup.bytes,
    })
}

/// As the name tells it: in UTC, to the second.
pub(super) fn time(backup: &v1::BackupInfo) -> String {
    let name = backup.url.rsplit('/').next().unwrap_or_default();
    let time = name.split('-').next().unwrap_or_default();
    match (time.get(..4), time.get(4..6), time.get(6..8), time.get(9..11), time.get(11..13), time.get(13..15)) {
        (Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)) => {
            format!("{year}-{month}-{day} {hour}:{minute}:{second}Z")
        }
        _ => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_from_the_name() {
        let backup =
            v1::BackupInfo { url: "s3://b/p/20261122T201507Z-blue-12.backup".to_owned(), ..v1::BackupInfo::default() };
        assert_eq!(time(&backup), "2026-11-22 20:15:07Z");
        assert_eq!(time(&v1::BackupInfo { url: "x".to_owned(), ..v1::BackupInfo::default() }), "x");
    }
}
