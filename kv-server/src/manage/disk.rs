//! The folder of one dataset on this machine's disk.
//!
//! ```text
//! <data-dir>/manager.lock                   who may write below it; one process at a time
//! <data-dir>/server.lock                    who serves from it; one process at a time
//! <data-dir>/<dataset>/000007-1a2b3c4d/     a whole version: renamed into place when it was verified
//! <data-dir>/<dataset>/.tmp-000008-…/       a download; left over by a killed process if nobody works on it
//! <data-dir>/<dataset>/.gone-000005-…-0/    being deleted
//! <data-dir>/<dataset>/serving.json         what the server served and was told, for after a restart
//! <data-dir>/<dataset>/announced.json       the last announcement, and what failed
//! ```
//!
//! A name without a dot is a whole version. Everything else can be deleted at any moment without a loss.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use dataset::VersionId;
use serde::{Serialize, de::DeserializeOwned};
use tracing::{info, warn};

const DOWNLOAD: &str = ".tmp-";
const GONE: &str = ".gone-";

/// Bytes unlinked each second: freeing the blocks of a large file at once can hold up other writes to the disk.
const REMOVAL_RATE: u64 = 512 << 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to {what} {}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("another {who} uses {}: give this one a --data-dir of its own", folder.display())]
    Locked { who: &'static str, folder: PathBuf },
    #[error("dataset name {name:?} cannot be a folder: use letters, digits, '-', '_' and '.', not in front")]
    Name { name: String },
}

pub(crate) fn failed<P: Into<PathBuf>>(what: &'static str, path: P) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what, path: path.into(), source }
}

/// Held as long as the process lives; the system releases it even after `kill -9`.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not read")] File);

impl Lock {
    /// For the process that serves what lies in `data_dir`.
    pub fn of_server(data_dir: &Path) -> Result<Self, Error> {
        Self::take(data_dir, "server.lock", "server")
    }

    /// For the process that downloads to and deletes from `data_dir`.
    pub fn of_manager(data_dir: &Path) -> Result<Self, Error> {
        Self::take(data_dir, "manager.lock", "manager")
    }

    fn take(data_dir: &Path, name: &str, who: &'static str) -> Result<Self, Error> {
        fs::create_dir_all(data_dir).map_err(failed("create", data_dir))?;
        let path = data_dir.join(name);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { who, folder: data_dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }
}

/// The folder of one dataset. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    folder: PathBuf,
}

impl Home {
    /// Creates the folder if it is missing.
    pub(crate) fn open(data_dir: &Path, dataset: &str) -> Result<Self, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if dataset.is_empty() || dataset.starts_with('.') || !dataset.chars().all(plain) {
            return Err(Error::Name { name: dataset.to_owned() });
        }
        let folder = data_dir.join(dataset);
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        sync_folder(data_dir)?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn version(&self, version: VersionId) -> PathBuf {
        self.folder.join(version.to_string())
    }

    pub(crate) fn download(&self, version: VersionId) -> PathBuf {
        self.folder.join(format!("{DOWNLOAD}{version}"))
    }

