//! Where things lie below a dataset's URL; the only place that knows it.

use crate::{VersionId, manifest::shard_folder};

pub(crate) const ANNOUNCEMENT: &str = "announced.json";
pub(crate) const VERSIONS: &str = "versions";

pub(crate) fn version(version: VersionId) -> String {
    format!("{VERSIONS}/{version}")
}

pub(crate) fn manifest(version: VersionId) -> String {
    format!("{VERSIONS}/{version}/manifest.json")
}

pub(crate) fn shard(version: VersionId, shard: u16) -> String {
    format!("{VERSIONS}/{version}/{}", shard_folder(shard))
}

pub(crate) fn file(version: VersionId, shard: u16, name: &str) -> String {
    format!("{VERSIONS}/{version}/{}/{name}", shard_folder(shard))
}

/// Taken by one builder only, for good.
pub(crate) fn sequence(sequence: u32) -> String {
    format!("sequences/{sequence:06}.json")
}
pub(crate) const SEQUENCES: &str = "sequences";
