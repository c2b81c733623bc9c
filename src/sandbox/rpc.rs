//! The in-box chain speaks bitcoind's JSON-RPC, as far as LDK Node's `set_chain_source_bitcoind_rpc` asks.
//!
//! HTTP basic auth, `POST /`, single calls and batches, bitcoind's shapes and error codes (version 29). Named
//! parameters are not taken. Meant for loopback only: see the chain's own warning about signatures.

mod methods;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, header};
use ring::digest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::chain::Chain;

/// The one user who may call. Keeps a digest only.
#[derive(Clone)]
pub struct Access(digest::Digest);

impl Access {
    /// Lets in who shows this name and password.
    pub fn new(user: &str, password: &str) -> Access {
        Access(digest_of(format!("{user}:{password}").as_bytes()))
    }

    /// Digests are compared, so the time taken tells nothing of the password.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
            .and_then(|encoded| STANDARD.decode(encoded.trim()).ok());
        shown.is_some_and(|shown| digest_of(&shown).as_ref() == self.0.as_ref())
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access(redacted)")
    }
}

fn digest_of(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

/// An error as JSON-RPC tells it; the numbers are bitcoind's.
#[derive(Debug, PartialEq, Eq)]
struct RpcError {
    code: i32,
    message: String,
}

impl RpcError {
    const PARSE: i32 = -32_700;
    const INVALID_REQUEST: i32 = -32_600;
    const METHOD_NOT_FOUND: i32 = -32_601;
    const MISC: i32 = -1;
    const WRONG_TYPE: i32 = -3;
    const NOT_FOUND: i32 = -5;
    const INVALID_PARAMETER: i32 = -8;
    const DESERIALIZATION: i32 = -22;
    const VERIFY: i32 = -25;
    const REJECTED: i32 = -26;
    const ALREADY_CONFIRMED: i32 = -27;

    fn new(code: i32, message: impl Into<String>) -> RpcError {
        RpcError { code, message: message.into() }
    }

    /// The HTTP status of a single call that ended so.
    fn status(&self) -> StatusCode {
        match self.code {
            Self::INVALID_REQUEST => StatusCode::BAD_REQUEST,
            Self::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[derive(Clone)]
struct Face {
    chain: Chain,
    access: Access,
}

/// Serves until `stop`; the task is tracked by `tasks` and ends when every connection has.
pub fn serve(
    listener: TcpListener,
    chain: Chain,
    access: Access,
    stop: CancellationToken,
    tasks: &TaskTracker,
) {
    let router = router(chain, access);
    tasks.spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the in-box chain's RPC listener failed");
        }
    });
}

/// The service itself, for a listener of the caller's.
pub fn router(chain: Chain, access: Access) -> Router {
    Router::new().route("/", post(call)).with_state(Arc::new(Face { chain, access }))
}

async fn call(State(face): State<Arc<Face>>, headers: HeaderMap, body: Bytes) -> Response {
    if !face.access.admits(&headers) {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"jsonrpc\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    }
    let (status, answer) = match serde_json::from_slice(&body) {
        Ok(Value::Array(batch)) => {
            let answers = batch.iter().map(|request| answer(&face.chain, request).1).collect();
            (StatusCode::OK, Value::Array(answers))
        }
        Ok(request) => answer(&face.chain, &request),
        Err(_) => told(&Value::Null, Err(RpcError::new(RpcError::PARSE, "Parse error"))),
    };
    (status, axum::Json(answer)).into_response()
}

fn answer(chain: &Chain, request: &Value) -> (StatusCode, Value) {
    let id = &request["id"];
    let invalid = |message: &str| Err(RpcError::new(RpcError::INVALID_REQUEST, message));
    let outcome = match (request, &request["method"], &request["params"]) {
        (Value::Object(_), Value::String(method), Value::Null) => methods::call(chain, method, &[]),
        (Value::Object(_), Value::String(method), Value::Array(params)) => {
            methods::call(chain, method, params)
        }
        (Value::Object(_), Value::String(_), _) => invalid("Params must be an array"),
        (Value::Object(_), Value::Null, _) => invalid("Missing method"),
        (Value::Object(_), _, _) => invalid("Method must be a string"),
        _ => invalid("Invalid Request object"),
    };
    let (status, answer) = told(id, outcome);
    if request["jsonrpc"] == "2.0" { (StatusCode::OK, second_version(answer)) } else { (status, answer) }
}

fn told(id: &Value, outcome: Result<Value, RpcError>) -> (StatusCode, Value) {
    match outcome {
        Ok(result) => (StatusCode::OK, json!({ "result": result, "error": null, "id": id })),
        Err(error) => {
            let told = json!({ "code": error.code, "message": error.message });
            (error.status(), json!({ "result": null, "error": told, "id": id }))
        }
    }
}

/// JSON-RPC 2.0 names its version, tells either a result or an error, and answers 200 to both.
fn second_version(mut answer: Value) -> Value {
    if let Value::Object(fields) = &mut answer {
        let failed = fields.get("error").is_some_and(|error| !error.is_null());
        fields.remove(if failed { "result" } else { "error" });
        fields.insert("jsonrpc".into(), "2.0".into());
    }
    answer
}
