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
    /// How it came to it; a node that was told the same once more recognises that.
    #[serde(default)]
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Of a time before origins were written down.
    #[default]
    Unknown,
    Founded,
    Joined,
    Restored,
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
    #[error("{cluster_id:?} is no name for a cluster: it has 1 to 63 characters of a-z, 0-9 and '-'")]
    ClusterId { cluster_id: String },
}

impl Identity {
    pub fn new(cluster_id: String, node_id: u64, origin: Origin) -> Self {
        Self { format: FORMAT, cluster_id, node_id, origin }
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

/// The wish if there is one, else a random name.
pub(crate) fn cluster_id_or_random(wish: &str) -> Result<String, Error> {
    if wish.is_empty() {
        return random_cluster_id();
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if wish.len() > 63 || !wish.bytes().all(allowed) {
        return Err(Error::ClusterId { cluster_id: wish.to_owned() });
    }
    Ok(wish.to_owned())
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
        let identity = Identity::new(random_cluster_id().unwrap(), 7, Origin::Founded);
        identity.save(dir.path()).unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), Some(identity));

        fs::remove_dir_all(log_dir(dir.path())).unwrap();

        assert!(matches!(Identity::load(dir.path()), Err(Error::LogLost { .. })));
    }

    #[test]
    fn an_identity_of_an_older_version_still_opens() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(log_dir(dir.path())).unwrap();
        let old = r#"{"format": 1, "cluster_id": "00c0ffee00c0ffee", "node_id": 3}"#;
        fs::write(dir.path().join(FILE), old).unwrap();

        let identity = Identity::load(dir.path()).unwrap().unwrap();

        assert_eq!(identity, Identity::new("00c0ffee00c0ffee".to_owned(), 3, Origin::Unknown));
    }

    #[test]
    fn a_wish_for_a_name_is_kept_or_refused() {
        assert_eq!(cluster_id_or_random("blue-7").unwrap(), "blue-7");
        assert_eq!(cluster_id_or_random("").unwrap().len(), 16);
        for bad in ["Blue", "a_b", "a/b", &"a".repeat(64)] {
            assert!(matches!(cluster_id_or_random(bad), Err(Error::ClusterId { .. })), "{bad}");
        }
    }
}
