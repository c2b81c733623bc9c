//! `/api/v1/integration/…`: for an application that serves its own requests and asks in between.
//!
//! It makes a challenge for what it describes, verifies the credential that its customer shows into a
//! hold, and settles or releases that. The key needs the scope `integrate`, which reaches nothing else;
//! a hold belongs to the key that took it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bad_body;
use crate::checkout::{BodySeen, Described, NamedPrice, Offered};
use crate::custody::{EndRefused, HoldId, Kept, Owner, State as Standing};
use crate::metering::Hold;
use crate::payment_auth::receipt;
use crate::types::{Kind, Name, Timestamp};
use crate::web::{Caller, MayIntegrate, Operator, Problem};
use refusal::{no_room, not_described, not_ended, not_held, not_sold};

mod refusal;

/// What `POST …/challenges` and `POST …/verify` take.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    service: Name,
    /// By default `GET`.
    method: Option<String>,
    /// With the query, if there is one.
    path: String,
    /// By default the service's own.
    host: Option<String>,
    /// The customer's request headers, where the price reads them.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The customer's JSON body, where the price reads it.
    body: Option<Value>,
    /// The size of the customer's body, where the price reads it.
    body_bytes: Option<u64>,
    /// What the request costs, such as `50 sat`; by default what the route's terms say.
    amount: Option<String>,
    /// What it costs at most, when how much is told only by settling.
    ceiling: Option<String>,
    /// Of a challenge: which of the route's offers.
    offer: Option<Name>,
    /// Of a verification: the customer's `Authorization`.
    authorization: Option<String>,
    /// Of a verification: how long the hold may be open.
    hold_seconds: Option<u64>,
}

/// What `POST …/holds/{id}/settle` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settle {
    /// What it cost, at most what is held; by default all that is due.
    actual_msat: Option<u64>,
}

/// `POST /api/v1/integration/challenges`.
pub(super) async fn challenge(
    may: MayIntegrate,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Asked>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    owner(may)?;
    let Json(asked) = body.map_err(bad_body)?;
    if asked.authorization.is_some() || asked.hold_seconds.is_some() {
        return Err(Problem::bad_request("bad_body", "A challenge takes no credential: verify does."));
    }
    let described = described(&op, &asked)?;
    let offer = asked.offer.as_ref().map(Name::as_str);
    let offered = op.parts.checkout.challenge(&described, offer).await.map_err(not_sold)?;
    if let Some(wanted) = &asked.offer
        && offered.applied() != Some(wanted)
    {
        let detail = format!("`{wanted}` is not on offer for this request.");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_such_offer", detail));
    }
    Ok(Json(shown_offer(&offered)))
}

/// `POST /api/v1/integration/verify`.
pub(super) async fn verify(
    may: MayIntegrate,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Asked>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let owner = owner(may)?;
    let Json(asked) = body.map_err(bad_body)?;
    if asked.offer.is_some() {
        return Err(Problem::bad_request("bad_body", "A verification takes no offer: a challenge does."));
    }
    let credential = credential(asked.authorization.as_deref())?;
    let limits = op.parts.custody.limits();
    let lasts = match asked.hold_seconds.map(Duration::from_secs) {
        None => limits.usual,
        Some(asked) if (Duration::from_secs(1)..=limits.longest).contains(&asked) => asked,
        Some(_) => {
            let detail = format!("hold_seconds must be 1 to {}.", limits.longest.as_secs());
            return Err(Problem::bad_request("bad_hold_seconds", detail));
        }
    };
    let described = described(&op, &asked)?;
    let room = op.parts.custody.room(owner).map_err(no_room)?;
    let hold = op.parts.checkout.hold(&described, &credential).await.map_err(not_held)?;
    let about = about(&hold, op.parts.checkout.now());
    Ok(Json(shown(&room.keep(hold, lasts), about)))
}

/// `GET /api/v1/integration/holds/{id}`.
pub(super) async fn look(
    may: MayIntegrate,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let owner = owner(may)?;
    let kept = op.parts.custody.look(owner, hold_id(&id)?).ok_or(EndRefused::Unknown);
    kept.map(|kept| Json(shown(&kept, json!({})))).map_err(not_ended)
}

/// `POST /api/v1/integration/holds/{id}/settle`. When it answers, the charge is on disk.
pub(super) async fn settle(
    may: MayIntegrate,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let owner = owner(may)?;
    let Settle { actual_msat } = if body.is_empty() {
        Settle::default()
    } else {
        let unread = |error: serde_json::Error| Problem::bad_request("bad_body", format!("{error}."));
        serde_json::from_slice(&body).map_err(unread)?
    };
    let kept = op.parts.custody.settle(owner, hold_id(&id)?, actual_msat).map_err(not_ended)?;
    op.parts.ledger.barrier().await;
    Ok(Json(shown(&kept, json!({}))))
}

