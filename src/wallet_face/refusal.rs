//! What goes wrong, as gRPC's gateway writes it: `{"code": 9, "message": …, "details": […]}`, and the same
//! under `error` where the answer would be a stream.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::payments::PayError;
use crate::store::{OverBudget, StoreError};

/// gRPC's status codes, those that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Unimplemented,
    Internal,
    Unauthenticated,
}

impl Code {
    const fn number(self) -> u8 {
        match self {
            Code::InvalidArgument => 3,
            Code::DeadlineExceeded => 4,
            Code::NotFound => 5,
            Code::AlreadyExists => 6,
            Code::PermissionDenied => 7,
            Code::ResourceExhausted => 8,
            Code::FailedPrecondition => 9,
            Code::Unimplemented => 12,
            Code::Internal => 13,
            Code::Unauthenticated => 16,
        }
    }

    /// The HTTP status that gRPC's gateway gives it.
    const fn status(self) -> StatusCode {
        match self {
            Code::InvalidArgument | Code::FailedPrecondition => StatusCode::BAD_REQUEST,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists => StatusCode::CONFLICT,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        }
    }
}

/// One refusal or failure, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    code: Code,
    reason: &'static str,
    message: String,
    streamed: bool,
}

impl Refusal {
    /// A refusal; `reason` is the stable word for programs.
    pub(crate) fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { code, reason, message: message.into(), streamed: false }
    }

    /// The ledger failed: the cause goes to the log.
    pub(crate) fn ledger(error: &StoreError) -> Refusal {
        tracing::error!(%error, "the ledger could not answer a wallet");
        Refusal::new(Code::Internal, "internal", "Tollhouse could not finish this; its log says why.")
    }

    /// Nothing was sent.
    pub(crate) fn unpaid(error: &PayError) -> Refusal {
        let code = match error {
            PayError::Store(error) => return Refusal::ledger(error),
            PayError::AnothersPayment | PayError::KeyTaken(_) => Code::AlreadyExists,
            PayError::OverBudget(OverBudget::Closed) => Code::Unauthenticated,
            PayError::OverBudget(OverBudget::Payment { .. }) => Code::PermissionDenied,
            PayError::OverBudget(OverBudget::Day { .. }) => Code::ResourceExhausted,
            PayError::TooExpensive { .. } | PayError::Expired => Code::FailedPrecondition,
            PayError::NotAnInvoice
            | PayError::WrongNetwork { .. }
            | PayError::NoAmount
            | PayError::Amount(_) => Code::InvalidArgument,
        };
        Refusal::new(code, error.code(), format!("Nothing was paid: {error}."))
    }

    /// The same where the answer would have been a stream.
    #[must_use]
    pub(crate) fn streamed(self) -> Refusal {
        Refusal { streamed: true, ..self }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status: Value = json!({
            "code": self.code.number(),
            "message": self.message,
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": self.reason,
                "domain": "tollhouse",
            }],
        });
        let body = if self.streamed { json!({ "error": status }) } else { status };
        let json = HeaderValue::from_static("application/json");
        (self.code.status(), [(header::CONTENT_TYPE, json)], body.to_string()).into_response()
    }
}
