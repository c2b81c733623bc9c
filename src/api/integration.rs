//! `/api/v1/integration/…`: for an application that serves its own requests and asks in between.
//!
//! It makes a challenge for what it describes, verifies the credential that its customer shows into a
//! hold, and settles or releases that. The key needs the scope `integrate`, which reaches nothing else;
//! a hold belongs to the key that took it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::Path;
use super::bad_body;
use crate::checkout::{BodySeen, Described, NamedPrice, Offered};
use crate::custody::{EndRefused, HoldId, Kept, Owner, State as Standing};
use crate::metering::Hold;
use crate::payment_auth::receipt;
use crate::types::{Kind, Msat, Name, PaymentHash, Timestamp};
use crate::web::{Caller, MayIntegrate, Operator, Problem};
use refusal::{no_room, not_described, not_ended, not_held, not_sold};

mod refusal;

/// What `POST …/challenges` and `POST …/verify` take.
#[derive(Deserialize, JsonSchema)]
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
#[derive(Debug, Default, Deserialize, JsonSchema)]
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
) -> Result<Json<Challenged>, Problem> {
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
    let (service, route) = offered.place();
    op.parts.checkout.tally().demanded(service, route);
    Ok(Json(Challenged::of(&offered)))
}

/// `POST /api/v1/integration/verify`.
pub(super) async fn verify(
    may: MayIntegrate,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Asked>, JsonRejection>,
) -> Result<Json<HoldShown>, Problem> {
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
    Ok(Json(HoldShown { about: Some(about), ..HoldShown::from(&room.keep(hold, lasts)) }))
}

/// `GET /api/v1/integration/holds/{id}`.
pub(super) async fn look(
    may: MayIntegrate,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<Json<HoldShown>, Problem> {
    let owner = owner(may)?;
    let kept = op.parts.custody.look(owner, hold_id(&id)?).ok_or(EndRefused::Unknown);
    kept.map(|kept| Json(HoldShown::from(&kept))).map_err(not_ended)
}

/// `POST /api/v1/integration/holds/{id}/settle`. When it answers, the charge is on disk.
pub(super) async fn settle(
    may: MayIntegrate,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
    body: Result<Option<Json<Settle>>, JsonRejection>,
) -> Result<Json<HoldShown>, Problem> {
    let owner = owner(may)?;
    let Settle { actual_msat } = body.map_err(bad_body)?.map(|Json(said)| said).unwrap_or_default();
    let kept = op.parts.custody.settle(owner, hold_id(&id)?, actual_msat).map_err(not_ended)?;
    op.parts.ledger.barrier().await;
    Ok(Json(HoldShown::from(&kept)))
}

/// `POST /api/v1/integration/holds/{id}/release`. When it answers, the return is on disk.
pub(super) async fn release(
    may: MayIntegrate,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<Json<HoldShown>, Problem> {
    let owner = owner(may)?;
    let kept = op.parts.custody.release(owner, hold_id(&id)?).map_err(not_ended)?;
    op.parts.ledger.barrier().await;
    Ok(Json(HoldShown::from(&kept)))
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
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Challenge")]
pub(super) struct Challenged {
    /// Always 402.
    status: u16,
    /// The values of `WWW-Authenticate`, to be sent one by one.
    challenges: Vec<String>,
    /// For whoever can send one line of each.
    headers: BTreeMap<&'static str, String>,
    /// The 402's body.
    body: Value,
    invoice: String,
    payment_hash: PaymentHash,
    amount_msat: Msat,
    kind: Kind,
    units: u64,
    expires_at: Timestamp,
    valid_until: Timestamp,
}

impl Challenged {
    fn of(offered: &Offered) -> Challenged {
        let challenge = offered.challenge();
        let lines = offered.challenges();
        let lines: Vec<String> =
            lines.iter().filter_map(|line| line.to_str().ok()).map(str::to_owned).collect();
        let mut headers = BTreeMap::from([
            ("Content-Type", "application/problem+json".to_owned()),
            ("Cache-Control", "no-store".to_owned()),
        ]);
        headers.extend(lines.first().map(|line| ("WWW-Authenticate", line.clone())));
        Challenged {
            status: 402,
            challenges: lines,
            headers,
            body: offered.body(),
            invoice: challenge.bolt11.to_owned(),
            payment_hash: challenge.payment_hash,
            amount_msat: challenge.amount,
            kind: challenge.kind,
            units: challenge.units,
            expires_at: challenge.expires_at,
            valid_until: challenge.valid_until,
        }
    }
}

/// A hold on units of a customer's token.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Hold")]
pub(super) struct HoldShown {
    hold_id: String,
    /// `open`, `settled`, `released` or `expired`.
    state: &'static str,
    kind: Kind,
    /// What the units are.
    unit: &'static str,
    /// How many are held.
    units: u64,
    /// How many the token has besides.
    left: u64,
    expires_at: Timestamp,
    /// Of a settled one.
    #[serde(skip_serializing_if = "Option::is_none")]
    charged: Option<u64>,
    /// When it was taken: whose it is.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    about: Option<About>,
}

/// Whose hold it is.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct About {
    payment_hash: PaymentHash,
    service: Name,
    sold_route: Name,
    costs_at_most_msat: u64,
    /// To be sent with a successful answer, in the header of that name.
    payment_receipt: Option<String>,
}

fn about(hold: &Hold, now: Timestamp) -> About {
    let sale = hold.sale();
    let receipt = hold.challenge_id().and_then(|id| receipt(id, sale.payment_hash, now));
    About {
        payment_hash: sale.payment_hash,
        service: sale.service.clone(),
        sold_route: sale.route.clone(),
        costs_at_most_msat: hold.most(),
        payment_receipt: receipt.and_then(|receipt| receipt.to_str().ok().map(str::to_owned)),
    }
}

impl From<&Kept> for HoldShown {
    fn from(kept: &Kept) -> HoldShown {
        HoldShown {
            hold_id: kept.id.to_string(),
            state: kept.state.code(),
            kind: kept.kind,
            unit: match kept.kind {
                Kind::Request | Kind::Pack | Kind::Pass => "request",
                Kind::Balance | Kind::Granted => "msat",
            },
            units: kept.units,
            left: kept.left,
            expires_at: kept.expires_at,
            charged: match kept.state {
                Standing::Settled(charged) => Some(charged),
                _ => None,
            },
            about: None,
        }
    }
}
