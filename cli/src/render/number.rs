//! Numbers, sizes and times as people read them.

use std::time::Duration;

/// `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `12,345 files`.
pub fn plural(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number))
}

/// `512 B`, `1.5 KiB`, `310 MiB`: three digits at most, rounded down.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut scale = 0;
    while scale + 1 < UNITS.len() && bytes >> (10 * (scale + 2)) != 0 {
        scale += 1;
    }
    let tenths = (u128::from(bytes) * 10) >> (10 * (scale + 1));
    let unit = UNITS[scale];
    if tenths < 1000 { format!("{}.{} {unit}", tenths / 10, tenths % 10) } else { format!("{} {unit}", tenths / 10) }
}

/// `310 MiB/s`, and nothing where no time has passed.
pub fn rate(amount: u64, time: Duration) -> String {
    match u64::try_from(u128::from(amount) * 1000 / time.as_millis().max(1)) {
        Ok(per_second) if !time.is_zero() => format!("{}/s", bytes(per_second)),
        _ => String::new(),
    }
}

/// `37%`, rounded down so that 100% means all.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{}%", u128::from(part) * 100 / u128::from(whole)) }
}

/// `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`.
pub fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{seconds}.{} s", time.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// `2026-11-22 13:44:23Z` from milliseconds since the Unix epoch.
///
/// Source: days to civil date, Howard Hinnant, "chrono-compatible low-level date algorithms".
pub fn utc(millis: u64) -> String {
    let seconds = millis / 1000;
    let (days, second) = (seconds / 86400 + 719_468, seconds % 86400);
    let era_day = days % 146_097;
    let era_year = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let shifted_month = (5 * year_day + 2) / 153;
    let day = year_day - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = days / 146_097 * 400 + era_year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!((plural(1, "file"), plural(0, "file")), ("1 file".to_owned(), "0 files".to_owned()));
    }

    #[test]
    fn sizes_keep_three_digits_and_never_round_up() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((100 << 20) - 1, "99.9 MiB"),
            (310 << 20, "310 MiB"),
            ((1 << 30) - 1, "1023 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn rates_and_shares_survive_nothing() {
        assert_eq!(rate(10 << 20, Duration::from_secs(2)), "5.0 MiB/s");
        assert_eq!(rate(10, Duration::ZERO), "");
        assert_eq!((percent(999, 1000), percent(0, 0)), ("99%".to_owned(), "-".to_owned()));
    }

    #[test]
    fn times() {
        for (millis, text) in [(430, "0.4 s"), (12_000, "12 s"), (185_000, "3 min 05 s"), (7_800_000, "2 h 10 min")] {
            assert_eq!(elapsed(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn dates_across_leap_days() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_709_251_199, "2024-02-29 23:59:59Z"),
            (1_795_355_063, "2026-11-22 13:44:23Z"),
        ] {
            assert_eq!(utc(seconds * 1000), text);
        }
    }
}
