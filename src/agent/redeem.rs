//! Talking to whoever sells: the first question, and the same again with the proof until it is served.
//!
//! A proof is sent as often as needed, always with the same idempotency key, and nothing here pays. An
//! answer counts as given only when its whole body is on disk.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use url::{Host, Url};

use super::ask::{Ask, Sent};
use super::desk::Desk;
use super::fault::{Fault, told};
use super::record::{Record, State};

/// What became of the unit, in a Tollhouse's own words.
const X_TOLLHOUSE_UNIT: HeaderName = HeaderName::from_static("x-tollhouse-unit");

/// How often in one run a proof is sent that the server fails to serve.
const TRIES: u32 = 4;
/// The pause after the first failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that a server can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long another request with the same token is waited for in all.
const IN_FLIGHT_PATIENCE: Duration = Duration::from_secs(60);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(300);
/// As much of an error's body as is looked into, in bytes.
const PROBLEM_BYTES: usize = 65_536;

/// What came of a proof.
pub(super) enum Redeemed {
    /// The record says so too.
    Complete,
    /// The server does not take it, for this reason.
    Refused { code: String },
}

/// What came of sending it once.
enum Attempt {
    Complete {
        status: u16,
        length: u64,
        /// It says that the unit came back.
        restored: bool,
    },
    Refused {
        code: String,
    },
    /// Another request with the same token is under way.
    InFlight {
        pause: Option<Duration>,
    },
    /// The token is good, or may be: the connection broke, or the server failed.
    Unserved {
        what: String,
        /// It says that the unit came back.
        restored: bool,
        pause: Option<Duration>,
    },
}

/// Whoever sells.
pub(super) struct Shop(reqwest::Client);

