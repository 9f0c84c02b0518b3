use std::{fmt, sync::Arc, time::Duration};

/// Which version of the dataset answered; none where the server does not say.
pub type Version = Option<Arc<str>>;

/// What became of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Found { value: Vec<u8>, version: Version },
    Missing { version: Version },
    Unavailable(Reason),
}

/// Why a key has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Nobody said where the dataset is served.
    NotConfigured,
    /// The server failed again and again and is left alone for a while.
    LeftAlone { server: Arc<str> },
    /// No answer, or not all of it, within the deadline.
    TimedOut { server: Arc<str>, deadline: Duration },
    /// The connection could not be made, or broke.
    Disconnected { server: Arc<str>, what: String },
    /// The server answered with an error.
    Refused { server: Arc<str>, what: String },
    /// No node of the cluster has the key's slot.
    NotServed { slot: u16 },
    /// The value is larger than a finding may carry.
    TooLarge { bytes: usize },
}

impl Reason {
    /// One word from a closed set, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::LeftAlone { .. } => "left_alone",
            Self::TimedOut { .. } => "timed_out",
            Self::Disconnected { .. } => "disconnected",
            Self::Refused { .. } => "refused",
            Self::NotServed { .. } => "not_served",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured => f.write_str("the worker was not told where the dataset is served"),
            Self::LeftAlone { server } => write!(f, "{server} failed several times and is left alone for a while"),
            Self::TimedOut { server, deadline } => write!(f, "{server} did not answer within {deadline:?}"),
            Self::Disconnected { server, what } => write!(f, "no connection to {server}: {what}"),
            Self::Refused { server, what } => write!(f, "{server} refused: {what}"),
            Self::NotServed { slot } => write!(f, "no server has hash slot {slot}"),
            Self::TooLarge { bytes } => write!(f, "the value has {bytes} bytes, too many to keep"),
        }
    }
}
