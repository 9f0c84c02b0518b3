//! Times and sizes as people write them on a command line.

use std::time::Duration;

/// `250ms`, `2s`, `5m`, `1h`; more than nothing.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is no time: write it like 250ms, 2s, 5m or 1h");
    let (number, unit) = number_and_unit(text).ok_or_else(refused)?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    millis.filter(|millis| *millis > 0).map(Duration::from_millis).ok_or_else(refused)
}

/// `1000000`, `64MiB`, `1GB`; more than nothing.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let refused = || format!("{text:?} is no number of bytes: write it like 1000000, 64MiB or 1GB");
    let (number, unit) = number_and_unit(text).ok_or_else(refused)?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(refused()),
    };
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(refused)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_written_with_their_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        for text in ["", "2", "s", "0s", "-1s", "1d", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("1GB"), Ok(1_000_000_000));
        for text in ["", "MiB", "0", "1.5G", "-1", "1TiBB", "99999999999999999999"] {
            assert!(parse_bytes(text).is_err(), "{text:?}");
        }
    }
}
