//! Which of the 16,384 hash slots a key belongs to.
//!
//! Source: the Redis Cluster specification; CRC16-CCITT (XMODEM) modulo 16,384.

/// How many hash slots a cluster has, by specification.
pub const HASH_SLOTS: u16 = 16_384;

/// The slot of `key`. Of a key with a hash tag, a non-empty part between the first `{` and the next `}`, only that part counts,
/// so that a client can keep keys together.
pub fn hash_slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % HASH_SLOTS
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let after = &key[key.iter().position(|byte| *byte == b'{')? + 1..];
    let length = after.iter().position(|byte| *byte == b'}')?;
    (length > 0).then(|| &after[..length])
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ CRC16[usize::from(crc.to_be_bytes()[0] ^ byte)])
}

static CRC16: [u16; 256] = crc16_table();

const fn crc16_table() -> [u16; 256] {
    let mut table = [0u16; 256];
    let mut value: u16 = 0;
    while value < 256 {
        let mut crc = value << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[value as usize] = crc;
        value += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_hold() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(hash_slot(b"foo"), 12182);
        assert_eq!(hash_slot(b""), 0);
    }

    #[test]
    fn keys_with_one_tag_share_a_slot() {
        assert_eq!(hash_slot(b"{user1000}.following"), hash_slot(b"{user1000}.followers"));
        assert_eq!(hash_slot(b"foo{bar}{zap}"), hash_slot(b"bar"));
        assert_eq!(hash_slot(b"foo{{bar}}zap"), hash_slot(b"{bar"));
    }

    #[test]
    fn an_empty_tag_is_no_tag() {
        assert_eq!(hash_slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % HASH_SLOTS);
        assert_eq!(hash_slot(b"foo{bar"), crc16(b"foo{bar") % HASH_SLOTS);
        assert_eq!(hash_slot(b"foo}bar{"), crc16(b"foo}bar{") % HASH_SLOTS);
    }
}
