//! `dragnet dataset list`.

use anyhow::Result;
use dataset::{Announcement, Manifest, VersionId};
use serde_json::json;

use super::open;
use crate::{
    commands::Context,
    render::{Align, Table, bytes, count, utc},
};

pub(super) async fn run(url: &str, ctx: &mut Context) -> Result<()> {
    let repository = open(url)?;
    let announcement = repository.announcement().await?;
    let versions = repository.versions().await?;
    if versions.is_empty() && !ctx.out.is_json() {
        return ctx.out.line(format!("no versions at {url} yet; build one: dragnet dataset build --to {url} …"));
    }
    let right = Align::Right;
    let mut table = Table::new(&[
        ("version", Align::Left),
        ("keys", right),
        ("size", right),
        ("shards", right),
        ("built", Align::Left),
        ("state", Align::Left),
    ]);
    for version in versions.into_iter().rev() {
        // One version that cannot be read hides no other.
        let manifest = repository.manifest(&version).await;
        let state = state(&announcement, version);
        if ctx.out.is_json() {
            ctx.out.object(&object(version, &manifest, &announcement, &state))?;
            continue;
        }
        match manifest {
            Ok(manifest) => table.row([
                version.to_string(),
                count(manifest.keys),
                bytes(manifest.file_bytes()),
                count(manifest.shards.len() as u64),
                utc(manifest.created_at_ms.0),
                state,
            ]),
            Err(error) => {
                let blank = || "-".to_owned();
                let state = format!("unusable: {:#}", anyhow::Error::new(error));
                table.row([version.to_string(), blank(), blank(), blank(), blank(), state]);
            }
        }
    }
    if ctx.out.is_json() { Ok(()) } else { ctx.out.line(table) }
}

fn object(
    version: VersionId,
    manifest: &Result<Manifest, dataset::Error>,
    announcement: &Announcement,
    state: &str,
) -> serde_json::Value {
    let known = manifest.as_ref().ok();
    json!({
        "version": version,
        "state": state,
        "target": announcement.target() == Some(version),
        "bad": announcement.bad.get(&version),
        "keys": known.map(|manifest| manifest.keys),
        "bytes": known.map(|manifest| manifest.bytes),
        "file_bytes": known.map(Manifest::file_bytes),
        "shards": known.map(|manifest| manifest.shards.len()),
        "created_at_ms": known.map(|manifest| manifest.created_at_ms),
        "content_digest": known.map(|manifest| manifest.content_digest),
        "error": manifest.as_ref().err().map(ToString::to_string),
    })
}

/// `announced`, `pinned`, `bad: why`, several of them, or nothing.
pub(super) fn state(announcement: &Announcement, version: VersionId) -> String {
    let mut states = Vec::new();
    if announcement.pin == Some(version) {
        states.push("pinned".to_owned());
    }
    if announcement.version == Some(version) {
        states.push("announced".to_owned());
    }
    if announcement.previous == Some(version) {
        states.push("previous".to_owned());
    }
    if let Some(bad) = announcement.bad.get(&version) {
        states.push(format!("bad: {}", bad.reason));
    }
    states.join(", ")
}
