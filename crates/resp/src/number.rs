//! Decimal integers as Redis reads and writes them.

/// Reads a signed decimal as strictly as Redis does: no sign but `-`, no leading zero, no blanks, nothing beyond 64 bits.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut value: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// Appends `value` in decimal. `write!` does the same at several times the cost, and a length precedes every reply.
pub(crate) fn push_integer(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10).to_le_bytes()[0];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_that_only_look_like_numbers_are_refused() {
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "1a", "a", "9223372036854775808", "-9223372036854775809"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_number_survives_writing_and_reading(value: i64) {
            let mut text = Vec::new();
            push_integer(&mut text, value);
            prop_assert_eq!(String::from_utf8_lossy(&text), value.to_string());
            prop_assert_eq!(parse_integer(&text), Some(value));
        }
    }

    #[test]
    fn the_ends_of_the_range_are_numbers() {
        for value in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        }
    }
}
