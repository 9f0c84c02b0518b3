//! One record in a block of RocksDB's table files, as [`crate::Writer`] has it written: whole, nothing shared with the record before.
//!
//! Source: RocksDB's format of data blocks: three varints (bytes shared with the key before, bytes of the key that follow, bytes of the
//! value), key, value; a key ends with eight bytes that hold sequence number and kind.

use std::ops::Range;

/// Three varints of at most five bytes.
pub(super) const MOST_HEAD: usize = 15;
/// Sequence number 0, kind 1 (a value), as files have it that were written to be taken in whole.
pub(super) const KEY_TAIL: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the three numbers.
    pub(super) bytes: usize,
    /// Bytes of the key, its tail included.
    pub(super) key: usize,
    pub(super) value: usize,
}

impl Head {
    pub(super) fn record_bytes(self) -> usize {
        self.bytes + self.key + self.value
    }
}

pub(super) struct Parts {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// `None` if `bytes` do not begin with the head of a whole record.
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    if bytes.first() != Some(&0) {
        return None;
    }
    let (key, after_key) = varint(bytes, 1)?;
    let (value, end) = varint(bytes, after_key)?;
    (key >= KEY_TAIL.len()).then_some(Head { bytes: end, key, value })
}

/// Key and value of a whole record.
pub(super) fn parts(record: &[u8]) -> Option<Parts> {
    let head = head(record)?;
    let key_end = head.bytes + head.key;
    (head.record_bytes() == record.len() && record[key_end - KEY_TAIL.len()..key_end] == KEY_TAIL)
        .then(|| Parts { key: head.bytes..key_end - KEY_TAIL.len(), value: key_end..record.len() })
}

/// The number at `at`, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut number = 0_u64;
    for (place, &byte) in bytes.get(at..)?.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some((usize::try_from(number).ok()?, at + place + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_record_is_taken_apart() {
        let record = [&[0, 8 + 3, 2][..], b"key", &KEY_TAIL, b"vv"].concat();
        let parts = parts(&record).unwrap();
        assert_eq!((&record[parts.key], &record[parts.value]), (&b"key"[..], &b"vv"[..]));
        assert_eq!(varint(&[0xac, 0x02], 0), Some((300, 2)));
    }

    #[test]
    fn what_is_no_whole_record_is_none() {
        let record = [&[0, 8 + 3, 2][..], b"key", &KEY_TAIL, b"vv"].concat();
        assert!(parts(&record[..record.len() - 1]).is_none(), "cut off");
        assert!(parts(&[&[1, 8 + 3, 2][..], &record[3..]].concat()).is_none(), "shares a byte with the key before");
        assert!(parts(&[&[0, 7, 6][..], &record[3..]].concat()).is_none(), "a key without its tail");
        let mut deleted = record.clone();
        deleted[6] = 0;
        assert!(parts(&deleted).is_none(), "a deletion is no value");
        assert!(head(&[0, 0x80, 0x80, 0x80, 0x80, 0x80, 1]).is_none() && head(&[]).is_none());
    }
}
