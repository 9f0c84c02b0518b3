//! A backup as bytes.
//!
//! ```text
//! magic "DRAGBAK1" | header length u32 | header (JSON) | state (zstd of MessagePack) | SHA-256 of all before
//! ```

use std::io;

use bytes::Bytes;
use scheduling::State;
use serde::{Deserialize, Serialize};
use types::Digest;

use crate::raft::snapshot;

const MAGIC: &[u8; 8] = b"DRAGBAK1";
const FORMAT: u32 = 1;
const DIGEST_BYTES: usize = 32;

/// What a person who finds the object wants to know, and what a restored cluster begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u32,
    pub(super) cluster_id: String,
    /// The member that wrote it.
    pub(super) node_id: u64,
    /// The last log entry in the state.
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) taken_at: String,
    pub(super) program_version: String,
    pub(super) storage_url: String,
}

impl Header {
    pub(super) fn format() -> u32 {
        FORMAT
    }
}

pub(super) fn pack(header: &Header, state: &State) -> io::Result<Bytes> {
    let header = serde_json::to_vec(header).map_err(io::Error::other)?;
    let header_length = u32::try_from(header.len()).map_err(io::Error::other)?;
    let body = snapshot::pack(state)?;
    let mut bytes = Vec::with_capacity(MAGIC.len() + 4 + header.len() + body.len() + DIGEST_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&header_length.to_be_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&body);
    let digest = Digest::of(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    Ok(bytes.into())
}

/// Errors: text for people, saying what is wrong with the bytes.
pub(super) fn unpack(bytes: &[u8]) -> Result<(Header, State), String> {
    if bytes.get(..MAGIC.len()) != Some(MAGIC) {
        return Err("it does not begin as one".to_owned());
    }
    let (content, digest) = bytes.split_last_chunk::<DIGEST_BYTES>().ok_or("it is too short")?;
    if Digest::of(content).as_bytes() != digest {
        return Err("its checksum differs: it was cut off or changed".to_owned());
    }
    let (length, rest) = content[MAGIC.len()..].split_first_chunk::<4>().ok_or("it is too short")?;
    let (header, body) = rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or("it is too short")?;
    let header: Header = serde_json::from_slice(header).map_err(|error| format!("its header: {error}"))?;
    if header.format != FORMAT {
        return Err(format!("it has format {}, this program reads format {FORMAT}", header.format));
    }
    let state = snapshot::unpack(body).map_err(|error| format!("its state: {error}"))?;
    Ok((header, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            format: FORMAT,
            cluster_id: "blue".to_owned(),
            node_id: 1,
            index: 7,
            term: 3,
            taken_at: "2026-11-22T20:15:00Z".to_owned(),
            program_version: "0.1.0".to_owned(),
            storage_url: "file:///objects".to_owned(),
        }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let bytes = pack(&header(), &State::default()).unwrap();
        assert_eq!(unpack(&bytes).unwrap(), (header(), State::default()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = pack(&header(), &State::default()).unwrap().to_vec();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(unpack(&damaged).is_err(), "bit {place}");
            assert!(unpack(&bytes[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let bytes = pack(&Header { format: 2, ..header() }, &State::default()).unwrap();
        assert!(unpack(&bytes).unwrap_err().contains("format 2"));
    }
}
