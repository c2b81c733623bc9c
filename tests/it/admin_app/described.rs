//! Watches every test of the admin API: a refusal that the description of the API does not have is an answer
//! that no test expects.

use std::sync::OnceLock;

use axum::body::to_bytes;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use tollhouse::api;

pub(super) async fn described(request: Request, next: Next) -> Response {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    let document = DOCUMENT.get_or_init(api::description);
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().as_str().to_ascii_lowercase();
    let response = next.run(request).await;
    let form = response.headers().get(CONTENT_TYPE);
    let (Some(path), true) = (path, form.is_some_and(|form| form == "application/problem+json")) else {
        return response;
    };
    let operation = &document["paths"][&path][&method];
    if operation.is_null() {
        return response;
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a refusal is short");
    let problem: Value = serde_json::from_slice(&body).expect("JSON");
    let schema =
        &operation["responses"][parts.status.as_str()]["content"]["application/problem+json"]["schema"];
    let codes = schema["allOf"][1]["properties"]["code"]["enum"].as_array();
    if schema.is_null() || codes.is_some_and(|codes| !codes.contains(&problem["code"])) {
        let told = format!("undescribed: {method} {path}: {} {}", parts.status, problem["code"]);
        eprintln!("{told}");
        return (StatusCode::NOT_EXTENDED, told).into_response();
    }
    Response::from_parts(parts, body.into())
}
