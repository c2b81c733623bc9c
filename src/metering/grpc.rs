//! What an answer's `grpc-status` says of its unit.
//!
//! A gRPC answer is 200 whatever became of the call: its own status comes in the head, when there is nothing
//! else, or in the trailers. It counts as the HTTP status that it stands for, so that `restore_on` means the
//! same for both.

use http::{HeaderMap, HeaderName, StatusCode};

/// Where a gRPC answer says how the call ended; `0` is well.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The HTTP status that the failure in `headers`, an answer's head or its trailers, stands for; `None` when
/// they tell of none.
pub fn grpc_failure(headers: &HeaderMap) -> Option<StatusCode> {
    let code: u8 = headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()?;
    Some(match code {
        0 => return None,
        // Cancelled, or over its deadline: that may be the client's doing, which has then used its unit.
        1 | 4 => StatusCode::REQUEST_TIMEOUT,
        3 | 9 | 11 => StatusCode::BAD_REQUEST,
        5 => StatusCode::NOT_FOUND,
        6 | 10 => StatusCode::CONFLICT,
        7 => StatusCode::FORBIDDEN,
        8 => StatusCode::TOO_MANY_REQUESTS,
        12 => StatusCode::NOT_IMPLEMENTED,
        14 => StatusCode::SERVICE_UNAVAILABLE,
        16 => StatusCode::UNAUTHORIZED,
        // Unknown, internal, data loss, and what nobody has heard of.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_call_s_status_stands_for_one_of_http() {
        for (text, status) in [
            ("0", None),
            ("", None),
            ("x", None),
            ("2", Some(500)),
            ("3", Some(400)),
            ("4", Some(408)),
            ("5", Some(404)),
            ("13", Some(500)),
            ("14", Some(503)),
            ("99", Some(500)),
        ] {
            let headers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static(text))]);
            assert_eq!(grpc_failure(&headers).map(|status| status.as_u16()), status, "{text}");
        }
        assert_eq!(grpc_failure(&HeaderMap::new()), None);
    }
}
