//! Answers that are not what was asked for, as JSON: `{"error": ".."}`.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::manage;

#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    pub(super) fn forbidden(error: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, error)
    }

    pub(super) fn unauthorized(error: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error)
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<manage::OrderError> for Refusal {
    fn from(error: manage::OrderError) -> Self {
        let status = match &error {
            manage::OrderError::UnknownDataset { .. } => StatusCode::NOT_FOUND,
            manage::OrderError::NotOpen { .. }
            | manage::OrderError::Fixed { .. }
            | manage::OrderError::Pinned { .. }
            | manage::OrderError::NothingReady
            | manage::OrderError::NothingBefore => StatusCode::CONFLICT,
            manage::OrderError::Manifest { .. }
            | manage::OrderError::Open { .. }
            | manage::OrderError::Warm { .. }
            | manage::OrderError::Panicked { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, manage::chain(&error))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error }))).into_response()
    }
}
