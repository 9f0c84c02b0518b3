//! Bytes of log records and messages: MessagePack with field names, so that a field can be added and
//! old records still open.

use std::io::{self, Read};

use serde::{Serialize, de::DeserializeOwned};

/// Records and messages larger than this are refused as corrupt, in bytes.
const MAX_RECORD_BYTES: u64 = 1 << 30;

pub(crate) fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    rmp_serde::to_vec_named(value).map_err(io::Error::other)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    rmp_serde::from_slice(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A value inside the write-ahead log: its length and its MessagePack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Packed<T>(pub(crate) T);

impl<T: Serialize> codeq::Encode for Packed<T> {
    fn encode<W: io::Write>(&self, mut writer: W) -> Result<usize, io::Error> {
        let bytes = encode(&self.0)?;
        writer.write_all(&(bytes.len() as u64).to_be_bytes())?;
        writer.write_all(&bytes)?;
        Ok(8 + bytes.len())
    }
}

impl<T: DeserializeOwned> codeq::Decode for Packed<T> {
    fn decode<R: io::Read>(mut reader: R) -> Result<Self, io::Error> {
        let mut length = [0; 8];
        reader.read_exact(&mut length)?;
        let length = u64::from_be_bytes(length);
        if length > MAX_RECORD_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a record of {length} bytes")));
        }
        let mut bytes = Vec::new();
        if reader.take(length).read_to_end(&mut bytes)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decode(&bytes).map(Self)
    }
}