    /// The whole versions, in no order.
    pub(crate) fn versions(&self) -> Result<Vec<VersionId>, Error> {
        Ok(self.names()?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// What killed processes left: downloads and deletions that did not end.
    pub(crate) fn leftovers(&self) -> Result<Vec<PathBuf>, Error> {
        let mut names = self.names()?;
        names.retain(|name| name.starts_with(DOWNLOAD) || name.starts_with(GONE));
        Ok(names.iter().map(|name| self.folder.join(name)).collect())
    }

    /// Makes a verified download a version. Durable when it returns.
    pub(crate) fn adopt(&self, version: VersionId) -> Result<(), Error> {
        let (from, to) = (self.download(version), self.version(version));
        sync_tree(&from)?;
        fs::rename(&from, &to).map_err(failed("rename to", &to))?;
        sync_folder(&self.folder)
    }

    /// Takes a download away that is of no use, if there is one. The folder returned is for [`remove_slowly`].
    pub(crate) fn set_download_aside(&self, version: VersionId) -> Result<Option<PathBuf>, Error> {
        let from = self.download(version);
        match from.exists() {
            true => self.move_away(&from, version).map(Some),
            false => Ok(None),
        }
    }

    /// Takes a version away; it is one no longer when this returns. The folder returned is for [`remove_slowly`].
    pub(crate) fn set_aside(&self, version: VersionId) -> Result<PathBuf, Error> {
        self.move_away(&self.version(version), version)
    }

    fn move_away(&self, from: &Path, version: VersionId) -> Result<PathBuf, Error> {
        // The last one of this name may still be being deleted.
        let mut names = (0..).map(|number| self.folder.join(format!("{GONE}{version}-{number}")));
        let to = names.find(|name| !name.exists()).expect("numbers do not end");
        fs::rename(from, &to).map_err(failed("rename", from))?;
        sync_folder(&self.folder)?;
        Ok(to)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let failed = || failed("list", &self.folder);
        let entries = fs::read_dir(&self.folder).map_err(failed())?;
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        names.collect::<io::Result<_>>().map_err(failed())
    }
}

/// Bytes that a file in `folder` could still take.
pub(crate) fn free_bytes(folder: &Path) -> Result<u64, Error> {
    let stat =
        rustix::fs::statvfs(folder).map_err(|error| failed("ask for the free space of", folder)(error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Deletes a folder file by file, with pauses. What cannot be deleted is told and left for the next start.
pub(crate) async fn remove_slowly(folder: PathBuf) {
    match remove_files(&folder).await {
        Ok(bytes) => info!(folder = %folder.display(), bytes, "deleted"),
        Err(error) => warn!(folder = %folder.display(), error = %error, "failed to delete; the next start tries again"),
    }
}

async fn remove_files(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries = tokio::fs::read_dir(&folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            let metadata = entry.metadata().await?;
            if metadata.is_dir() {
                folders.push(entry.path());
                continue;
            }
            tokio::fs::remove_file(entry.path()).await?;
            bytes += metadata.len();
            tokio::time::sleep(Duration::from_millis(metadata.len() * 1000 / REMOVAL_RATE)).await;
        }
    }
    tokio::fs::remove_dir_all(folder).await?; // empty folders
    Ok(bytes)
}

/// Replaces a small file with another; after a crash there is the one or the other.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value).expect("these types have only string keys");
    let new = path.with_extension("json.new");
    let mut file = File::create(&new).map_err(failed("create", &new))?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed("write", &new))?;
    fs::rename(&new, path).map_err(failed("replace", path))?;
    sync_folder(path.parent().expect("a file in a folder"))
}

/// What [`write_json`] wrote. A file that is not there or makes no sense is told and taken for none: it only saves work.
pub(crate) fn read_json<T: DeserializeOwned + Default>(path: &Path) -> T {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return T::default(),
        Err(error) => {
            warn!(path = %path.display(), %error, "failed to read what was known before the restart");
            return T::default();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        warn!(path = %path.display(), %error, "what was known before the restart makes no sense; begun anew");
        T::default()
    })
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("flush", folder))
}

/// Files and folders below `folder`, and itself.
fn sync_tree(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let path = entry.map_err(failed("list", folder))?.path();
        match path.is_dir() {
            true => sync_tree(&path)?,
            false => File::open(&path).and_then(|file| file.sync_all()).map_err(failed("flush", &path))?,
        }
    }
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> VersionId {
        "000007-1a2b3c4d".parse().unwrap()
    }

    #[test]
    fn one_manager_and_one_server_use_a_folder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let manager = Lock::of_manager(folder.path()).unwrap();
        let _server = Lock::of_server(folder.path()).unwrap();
        assert!(matches!(Lock::of_manager(folder.path()), Err(Error::Locked { who: "manager", .. })));
        assert!(matches!(Lock::of_server(folder.path()), Err(Error::Locked { who: "server", .. })));
        drop(manager);
        Lock::of_manager(folder.path()).unwrap();
    }

    #[test]
    fn a_dataset_cannot_be_named_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "..", ".hidden", "a/b", "../x", "a b"] {
            assert!(matches!(Home::open(folder.path(), name), Err(Error::Name { .. })), "{name:?}");
        }
        Home::open(folder.path(), "packages_v1.2-a").unwrap();
    }

    #[test]
    fn only_what_was_adopted_is_a_version() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), "facts").unwrap();
        fs::create_dir_all(home.download(version()).join("shard-0000")).unwrap();
        fs::write(home.download(version()).join("shard-0000/1.sst"), "records").unwrap();
        fs::write(home.folder().join("serving.json"), "{}").unwrap();
        assert_eq!(home.versions().unwrap(), []);
        assert_eq!(home.leftovers().unwrap(), [home.download(version())]);

        home.adopt(version()).unwrap();
        assert_eq!(home.versions().unwrap(), [version()]);
        assert_eq!(home.leftovers().unwrap(), Vec::<PathBuf>::new());
    }

    #[tokio::test]
    async fn a_version_is_gone_at_once_and_its_files_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), "facts").unwrap();
        fs::create_dir_all(home.version(version()).join("shard-0000")).unwrap();
        fs::write(home.version(version()).join("shard-0000/1.sst"), "records").unwrap();

        let gone = home.set_aside(version()).unwrap();
        assert_eq!(home.versions().unwrap(), []);
        assert_eq!(home.leftovers().unwrap(), std::slice::from_ref(&gone));
        remove_slowly(gone.clone()).await;
        assert!(!gone.exists());
    }

    #[test]
    fn notes_survive_and_nonsense_is_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serving.json");
        assert!(read_json::<Vec<u32>>(&path).is_empty());
        write_json(&path, &[1, 2]).unwrap();
        assert_eq!(read_json::<Vec<u32>>(&path), [1, 2]);
        fs::write(&path, "[1,").unwrap();
        assert!(read_json::<Vec<u32>>(&path).is_empty());
    }
}
