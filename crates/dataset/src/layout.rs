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

/// What machines that build one version together have made so far.
pub(crate) const BUILDS: &str = "builds";

pub(crate) fn build(id: &str) -> String {
    format!("{BUILDS}/{id}")
}

pub(crate) fn part_file(id: &str, shard: u16, name: &str) -> String {
    format!("{BUILDS}/{id}/{}/{name}", shard_folder(shard))
}

/// Written when all files of the shard are there.
pub(crate) fn part(id: &str, shard: u16) -> String {
    format!("{BUILDS}/{id}/{}.json", shard_folder(shard))
}

/// Written first by whoever finishes: the sequence number and the moment, so that a repeat takes the same.
pub(crate) fn begun(id: &str) -> String {
    format!("{BUILDS}/{id}/finish.json")
}

/// Kept when the rest is gone: which version came of it.
pub(crate) fn finished(id: &str) -> String {
    format!("finished/{id}.json")
}
