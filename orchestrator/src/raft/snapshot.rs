//! Snapshots on disk: one file each, newest wins, written whole or not at all.
//!
//! ```text
//! magic "DRAGSNP1" | meta length u32 | meta (MessagePack) | state (zstd of MessagePack) | CRC-32 of all before
//! ```

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use scheduling::State;

use super::{Snapshot, SnapshotMeta, codec};

const MAGIC: &[u8; 8] = b"DRAGSNP1";
const EXTENSION: &str = "snapshot";
/// Fast and about five times smaller; more effort gains little on bitmaps and digests.
const ZSTD_LEVEL: i32 = 3;
/// A state larger than this is refused as corrupt, in bytes.
const MAX_STATE_BYTES: usize = 16 << 30;

/// The folder of this node's snapshots.
#[derive(Clone, Debug)]
pub struct SnapshotFolder {
    dir: PathBuf,
}

impl SnapshotFolder {
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Makes the snapshot durable, then removes older ones.
    pub(crate) fn save(&self, meta: &SnapshotMeta, body: &[u8]) -> io::Result<()> {
        let name = file_name(meta);
        let temporary = self.dir.join(format!("{name}.tmp"));
        let mut file = File::create(&temporary)?;
        file.write_all(&frame(meta, body)?)?;
        file.sync_all()?;
        fs::rename(&temporary, self.dir.join(&name))?;
        File::open(&self.dir)?.sync_all()?; // else the name may be lost with the power
        for path in self.paths()? {
            if path.file_name().is_some_and(|other| *other.to_string_lossy() < name[..]) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The newest snapshot that is whole; damaged ones are passed over and said so.
    pub(crate) fn newest(&self) -> io::Result<Option<Snapshot>> {
        for path in self.paths()? {
            match read(&path) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(error) => tracing::error!(path = %path.display(), %error, "damaged snapshot passed over"),
            }
        }
        Ok(None)
    }

    /// Newest first.
    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                paths.push(path);
            }
        }
        paths.sort_by(|a, b| b.cmp(a));
        Ok(paths)
    }
}

/// Sorts by log index, then by term.
fn file_name(meta: &SnapshotMeta) -> String {
    let (index, term) = meta.last_log_id.map_or((0, 0), |id| (id.index, id.leader_id.term));
    format!("{index:020}-{term:020}.{EXTENSION}")
}

fn frame(meta: &SnapshotMeta, body: &[u8]) -> io::Result<Vec<u8>> {
    let meta = codec::encode(meta)?;
    let meta_length = u32::try_from(meta.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(MAGIC.len() + 8 + meta.len() + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&meta_length.to_be_bytes());
    bytes.extend_from_slice(&meta);
    bytes.extend_from_slice(body);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    Ok(bytes)
}

fn read(path: &Path) -> io::Result<Snapshot> {
    let bytes = Bytes::from(fs::read(path)?);
    let corrupt = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let body_end = bytes.len().checked_sub(4).ok_or_else(|| corrupt("too short"))?;
    let checksum = u32::from_be_bytes(bytes[body_end..].try_into().map_err(io::Error::other)?);
    if crc32fast::hash(&bytes[..body_end]) != checksum {
        return Err(corrupt("checksum differs"));
    }
    if bytes.get(..8) != Some(MAGIC) {
        return Err(corrupt("unknown format"));
    }
    let length = bytes.get(8..12).ok_or_else(|| corrupt("too short"))?;
    let meta_end = 12 + u32::from_be_bytes(length.try_into().map_err(io::Error::other)?) as usize;
    let meta = bytes.get(12..meta_end).ok_or_else(|| corrupt("too short"))?;
    Ok(Snapshot { meta: codec::decode(meta)?, snapshot: bytes.slice(meta_end..body_end) })
}

/// A state as bytes, for disk and for other members.
pub(crate) fn pack(state: &State) -> io::Result<Bytes> {
    Ok(zstd::bulk::compress(&codec::encode(state)?, ZSTD_LEVEL)?.into())
}

pub(crate) fn unpack(body: &[u8]) -> io::Result<State> {
    let mut decoder = zstd::stream::Decoder::new(body)?;
    let mut bytes = Vec::new();
    let read = io::Read::read_to_end(&mut io::Read::take(&mut decoder, MAX_STATE_BYTES as u64), &mut bytes)?;
    if read == MAX_STATE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the state is too large to be true"));
    }
    codec::decode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_snapshot_is_passed_over_for_an_older_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = SnapshotFolder::open(dir.path().to_owned()).unwrap();
        let meta = SnapshotMeta::default();
        folder.save(&meta, &pack(&State::default()).unwrap()).unwrap();
        fs::write(dir.path().join("00000000000000000009-00000000000000000001.snapshot"), b"DRAGSNP1 torn").unwrap();

        let newest = folder.newest().unwrap().expect("the whole one");

        assert_eq!(newest.meta, meta);
        assert_eq!(unpack(&newest.snapshot).unwrap(), State::default());
    }

    #[test]
    fn one_flipped_bit_is_noticed() {
        let mut bytes = frame(&SnapshotMeta::default(), b"body").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.snapshot");
        fs::write(&path, &bytes).unwrap();
        assert!(read(&path).is_ok());
        bytes[14] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(read(&path).is_err());
    }
}
