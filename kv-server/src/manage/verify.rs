//! Whether what lies on the disk is what was built: looked at in full once, and by sizes and times after that.

use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use dataset::{Manifest, VersionId, manifest::ShardEntry, proof, verify};
use tokio_util::sync::CancellationToken;

use super::{
    desk::read_manifest,
    disk::{self, failed},
    error::Error,
};
use crate::catalog::Wanted;

/// The shards that this server holds, of the version's.
pub(crate) fn wanted<'a>(manifest: &'a Manifest, wanted: &'a Wanted) -> impl Iterator<Item = &'a ShardEntry> {
    manifest.shards.iter().filter(|shard| wanted.contains(shard.index.into(), shard.slots))
}

/// Reads every file and every record of a version's folder, and notes that it did.
pub(crate) async fn whole(
    folder: PathBuf,
    version: VersionId,
    wanted: Wanted,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let check = |folder: &Path, manifest: &Manifest, shard: &ShardEntry, watch: verify::Watch<'_>| {
        verify::shard(folder, manifest, shard, watch)
    };
    in_background(folder, version, wanted, cancel, check).await
}

/// Reads every record of a version's folder, and notes that it did. For files whose bytes were checked as they came.
pub(crate) async fn records(
    folder: PathBuf,
    version: VersionId,
    wanted: Wanted,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let check = |folder: &Path, manifest: &Manifest, shard: &ShardEntry, watch: verify::Watch<'_>| {
        verify::content(folder, &manifest.key_prefix, shard, watch)
    };
    in_background(folder, version, wanted, cancel, check).await
}

type Check = fn(&Path, &Manifest, &ShardEntry, verify::Watch<'_>) -> Result<(), verify::Error>;

async fn in_background(
    folder: PathBuf,
    version: VersionId,
    held: Wanted,
    cancel: CancellationToken,
    check: Check,
) -> Result<(), Error> {
    // Nobody waits for it any more when it is cancelled; then it ends by itself.
    let checking = tokio::task::spawn_blocking(move || {
        let manifest = read_manifest(&folder, version).map_err(|what| Error::LocalManifest { version, what })?;
        let mut watch = |_| if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        for shard in wanted(&manifest, &held) {
            let checked = check(&folder.join(shard.folder()), &manifest, shard, &mut watch);
            checked.map_err(|source| Error::Verify { version, folder: folder.clone(), source: Box::new(source) })?;
        }
        let noted = proof::record(&folder, &manifest, wanted(&manifest, &held));
        Ok(noted.map_err(failed("note the verification of", &folder))?)
    });
    checking.await.unwrap_or_else(|panic| Err(Error::Panicked { what: panic.to_string() }))
}

/// Whether the files are still the ones that were verified. What cannot be read is not.
pub(crate) fn is_verified(folder: &Path, version: VersionId, held: &Wanted) -> bool {
    let Ok(manifest) = read_manifest(folder, version) else { return false };
    proof::holds(folder, &manifest, wanted(&manifest, held)).unwrap_or(false)
}

/// Has the version verified again before it is opened next.
pub(crate) fn forget(folder: &Path) -> Result<(), Error> {
    let note = folder.join(proof::FILE);
    match fs::remove_file(&note) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(disk::Error::Io { what: "delete", path: note, source }.into())
        }
        _ => Ok(()),
    }
}
