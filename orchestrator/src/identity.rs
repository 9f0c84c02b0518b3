//! Who this node is: its id and its cluster, on its volume beside its log.
//!
//! An id is never used again with an empty log, because two majorities could form. So it lives where the
//! log lives: who loses the one loses the other, and comes back as a new member.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

const FILE: &str = "identity.json";
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    format: u32,
    pub cluster_id: String,
    pub node_id: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is damaged; restore it, or empty the directory to come back as a new member")]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("{path} has format {format}, this program reads format {FORMAT}")]
    Format { path: PathBuf, format: u32 },
    #[error("failed to write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{dir} has an identity but no log: empty the directory, and the node comes back as a new member")]
    LogLost { dir: PathBuf },
    #[error("failed to draw a random cluster id")]
    Random { source: io::Error },
}

impl Identity {
    pub fn new(cluster_id: String, node_id: u64) -> Self {
        Self { format: FORMAT, cluster_id, node_id }
    }

    /// The identity in `dir`; none when the directory is new.
    pub fn load(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Read { path, source }),
        };
        let identity: Self =
            serde_json::from_slice(&bytes).map_err(|source| Error::Damaged { path: path.clone(), source })?;
        if identity.format != FORMAT {
            return Err(Error::Format { path, format: identity.format });
        }
        if !log_dir(dir).is_dir() {
            return Err(Error::LogLost { dir: dir.to_owned() });
        }
        Ok(Some(identity))
    }

    /// Makes the identity durable, together with the empty log's folder.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(FILE);
        let write = || {
            fs::create_dir_all(log_dir(dir))?;
            let temporary = dir.join(format!("{FILE}.tmp"));
            let mut file = File::create(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(self).map_err(io::Error::other)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(|source| Error::Write { path: path.clone(), source })
    }
}

/// A name for a new cluster: 16 random hex digits.
pub fn random_cluster_id() -> Result<String, Error> {
    let mut bytes = [0; 8];
    let read = File::open("/dev/urandom").and_then(|mut random| io::Read::read_exact(&mut random, &mut bytes));
    read.map_err(|source| Error::Random { source })?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("raft-log")
}

pub(crate) fn snapshot_dir(dir: &Path) -> PathBuf {
    dir.join("snapshots")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_without_its_log_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), None);
        let identity = Identity::new(random_cluster_id().unwrap(), 7);
        identity.save(dir.path()).unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), Some(identity));

        fs::remove_dir_all(log_dir(dir.path())).unwrap();

        assert!(matches!(Identity::load(dir.path()), Err(Error::LogLost { .. })));
    }
}
