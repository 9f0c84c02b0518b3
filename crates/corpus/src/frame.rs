//! The envelope of the objects this crate writes.
//!
//! ```text
//! "dragnet" | kind, 1 byte | format, 1 byte | digest of kind, format and payload, 32 bytes | payload as zstd
//! ```
//! The digest is of the payload, not of its compressed form, so that an object keeps its name when a
//! newer zstd compresses better. Unpacking checks the digest before anyone interprets the payload.

use std::io::Read as _;

use bytes::Bytes;
use types::Digest;

use crate::Error;

const MAGIC: &[u8; 7] = b"dragnet";
const HEADER_BYTES: usize = MAGIC.len() + 2 + 32;
/// 3 is zstd's own default: a manifest of 4,000 files shrinks five times in 3 ms.
const LEVEL: i32 = 3;
/// Frames that would need more than 2^23 bytes of window are refused; level 3 uses at most 2^21.
const MAX_WINDOW_LOG: u32 = 23;

#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// For messages, with its article.
    pub(crate) name: &'static str,
    pub(crate) tag: u8,
    pub(crate) format: u8,
}

impl Kind {
    pub(crate) fn digest(self, payload: &[u8]) -> Digest {
        Digest::of_parts([&[self.tag, self.format][..], payload])
    }
}

pub(crate) fn pack(kind: Kind, payload: &[u8]) -> (Digest, Bytes) {
    let digest = kind.digest(payload);
    let compressed = zstd::encode_all(payload, LEVEL).expect("compressing from memory to memory does not fail");
    let mut object = Vec::with_capacity(HEADER_BYTES + compressed.len());
    object.extend_from_slice(MAGIC);
    object.extend_from_slice(&[kind.tag, kind.format]);
    object.extend_from_slice(digest.as_bytes());
    object.extend_from_slice(&compressed);
    (digest, object.into())
}

/// Gives the payload and its digest, verified. Never holds more than `limit` bytes of payload, whatever
/// the object claims.
pub(crate) fn unpack(kind: Kind, limit: usize, object: &[u8]) -> Result<(Digest, Vec<u8>), Error> {
    let wrong_kind = Error::Format { expected: kind.name };
    let Some((header, compressed)) = object.split_at_checked(HEADER_BYTES) else { return Err(wrong_kind) };
    let Some((&[tag, format], digest)) = header.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk()) else {
        return Err(wrong_kind);
    };
    if (tag, format) != (kind.tag, kind.format) {
        return Err(wrong_kind);
    }
    let payload = decompress(compressed, limit)?;
    let found = kind.digest(&payload);
    if found.as_bytes() != digest {
        return Err(Error::Damaged { what: "its content does not have the digest it states" });
    }
    Ok((found, payload))
}

fn decompress(compressed: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let broken = |_| Error::Damaged { what: "its content cannot be decompressed" };
    let mut decoder = zstd::Decoder::with_buffer(compressed).map_err(broken)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(broken)?;
    let mut payload = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut payload).map_err(broken)?;
    if payload.len() > limit {
        return Err(Error::Damaged { what: "its content is larger than any could be" });
    }
    Ok(payload)
}

/// Reads little-endian fields off the front of a payload; `None` at its end.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// A byte string of at most `max` bytes, preceded by its length.
    pub(crate) fn string(&mut self, max: usize) -> Option<&'a [u8]> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        if len > max { None } else { self.take(len) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
