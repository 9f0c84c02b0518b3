//! What people write on the command line as sizes, times and addresses.

use std::time::Duration;

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
