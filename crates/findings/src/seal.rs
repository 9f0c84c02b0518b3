//! A digest over a whole Parquet file, inside it.
//!
//! ```text
//! PAR1 | pages ... | "DGSEAL01" + SHA-256 of all but the seal | footer | its length, 4 bytes | PAR1
//! ```
//! Readers find pages by offsets in the footer and the footer from the end, so that bytes between the two
//! disturb none of them. Parquet's own checksums, where written at all, leave the footer out, and a
//! damaged footer makes readers allocate and seek at random: the seal is checked before any byte is
//! interpreted. It guards against damage, not against forgery.

use bytes::Bytes;
use types::Digest;

const MARK: &[u8; 8] = b"DGSEAL01";
const SEAL_BYTES: usize = MARK.len() + 32;
const MAGIC: &[u8; 4] = b"PAR1";
/// Length of the footer and the closing magic.
const TAIL_BYTES: usize = 8;

/// Puts the seal into a finished Parquet file.
pub(crate) fn seal(mut file: Vec<u8>) -> Bytes {
    let footer = footer_start(&file).expect("a finished Parquet file ends with its footer");
    let digest = digest(&file[..footer], &file[footer..]);
    file.splice(footer..footer, MARK.iter().chain(digest.as_bytes()).copied());
    file.into()
}

/// Says what is wrong, if the file is not exactly what was sealed.
pub(crate) fn verify(file: &[u8]) -> Result<(), &'static str> {
    let footer = footer_start(file).ok_or("it is not a Parquet file, or its end is missing")?;
    let (before, footer) = file.split_at(footer);
    let (pages, seal) = before.split_last_chunk::<SEAL_BYTES>().ok_or("it has no seal")?;
    let stated = seal.strip_prefix(MARK).ok_or("it has no seal")?;
    if digest(pages, footer).as_bytes() == stated {
        Ok(())
    } else {
        Err("its content does not have the digest it states")
    }
}

fn digest(pages: &[u8], footer: &[u8]) -> Digest {
    Digest::of_parts([pages, footer])
}

fn footer_start(file: &[u8]) -> Option<usize> {
    let (_, tail) = file.split_last_chunk::<TAIL_BYTES>()?;
    let (len, magic) = tail.split_first_chunk::<4>()?;
    if magic != MAGIC || !file.starts_with(MAGIC) {
        return None;
    }
    let footer_bytes = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    file.len().checked_sub(TAIL_BYTES)?.checked_sub(footer_bytes)
}