/// `POST /api/v1/integration/holds/{id}/release`. When it answers, the return is on disk.
pub(super) async fn release(
    may: MayIntegrate,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let owner = owner(may)?;
    let kept = op.parts.custody.release(owner, hold_id(&id)?).map_err(not_ended)?;
    op.parts.ledger.barrier().await;
    Ok(Json(shown(&kept, json!({}))))
}

/// A hold belongs to a key, which a browser's session is not.
fn owner(MayIntegrate(caller): MayIntegrate) -> Result<Owner, Problem> {
    match caller {
        Caller::Key(hash) => Ok(Owner::of_key(hash)),
        Caller::Session(_) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "key_required",
            "Applications ask with an API key that has the scope `integrate`.",
        )),
    }
}

fn described(op: &Operator, asked: &Asked) -> Result<Described, Problem> {
    let method = asked.method.as_deref().unwrap_or("GET");
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Problem::bad_request("method_not_allowed", "The method is no HTTP method."))?;
    let bad_path =
        || Problem::bad_request("bad_path", "The path does not start with `/`, or cannot be read.");
    let clean = asked.path.starts_with('/') && !asked.path.contains('#');
    let uri: Uri = asked.path.parse().ok().filter(|_| clean).ok_or_else(bad_path)?;
    let (mut parts, ()) = http::Request::new(()).into_parts();
    (parts.method, parts.uri) = (method, uri);
    let bad_header = |name: &str| Problem::bad_request("bad_header", format!("{name} is no HTTP header."));
    for (name, value) in &asked.headers {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad_header(name))?;
        parts.headers.append(key, HeaderValue::from_str(value).map_err(|_| bad_header(name))?);
    }
    if let Some(host) = &asked.host {
        parts.headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|_| bad_header("host"))?);
    }
    let (request, matched) = op.parts.checkout.describe(&asked.service, parts).map_err(not_described)?;
    let price = match (&asked.amount, &asked.ceiling) {
        (None, None) => None,
        (Some(amount), None) => Some(NamedPrice::Exact(parsed(amount)?)),
        (None, Some(ceiling)) => Some(NamedPrice::UpTo(parsed(ceiling)?)),
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request("bad_amount", "Say either an amount or a ceiling."));
        }
    };
    let body = BodySeen { size_bytes: asked.body_bytes, json: asked.body.clone() };
    Ok(Described { request, matched, body, price })
}

fn parsed(amount: &str) -> Result<crate::pricing::Amount, Problem> {
    amount.parse().map_err(|error| Problem::bad_request("bad_amount", format!("{error}.")))
}

/// The customer's credential as a request would carry it.
fn credential(authorization: Option<&str>) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::new();
    if let Some(text) = authorization {
        let mut value = HeaderValue::from_str(text).map_err(|_| {
            Problem::bad_request(
                "credential_malformed",
                "The credential has characters that no credential has.",
            )
        })?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(headers)
}

fn hold_id(text: &str) -> Result<HoldId, Problem> {
    text.parse().map_err(|_| not_ended(EndRefused::Unknown))
}

/// All that the application needs for a 402 of its own.
fn shown_offer(offered: &Offered) -> Value {
    let challenge = offered.challenge();
    let lines = offered.challenges();
    let lines: Vec<&str> = lines.iter().filter_map(|line| line.to_str().ok()).collect();
    json!({
        "status": 402,
        "challenges": lines,
        "headers": {
            // One line, for whoever knows no more; all of them are in `challenges`, to be sent one by one.
            "WWW-Authenticate": lines.first(),
            "Content-Type": "application/problem+json",
            "Cache-Control": "no-store",
        },
        "body": offered.body(),
        "invoice": challenge.bolt11,
        "payment_hash": challenge.payment_hash,
        "amount_msat": challenge.amount,
        "kind": challenge.kind,
        "units": challenge.units,
        "expires_at": challenge.expires_at,
        "valid_until": challenge.valid_until,
    })
}

/// Whose hold it is.
fn about(hold: &Hold, now: Timestamp) -> Value {
    let sale = hold.sale();
    let receipt = hold.challenge_id().and_then(|id| receipt(id, sale.payment_hash, now));
    json!({
        "payment_hash": sale.payment_hash,
        "service": sale.service,
        "sold_route": sale.route,
        "costs_at_most_msat": hold.most(),
        // To be sent with a successful answer, in the header of that name.
        "payment_receipt": receipt.as_ref().and_then(|receipt| receipt.to_str().ok()),
    })
}

fn shown(kept: &Kept, mut about: Value) -> Value {
    let unit = match kept.kind {
        Kind::Request | Kind::Pack | Kind::Pass => "request",
        Kind::Balance | Kind::Granted => "msat",
    };
    about["hold_id"] = kept.id.to_string().into();
    about["state"] = kept.state.code().into();
    about["kind"] = json!(kept.kind);
    about["unit"] = unit.into();
    about["units"] = kept.units.into();
    about["left"] = kept.left.into();
    about["expires_at"] = json!(kept.expires_at);
    if let Standing::Settled(charged) = kept.state {
        about["charged"] = charged.into();
    }
    about
}
