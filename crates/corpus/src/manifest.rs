use bytes::Bytes;
use types::{Digest, MAX_SEGMENT_FILES, SegmentDescriptor};

use crate::{
    Error, FileEntry,
    frame::{self, Fields, Kind},
};

const KIND: Kind = Kind { name: "a manifest", tag: b'M', format: 1 };
/// Count, then per file two lengths, key, size and etag: about 21 MB if every key is as long as can be.
const MAX_PAYLOAD_BYTES: usize =
    4 + MAX_SEGMENT_FILES * (2 + FileEntry::MAX_KEY_BYTES + 8 + 2 + FileEntry::MAX_ETAG_BYTES);

/// The files of one segment. A file's place in it is its ordinal, for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// 1 to [`MAX_SEGMENT_FILES`] files, in the order of the listing.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// The manifest as an object, and its name: the digest of the content, the same for the same files
    /// whatever version of this program wrote it.
    ///
    /// Panics if there are no or too many files or if a key or etag is too long, which [`crate::Packer`] and
    /// [`crate::Listing`] exclude.
    pub fn encode(&self) -> (Digest, Bytes) {
        frame::pack(KIND, &self.payload())
    }

    /// Reads a manifest and makes sure that it is the one of that digest.
    ///
    /// Errors: [`Error::Format`] for an object of another kind or a later format, [`Error::Damaged`],
    /// [`Error::Digest`] for a sound manifest other than the expected one.
    pub fn decode(expected: &Digest, bytes: &[u8]) -> Result<Self, Error> {
        let (found, payload) = frame::unpack(KIND, MAX_PAYLOAD_BYTES, bytes)?;
        if found != *expected {
            return Err(Error::Digest { expected: *expected, found });
        }
        parse(&payload).ok_or(Error::Damaged { what: "it is not a list of files within the limits of a segment" })
    }

    /// What the orchestrator keeps of the segment.
    pub fn descriptor(&self) -> SegmentDescriptor {
        SegmentDescriptor {
            manifest: KIND.digest(&self.payload()),
            files: u32::try_from(self.files.len()).expect("bounded by MAX_SEGMENT_FILES"),
            bytes: self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size)),
        }
    }

    fn payload(&self) -> Vec<u8> {
        let count = self.files.len();
        assert!((1..=MAX_SEGMENT_FILES).contains(&count), "a segment of {count} files");
        let mut payload = Vec::with_capacity(4 + count * 96);
        payload.extend_from_slice(&u32::try_from(count).expect("bounded above").to_le_bytes());
        for FileEntry { key, size, etag } in &self.files {
            push_string(&mut payload, key, FileEntry::MAX_KEY_BYTES);
            payload.extend_from_slice(&size.to_le_bytes());
            push_string(&mut payload, etag.as_bytes(), FileEntry::MAX_ETAG_BYTES);
        }
        payload
    }
}

fn push_string(payload: &mut Vec<u8>, string: &[u8], max: usize) {
    assert!(string.len() <= max, "a key or etag of {} bytes, the limit is {max}", string.len());
    payload.extend_from_slice(&u16::try_from(string.len()).expect("both limits fit").to_le_bytes());
    payload.extend_from_slice(string);
}

fn parse(payload: &[u8]) -> Option<Manifest> {
    let mut fields = Fields(payload);
    let count = usize::try_from(u32::from_le_bytes(fields.array()?)).ok()?;
    if !(1..=MAX_SEGMENT_FILES).contains(&count) {
        return None;
    }
    let mut files = Vec::with_capacity(count);
    for _ in 0..count {
        let key = fields.string(FileEntry::MAX_KEY_BYTES)?.to_vec();
        let size = u64::from_le_bytes(fields.array()?);
        let etag = str::from_utf8(fields.string(FileEntry::MAX_ETAG_BYTES)?).ok()?.to_owned();
        files.push(FileEntry { key, size, etag });
    }
    fields.is_empty().then_some(Manifest { files })
}

#[cfg(test)]
mod tests;
