//! What a controller says of one condition, before it becomes part of a status.

use crd::ConditionType;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) condition: ConditionType,
    /// `None`: nobody can say.
    pub(crate) holds: Option<bool>,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Judgement {
    pub(crate) fn yes(condition: ConditionType, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition, holds: Some(true), reason, message: message.into() }
    }

    pub(crate) fn no(condition: ConditionType, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition, holds: Some(false), reason, message: message.into() }
    }
}