impl Shop {
    pub(super) fn for_url(url: &Url) -> Result<Shop, Fault> {
        // A redirect is shown, not followed: a proof is for the server that sold it. A connection is
        // not kept: a request on one that the server has just closed would have an unknown end.
        let builder = reqwest::Client::builder()
            .user_agent(concat!("tollhouse/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(15))
            .read_timeout(SILENCE)
            .pool_max_idle_per_host(0);
        let builder = if is_here(url) { builder.no_proxy() } else { builder };
        builder.build().map(Shop).map_err(|error| Fault::Network(told(error)))
    }

    /// Asks without a proof.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<reqwest::Response, Fault> {
        let sent = ask.request(&self.0, None).send().await;
        sent.map_err(|error| Fault::Network(format!("{} does not answer: {}", host(&ask.url), told(error))))
    }

    /// Sends the proof until the answer is on disk, or the server does not take it. An answer that is
    /// there already is not asked for again.
    pub(super) async fn redeem(
        &self,
        ask: &Ask,
        desk: &Desk,
        record: &mut Record,
    ) -> Result<Redeemed, Fault> {
        if matches!(record.state, State::Complete { .. }) {
            return Ok(Redeemed::Complete);
        }
        let unusable = || Fault::BadChallenge("its token does not fit a header".to_owned());
        let proof = record.proof().cloned().ok_or_else(unusable)?;
        let credential = record.credential().ok_or_else(unusable)?;
        let mut credential = HeaderValue::try_from(credential).map_err(|_| unusable())?;
        credential.set_sensitive(true);
        let key = format!("{}-{}", desk.name(), record.nonce);
        let key = HeaderValue::try_from(key).map_err(|_| unusable())?;
        desk.advance(record, State::Sent { proof: proof.clone() })?;
        let paid = record.paid()?;
        let (mut failed, mut waited, mut usual_pause) = (0, Duration::ZERO, FIRST_PAUSE);
        loop {
            let pause = match self.attempt(ask, Sent { credential: &credential, key: &key }, desk).await? {
                Attempt::Complete { status, length, restored } => {
                    desk.advance(record, State::Complete { proof, status, length, restored })?;
                    return Ok(Redeemed::Complete);
                }
                Attempt::Refused { code } => return Ok(Redeemed::Refused { code }),
                Attempt::InFlight { pause } => {
                    let pause = pause.unwrap_or(FIRST_PAUSE).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                    waited += pause;
                    if waited > IN_FLIGHT_PATIENCE {
                        let what = "another request with this token is still under way".to_owned();
                        return Err(Fault::Unserved { what, restored: false, paid });
                    }
                    pause
                }
                Attempt::Unserved { what, restored, pause } => {
                    failed += 1;
                    if failed == TRIES {
                        return Err(Fault::Unserved { what, restored, paid });
                    }
                    let pause = pause.unwrap_or(usual_pause).clamp(usual_pause, LONGEST_PAUSE);
                    usual_pause *= 2;
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, ask: &Ask, sent: Sent<'_>, desk: &Desk) -> Result<Attempt, Fault> {
        let broken = |error| Attempt::Unserved {
            what: format!("{} did not answer: {}", host(&ask.url), told(error)),
            restored: false,
            pause: None,
        };
        let mut response = match ask.request(&self.0, Some(sent)).send().await {
            Ok(response) => response,
            Err(error) => return Ok(broken(error)),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        if is_looked_into(status) {
            let start = match start_of(&mut response).await {
                Ok(start) => start,
                Err(error) => return Ok(broken(error)),
            };
            if let Some(attempt) = no_answer(status, &headers, &start) {
                return Ok(attempt);
            }
            return spool(response, desk, &start).await.map(|spooled| spooled.unwrap_or_else(broken));
        }
        spool(response, desk, &[]).await.map(|spooled| spooled.unwrap_or_else(broken))
    }
}

/// As much of the body as is looked into.
pub(super) async fn start_of(response: &mut reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut start = Vec::new();
    while start.len() < PROBLEM_BYTES {
        match response.chunk().await? {
            Some(chunk) => start.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok(start)
}

/// Brings the rest of the answer to the disk, after its `start`.
async fn spool(
    mut response: reqwest::Response,
    desk: &Desk,
    start: &[u8],
) -> Result<Result<Attempt, reqwest::Error>, Fault> {
    let status = response.status().as_u16();
    let restored = response.headers().get(X_TOLLHOUSE_UNIT).is_some_and(|unit| unit == "restored");
    let mut body = desk.new_body()?;
    body.write(start)?;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.write(&chunk)?,
            Ok(None) => return Ok(Ok(Attempt::Complete { status, length: body.end()?, restored })),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// The statuses that may say that the request was not served.
fn is_looked_into(status: StatusCode) -> bool {
    matches!(status, StatusCode::PAYMENT_REQUIRED | StatusCode::CONFLICT)
        || status.is_server_error()
        || is_passing(status)
        || matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
}

/// Said before anything is served, and not for long: the proof is still good after it.
fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS)
}

/// The gateway's own words for what it does not sell (any more): the upstream was not asked.
const NOT_SOLD: [&str; 2] = ["no_such_route", "method_not_allowed"];

/// The gateway's word for a request that it would have to sell, where nobody can pay it now.
const CANNOT_RECEIVE: &str = "cannot_receive";

/// What an answer says that is not the one that was paid for; `None` when it is that after all.
fn no_answer(status: StatusCode, headers: &HeaderMap, start: &[u8]) -> Option<Attempt> {
    let problem = problem(headers, start);
    let word = |name: &str| problem[name].as_str().map(str::to_owned);
    let unit = headers.get(X_TOLLHOUSE_UNIT).and_then(|unit| unit.to_str().ok()).map(str::to_owned);
    let unit = unit.or_else(|| word("unit"));
    let pause = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
    let pause = pause.map(Duration::from_secs);
    match status {
        // An upstream may answer 402 or 409 of its own: the unit is held for it then.
        StatusCode::PAYMENT_REQUIRED | StatusCode::CONFLICT if unit.is_some() => None,
        StatusCode::PAYMENT_REQUIRED => {
            Some(Attempt::Refused { code: word("code").unwrap_or_else(|| "no reason".to_owned()) })
        }
        StatusCode::CONFLICT if pause.is_some() || word("code").as_deref() == Some("in_flight") => {
            Some(Attempt::InFlight { pause })
        }
        StatusCode::CONFLICT => None,
        _ if is_passing(status) && unit.is_some() => None,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
            if unit.is_some() || !word("code").is_some_and(|code| NOT_SOLD.contains(&code.as_str())) =>
        {
            None
        }
        _ => match unit.as_deref() {
            Some("held" | "spent") => None,
            // It would have let a good one in: it cannot even say what another would cost.
            None if word("code").as_deref() == Some(CANNOT_RECEIVE) => {
                Some(Attempt::Refused { code: CANNOT_RECEIVE.to_owned() })
            }
            Some("exhausted") => Some(Attempt::Refused { code: "exhausted".to_owned() }),
            // Restored, or said by somebody between us who knows of no unit: the proof may be sent again.
            unit => {
                let detail = word("detail").map(|detail| format!(": {detail}")).unwrap_or_default();
                let what = format!("the server answers {status}{}", detail.trim_end_matches('.'));
                Some(Attempt::Unserved { what, restored: unit == Some("restored"), pause })
            }
        },
    }
}

fn problem(headers: &HeaderMap, start: &[u8]) -> Value {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/problem+json") && !kind.starts_with("application/json") {
        return Value::Null;
    }
    serde_json::from_slice(start).unwrap_or_default()
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or("the server").to_owned()
}

/// This machine is never reached through a proxy.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
