use bytes::Bytes;
use types::{Digest, FileOrdinal, MAX_SEGMENT_FILES};

use crate::{
    Error,
    frame::{self, Kind},
};

const KIND: Kind = Kind { name: "a hashes object", tag: b'H', format: 1 };
const HASH_BYTES: usize = 32;
/// One byte, present or not, and the hash, for each file.
const ROW_BYTES: usize = 1 + HASH_BYTES;

/// SHA-256 of each file of a segment, by ordinal. Learned by the first scan, because a listing reads no
/// contents; a file that could not be read has none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hashes(pub Vec<Option<Digest>>);

impl Hashes {
    /// For a segment of so many files, none known yet.
    pub fn unknown(files: usize) -> Self {
        Self(vec![None; files])
    }

    pub fn get(&self, file: FileOrdinal) -> Option<Digest> {
        *self.0.get(file.0 as usize)?
    }

    /// Panics if the segment has no such file.
    pub fn set(&mut self, file: FileOrdinal, hash: Digest) {
        self.0[file.0 as usize] = Some(hash);
    }

    /// Panics for more files than a segment may have.
    pub fn encode(&self) -> Bytes {
        assert!(self.0.len() <= MAX_SEGMENT_FILES, "hashes of {} files", self.0.len());
        let mut payload = Vec::with_capacity(self.0.len() * ROW_BYTES);
        for hash in &self.0 {
            payload.push(u8::from(hash.is_some()));
            payload.extend_from_slice(hash.unwrap_or(Digest::from_bytes([0; HASH_BYTES])).as_bytes());
        }
        frame::pack(KIND, &payload).1
    }

    /// Errors: [`Error::Format`] for an object of another kind or a later format, [`Error::Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (_, payload) = frame::unpack(KIND, MAX_SEGMENT_FILES * ROW_BYTES, bytes)?;
        let (rows, []) = payload.as_chunks::<ROW_BYTES>() else {
            return Err(Error::Damaged { what: "its hashes have the wrong length" });
        };
        let parse = |&[present, ref hash @ ..]: &[u8; ROW_BYTES]| match present {
            0 => Ok(None),
            1 => Ok(Some(Digest::from_bytes(*hash))),
            _ => Err(Error::Damaged { what: "a hash is neither there nor not" }),
        };
        rows.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_survive_and_missing_ones_stay_missing() {
        let mut hashes = Hashes::unknown(3);
        hashes.set(FileOrdinal(1), Digest::of(b"one"));
        let read = Hashes::decode(&hashes.encode()).unwrap();
        assert_eq!(read, hashes);
        assert_eq!(read.get(FileOrdinal(1)), Some(Digest::of(b"one")));
        assert_eq!((read.get(FileOrdinal(0)), read.get(FileOrdinal(3))), (None, None));
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = Hashes(vec![Some(Digest::of(b"a")); 20]).encode();
        for len in 0..bytes.len() {
            assert!(Hashes::decode(&bytes[..len]).is_err(), "cut to {len} bytes");
        }
        for payload in [&[1; ROW_BYTES - 1][..], &[2; ROW_BYTES], &vec![0; (MAX_SEGMENT_FILES + 1) * ROW_BYTES]] {
            assert!(matches!(Hashes::decode(&frame::pack(KIND, payload).1), Err(Error::Damaged { .. })));
        }
    }
}
