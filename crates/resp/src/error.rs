//! Requests that no answer can follow.

/// What makes a stream of requests unreadable. The text is Redis's; the connection is closed after it was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("Protocol error: too big mbulk count string")]
    ArrayHeaderTooLong,
    #[error("Protocol error: invalid multibulk length")]
    ArrayLength,
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedArrayLength,
    #[error("Protocol error: too big bulk count string")]
    BulkHeaderTooLong,
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    NotABulk(u8),
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
}

impl Error {
    /// The error reply, its code first. Unlike the text for people it holds the offending byte as it came.
    pub fn reply(&self) -> Vec<u8> {
        match self {
            Self::NotABulk(byte) => [b"ERR Protocol error: expected '$', got '", &[*byte][..], b"'"].concat(),
            other => format!("ERR {other}").into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_is_no_text_is_told_as_it_came() {
        assert_eq!(Error::NotABulk(0xff).reply(), b"ERR Protocol error: expected '$', got '\xff'");
        assert_eq!(Error::BulkLength.reply(), b"ERR Protocol error: invalid bulk length");
    }
}
