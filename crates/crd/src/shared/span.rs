use std::{fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time as people write it: `30s`, `5m`, `1h30m`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no length of time; write one such as 30s, 5m or 1h30m")]
pub struct SpanError {
    text: String,
}

impl Span {
    /// Errors: a text the schema would have refused; it may come from before the schema was as strict.
    pub fn duration(&self) -> Result<Duration, SpanError> {
        let wrong = || SpanError { text: self.0.clone() };
        let mut total = Duration::ZERO;
        let mut rest = self.0.as_str();
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            let seconds = match rest.as_bytes().get(digits) {
                Some(b's') => 1,
                Some(b'm') => 60,
                Some(b'h') => 3600,
                _other => return Err(wrong()),
            };
            let part = number.checked_mul(seconds).ok_or_else(wrong)?;
            total = total.checked_add(Duration::from_secs(part)).ok_or_else(wrong)?;
            rest = &rest[digits + 1..];
        }
        Ok(total)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let span = Self(text.to_owned());
        span.duration().map(|_| span)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 16,
            "pattern": "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$",
            "minLength": 2
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        let seconds = |text: &str| text.parse::<Span>().unwrap().duration().unwrap().as_secs();
        assert_eq!([seconds("30s"), seconds("5m"), seconds("1h30m"), seconds("24h")], [30, 300, 5400, 86_400]);
    }

    #[test]
    fn what_is_no_span_is_refused_by_name() {
        for text in ["", "5", "m", "5d", "-5m", "5m 3s", "99999999999999999999h"] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
