//! Where backups lie, and how they are named there.

use bytes::Bytes;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use protocol::v1;
use store::{Listed, Store};

use super::Error;

const SUFFIX: &str = ".backup";
/// Sorts by time; no colons, which some object stores and shells dislike.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// A backup as its name tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backup {
    name: String,
    pub(crate) url: String,
    pub(crate) cluster_id: String,
    pub(crate) index: u64,
    pub(crate) taken_at: Timestamp,
    pub(crate) bytes: u64,
}

impl Backup {
    /// Its key in its place.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn to_wire(&self) -> v1::BackupInfo {
        v1::BackupInfo {
            url: self.url.clone(),
            cluster_id: self.cluster_id.clone(),
            index: self.index,
            taken_at_ms: self.taken_at_ms(),
            bytes: self.bytes,
        }
    }

    pub(crate) fn taken_at_ms(&self) -> u64 {
        u64::try_from(self.taken_at.as_millisecond()).unwrap_or(0)
    }
}

/// Variables that begin so lead into the storage of backups, if that is another one, or may be changed by others: what follows is
/// as for `--storage`, such as `AWS_ACCESS_KEY_ID`.
const OWN_VARIABLES: &str = "DRAGNET_BACKUP_STORAGE_";

/// A folder or prefix in object storage.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    url: String,
    store: Store,
}

impl Place {
    pub(crate) fn open(url: &str) -> Result<Self, Error> {
        let store =
            Store::open_apart(url, OWN_VARIABLES).map_err(|source| Error::Open { url: url.to_owned(), source })?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), store })
    }

    /// The place of a backup, and its name there.
    pub(crate) fn of_backup(url: &str) -> Result<(Self, String), Error> {
        let missing = || Error::Missing { url: url.to_owned() };
        let (folder, name) = url.rsplit_once('/').filter(|(_, name)| name.ends_with(SUFFIX)).ok_or_else(missing)?;
        Ok((Self::open(folder)?, name.to_owned()))
    }

    /// True if the URL is that of one backup.
    pub(crate) fn is_backup(url: &str) -> bool {
        url.ends_with(SUFFIX)
    }

    /// Newest first. What is not named like a backup is passed over.
    pub(crate) async fn list(&self) -> Result<Vec<Backup>, Error> {
        let listed = self.store.list_root().await.map_err(|source| self.failed(source))?;
        let mut backups: Vec<_> = listed.iter().filter_map(|listed| self.backup(listed)).collect();
        backups.sort_by(|a, b| (b.taken_at, b.index, &b.name).cmp(&(a.taken_at, a.index, &a.name)));
        Ok(backups)
    }

    pub(crate) async fn put(
        &self,
        cluster_id: &str,
        index: u64,
        taken_at: Timestamp,
        bytes: Bytes,
    ) -> Result<Backup, Error> {
        let name = name(cluster_id, index, taken_at);
        let size = bytes.len() as u64;
        self.store.put(&name, bytes).await.map_err(|source| self.failed(source))?;
        let listed = Listed { key: name, bytes: size };
        self.backup(&listed).ok_or_else(|| Error::Missing { url: self.url.clone() })
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Bytes, Error> {
        let found = self.store.get_optional(name).await.map_err(|source| self.failed(source))?;
        found.ok_or_else(|| Error::Missing { url: format!("{}/{name}", self.url) })
    }

    pub(crate) async fn remove(&self, backup: &Backup) -> Result<(), Error> {
        self.remove_named(&backup.name).await
    }

    pub(crate) async fn remove_named(&self, name: &str) -> Result<(), Error> {
        self.store.remove(name).await.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: store::Error) -> Error {
        Error::Storage { url: self.url.clone(), source }
    }

    fn backup(&self, listed: &Listed) -> Option<Backup> {
        let (time, rest) = listed.key.strip_suffix(SUFFIX)?.split_once('-')?;
        let (cluster_id, index) = rest.rsplit_once('-')?;
        let taken_at = DateTime::strptime(TIME, time).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
        Some(Backup {
            name: listed.key.clone(),
            url: format!("{}/{}", self.url, listed.key),
            cluster_id: cluster_id.to_owned(),
            index: index.parse().ok()?,
            taken_at,
            bytes: listed.bytes,
        })
    }
}

fn name(cluster_id: &str, index: u64, taken_at: Timestamp) -> String {
    format!("{}-{cluster_id}-{index}{SUFFIX}", taken_at.strftime(TIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test]
    async fn backups_are_listed_newest_first_and_strangers_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}/", dir.path().display());
        let place = Place::open(&url).unwrap();
        for (cluster, index, second) in [("blue-1", 9, 1_000_000), ("00ff", 3, 3_000_000), ("blue-1", 12, 2_000_000)] {
            place.put(cluster, index, at(second), Bytes::from_static(b"x")).await.unwrap();
        }
        std::fs::write(dir.path().join("README.md"), "hello").unwrap();
        std::fs::write(dir.path().join("20261122T201500Z-blue-x.backup"), "hello").unwrap();

        let listed = place.list().await.unwrap();

        let told: Vec<_> = listed.iter().map(|backup| (backup.cluster_id.as_str(), backup.index)).collect();
        assert_eq!(told, [("00ff", 3), ("blue-1", 12), ("blue-1", 9)]);
        assert_eq!(listed[1].taken_at, at(2_000_000));
        assert_eq!(listed[1].bytes, 1);
        let (place, name) = Place::of_backup(&listed[1].url).unwrap();
        assert_eq!(place.get(&name).await.unwrap(), "x");
        place.remove(&listed[1]).await.unwrap();
        assert!(matches!(place.get(&name).await, Err(Error::Missing { .. })));
        place.remove_named(&name).await.expect("gone is gone");
    }

    #[test]
    fn a_url_of_something_else_is_no_backup() {
        assert!(matches!(Place::of_backup("file:///tmp/x.parquet"), Err(Error::Missing { .. })));
    }
}
