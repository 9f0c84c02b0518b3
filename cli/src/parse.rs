//! What people write on the command line as sizes, times and addresses.

use std::{
    num::{NonZeroU64, NonZeroUsize},
    time::Duration,
};

use crate::render::{bytes, count};

/// The engine addresses a file with 31 bits in places; the cluster refuses a higher limit.
const MAX_FILE_BYTES: u64 = 2_000_000_000;
/// Far more than any machine has cores; beyond it a zero too many was typed.
const MAX_SCANNERS: usize = 1024;

/// A size in bytes: `4096`, `64KiB`, `512MiB`, `1.5GiB`; decimal units (`10MB`) are understood as well.
pub fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("K", 1 << 10),
        ("M", 1 << 20),
        ("G", 1 << 30),
        ("T", 1 << 40),
        ("B", 1),
        ("", 1),
    ];
    measure(text, &units)
        .filter(|&size| size > 0)
        .ok_or_else(|| "a size is a number above 0 with a unit, like 512MiB".to_owned())
}

/// A size up to which files are scanned.
pub fn file_limit(text: &str) -> Result<u64, String> {
    let limit = size(text)?;
    if limit > MAX_FILE_BYTES {
        let (most, about) = (count(MAX_FILE_BYTES), bytes(MAX_FILE_BYTES));
        return Err(format!("larger files cannot be scanned: at most 2GB, which is {most} bytes or {about}"));
    }
    Ok(limit)
}

/// A number of things wanted.
pub fn at_least_one(text: &str) -> Result<NonZeroU64, String> {
    let number: u64 = text.parse().map_err(|_| "not a whole number".to_owned())?;
    NonZeroU64::new(number).ok_or_else(|| "must be at least 1".to_owned())
}

/// How many files are scanned at a time.
pub fn scanners(text: &str) -> Result<NonZeroUsize, String> {
    let number = usize::try_from(at_least_one(text)?.get()).ok().and_then(NonZeroUsize::new);
    number
        .filter(|number| number.get() <= MAX_SCANNERS)
        .ok_or_else(|| format!("must be at most {MAX_SCANNERS}; one per core is best"))
}

/// A time: `500ms`, `5s`, `2m`, `1.5h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000)];
    let millis = measure(text, &units).filter(|&millis| millis > 0);
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| "a time is a number above 0 with a unit: 500ms, 5s, 2m, 1h".to_owned())
}

/// `HOST:PORT`.
pub fn address(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is not of the form HOST:PORT, for example 127.0.0.1:7601");
    let (host, port) = text.trim().rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let plain = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
    if plain && port > 0 { Ok(format!("{host}:{port}")) } else { Err(wrong()) }
}

/// Number and unit; at most three digits after the point, so that no float is needed.
fn measure(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 3 {
        return None;
    }
    let thousandths: u64 = format!("{fraction:0<3}").parse().ok()?;
    let whole: u64 = whole.parse().ok()?;
    let below = u128::from(*factor) * u128::from(thousandths) / 1000;
    whole.checked_mul(*factor)?.checked_add(u64::try_from(below).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("4096", 4096), ("512MiB", 512 << 20), ("1.5GiB", 3 << 29), ("10MB", 10_000_000), ("2 k", 2048)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "0", "1.2345G", "5 apples", "99999999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_have_their_limits() {
        assert_eq!(file_limit("2GB"), Ok(2_000_000_000));
        assert!(file_limit("2GiB").unwrap_err().contains("2,000,000,000 bytes or 1.8 GiB"));
        assert_eq!(at_least_one("7").map(NonZeroU64::get), Ok(7));
        assert_eq!(at_least_one("0"), Err("must be at least 1".to_owned()));
        assert_eq!(scanners("1024").map(NonZeroUsize::get), Ok(1024));
        assert!(scanners("0").unwrap_err().contains("at least 1") && scanners("1025").unwrap_err().contains("1024"));
    }

    #[test]
    fn times() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert!(duration("5").is_err(), "a number alone could be anything");
        assert!(duration("0s").is_err());
    }

    #[test]
    fn addresses() {
        assert_eq!(address("127.0.0.1:7601").as_deref(), Ok("127.0.0.1:7601"));
        assert_eq!(address("[::1]:7601").as_deref(), Ok("[::1]:7601"));
        for text in ["", "localhost", "http://a:1", "a:0", "a:70000", ":7601"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
