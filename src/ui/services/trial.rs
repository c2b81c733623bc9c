//! A service tried out: what a request would cost and why, and the request itself, paid where a wallet is at hand.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};

use super::wording::sats;
use super::{address, found};
use crate::catalog::{Offering, PathPattern, Service};
use crate::checkout::PriceTag;
use crate::l402;
use crate::qr::{self, Drawn};
use crate::request::METHODS;
use crate::storefront::Stocked;
use crate::types::{PaymentHash, Preimage};
use crate::ui::form::Fields;
use crate::ui::html;
use crate::ui::operation::sentence;
use crate::ui::shell::{Desk, Section, Shell};
use crate::web::{Answered, PriceAsk, PriceTold, Problem, TrialAsk};

/// What is asked, as the form has it.
#[derive(Clone, Default)]
struct Ask {
    method: String,
    target: String,
    offer: String,
    body: String,
}

/// One offer of a price.
struct OfferTold {
    name: String,
    first: bool,
    says: String,
    price: String,
}

/// One route that a request might have been for.
struct Place {
    route: String,
    requests: String,
    why: String,
}

/// What a request would cost.
struct Told {
    price: String,
    request: String,
    why: Vec<String>,
    offers: Vec<OfferTold>,
    places: Vec<Place>,
}

type Hidden = Vec<(&'static str, String)>;

/// What a 402 asks for.
struct Due {
    price: String,
    says: String,
    invoice: String,
    qr: Option<Drawn>,
    payable: bool,
    fields: Hidden,
}

/// A token that was paid and may open more.
struct Again {
    hash: String,
    fields: Hidden,
}

/// What the gateway answered.
struct Answer {
    status: String,
    paid: Option<String>,
    due: Option<Due>,
    body: String,
    cut: Option<String>,
    again: Option<Again>,
    /// The credential that was sent opens nothing any more.
    over: bool,
    headers: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "services/try.html")]
struct Page {
    shell: Shell,
    name: String,
    address: String,
    methods: Vec<(String, bool)>,
    offers: Vec<(String, String, bool)>,
    ask: Ask,
    refusal: Option<String>,
    told: Option<Told>,
    answer: Option<Answer>,
}

/// `GET /services/{name}/try`.
pub(super) async fn form(desk: Desk, Path(name): Path<String>) -> Response {
    let own = match found(&desk, &name).await {
        Ok(own) => own,
        Err(response) => return response,
    };
    let ask = service_of(&desk, &own).map(|service| usual(&service, &own)).unwrap_or_default();
    show(&desk, &own, ask, Outcome::default(), StatusCode::OK).await
}

/// What came of a try.
#[derive(Default)]
struct Outcome {
    refusal: Option<String>,
    told: Option<Told>,
    answer: Option<Answer>,
}

/// `POST /services/{name}/try`: nothing of ours changes by it, but what a customer's request changes.
pub(super) async fn make(desk: Desk, Path(name): Path<String>, fields: Fields) -> Response {
    let own = match found(&desk, &name).await {
        Ok(own) => own,
        Err(response) => return response,
    };
    let text = |name: &str| fields.text(name).to_owned();
    let ask =
        Ask { method: text("method"), target: text("target"), offer: text("offer"), body: text("body") };
    let done = match fields.text("do") {
        "price" => price(&desk, &own, &ask).map(|told| Outcome { told: Some(told), ..Outcome::default() }),
        word => try_out(&desk, &own, &ask, word, &fields)
            .await
            .map(|answer| Outcome { answer: Some(answer), ..Outcome::default() }),
    };
    match done {
        Ok(outcome) => show(&desk, &own, ask, outcome, StatusCode::OK).await,
        Err(problem) => {
            // What a parser says of it helps nobody.
            let told = match ask.target.starts_with('/') {
                true => "Nothing was asked: the path has a character that an address cannot have.",
                false => "Nothing was asked: write the path from the gateway’s root, such as /v1/rates.",
            };
            let address = matches!(problem.code, "bad_url" | "bad_target");
            let refusal = Some(if address { told.to_owned() } else { problem.detail });
            show(&desk, &own, ask, Outcome { refusal, ..Outcome::default() }, problem.status).await
        }
    }
}

fn price(desk: &Desk, own: &Stocked, ask: &Ask) -> Result<Told, Problem> {
    let scheme = if desk.op.parts.config.gateway.starts_with("https:") { "https" } else { "http" };
    let url = match &own.spec.host {
        Some(host) if ask.target.starts_with('/') => format!("{scheme}://{host}{}", ask.target),
        _ => ask.target.clone(),
    };
    let json = ("content-type".to_owned(), "application/json".to_owned());
    let mut headers: Vec<_> = (!ask.body.is_empty()).then_some(json).into_iter().collect();
    if !ask.offer.is_empty() {
        headers.push(("prefer".to_owned(), format!("l402-offer={}", ask.offer)));
    }
    let asked = PriceAsk { method: method(ask)?, url, headers, body: ask.body.clone() };
    Ok(told(&desk.op.price_of(&asked)?))
}

fn method(ask: &Ask) -> Result<Method, Problem> {
    ask.method.parse().map_err(|_| Problem::bad_request("bad_method", "There is no such method."))
}

fn told(told: &PriceTold) -> Told {
    let request = &told.request;
    let place = |place: &crate::catalog::Candidate| Place {
        route: format!("{} / {}", place.service.name, place.route),
        requests: format!(
            "{} {}{}",
            place.method.as_ref().map_or("any", Method::as_str),
            place.service.host.as_deref().unwrap_or_default(),
            place.path
        ),
        why: place.fate.to_string(),
    };
    let tag = told.tag.as_ref();
    Told {
        price: tag.map_or_else(|| "Nothing is sold there: 404".to_owned(), headline),
        request: format!("{} {}{}", request.method(), request.host(), request.path()),
        why: tag.map(PriceTag::why).unwrap_or_default().iter().map(|why| sentence(why)).collect(),
        offers: tag.map(offers_told).unwrap_or_default(),
        places: told.candidates.iter().map(place).collect(),
    }
}

fn headline(tag: &PriceTag) -> String {
    match &tag.quote {
        Ok(quote) if quote.is_free() => "It is free".to_owned(),
        Ok(quote) if quote.least == quote.most => format!("It costs {}", sats(quote.most)),
        Ok(quote) => format!("It costs {} to {}", sats(quote.least), sats(quote.most)),
        Err(_) => "It has no price now".to_owned(),
    }
}

fn offers_told(tag: &PriceTag) -> Vec<OfferTold> {
    let offer = |(name, ware): &(crate::types::Name, Result<crate::checkout::Ware, _>)| match ware {
        Ok(ware) => OfferTold {
            name: name.to_string(),
            first: tag.picked.as_ref() == Some(name),
            says: ware.words(),
            price: sats(ware.price),
        },
        Err(why) => {
            let why: &crate::checkout::NotSold = why;
            OfferTold { name: name.to_string(), first: false, says: why.to_string(), price: "–".to_owned() }
        }
    };
    tag.offers.iter().map(offer).collect()
}

async fn try_out(
    desk: &Desk,
    own: &Stocked,
    ask: &Ask,
    word: &str,
    fields: &Fields,
) -> Result<Answer, Problem> {
    let trial = TrialAsk {
        method: method(ask)?,
        target: ask.target.clone(),
        host: own.spec.host.clone(),
        headers: HeaderMap::new(),
        body: ask.body.clone(),
        offer: Some(ask.offer.clone()).filter(|offer| !offer.is_empty()),
    };
    let (macaroon, invoice) = (fields.text("macaroon"), fields.text("invoice"));
    let hash = fields.text("hash").parse::<PaymentHash>().ok();
    let proof = |preimage: &str| {
        let preimage: Preimage = preimage.parse().map_err(|_| {
            let detail = "The preimage has 64 characters of 0–9 and a–f. Nothing was asked.";
            Problem::bad_request("bad_preimage", detail)
        })?;
        Ok::<_, Problem>(l402::authorization(macaroon, &preimage))
    };
    let mut paid_now = false;
    let credential = match word {
        "pay" => {
            let credential = desk.op.pay_challenge(macaroon, invoice).await?;
            // A page that is loaded again sends this again; an invoice is paid once.
            paid_now = desk.op.first_time(invoice);
            Some(credential)
        }
        "proof" | "again" => Some(proof(fields.text("preimage"))?),
        _ => None,
    };
    let answer = desk.op.try_out(&trial, credential.as_deref()).await?;
    // The token goes back into the page, to be sent again.
    let preimage =
        credential.as_deref().and_then(|text| text.rsplit_once(':')).map(|(_, last)| last.to_owned());
    let again = preimage.zip(hash).filter(|_| answer.status != StatusCode::PAYMENT_REQUIRED).map(
        |(preimage, hash)| Again {
            hash: hash.to_hex(),
            fields: asked_again(
                ask,
                &[("macaroon", macaroon), ("hash", &hash.to_hex()), ("preimage", &preimage)],
            ),
        },
    );
    let shown = shown(desk, ask, &answer);
    let over = credential.is_some() && answer.status == StatusCode::PAYMENT_REQUIRED;
    let paid = match word {
        "pay" if paid_now => {
            Some(format!("Paid {} sat with the demo’s wallet, and asked again.", fields.text("price")))
        }
        _ if over => Some(format!("{} Nothing more was paid.", why_over(&answer.body))),
        "pay" => Some("It was paid before. Nothing more was paid; it was asked again.".to_owned()),
        _ => None,
    };
    if over && !paid_now {
        let status = "The credential opens nothing any more".to_owned();
        return Ok(Answer { status, paid, due: None, over, ..shown });
    }
    Ok(Answer { paid, again, ..shown })
}

/// Why a credential is refused with a 402 whose body is `body`.
fn why_over(body: &str) -> &'static str {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match body["code"].as_str() {
        Some("spent") => "It is used up: what it was paid for was answered before.",
        Some("expired") => "Its time is over.",
        Some("revoked") => "It was revoked.",
        Some("balance_too_small") => "What is left of it does not pay for this request.",
        _ => "The gateway does not take it for this request.",
    }
}

fn shown(desk: &Desk, ask: &Ask, answer: &Answered) -> Answer {
    let due = answer.challenge.as_ref().zip(answer.sold()).map(|(challenge, sold)| {
        let price = crate::ui::figures::sats_exact(sold.sold.msat());
        let hash = answer.payment_hash().map(|hash| hash.to_hex()).unwrap_or_default();
        let parts = [
            ("macaroon", challenge.macaroon_b64.as_str()),
            ("invoice", &challenge.invoice),
            ("hash", &hash),
            ("price", &price),
        ];
        Due {
            says: format!("For {} / {}: {}.", sold.service, sold.route, sold_words(&sold)),
            qr: qr::in_capitals("lightning", &challenge.invoice),
            invoice: challenge.invoice.clone(),
            payable: desk.op.customer().is_some(),
            fields: asked_again(ask, &parts),
            price,
        }
    });
    let reason = answer.status.canonical_reason().unwrap_or_default();
    let cut = answer.bytes > answer.body.len();
    let header = |(name, value): &(http::HeaderName, String)| (name.to_string(), value.clone());
    Answer {
        status: format!("{} {reason}", answer.status.as_u16()),
        paid: None,
        due,
        body: pretty(&answer.body),
        cut: cut.then(|| {
            format!("The beginning of {} bytes.", crate::ui::figures::grouped(super::count(answer.bytes)))
        }),
        again: None,
        over: false,
        headers: answer.headers.iter().map(header).collect(),
    }
}

/// JSON with its lines apart; anything else as it came.
fn pretty(body: &str) -> String {
    let value: Result<serde_json::Value, _> = serde_json::from_str(body);
    value.ok().and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| body.to_owned())
}

fn sold_words(sold: &l402::Sold) -> String {
    use crate::types::Kind;
    use crate::ui::figures::counted;
    match sold.kind {
        Kind::Request => "one request".to_owned(),
        Kind::Pack => counted(sold.units, "request"),
        Kind::Pass => {
            format!("everything for {}", crate::clock::in_words(std::time::Duration::from_secs(sold.units)))
        }
        Kind::Balance | Kind::Granted => {
            format!("{} sat to draw from", crate::ui::figures::sats_exact(sold.units))
        }
    }
}

/// The request and `parts`, to be sent once more.
fn asked_again(ask: &Ask, parts: &[(&'static str, &str)]) -> Hidden {
    let request = [
        ("method", ask.method.clone()),
        ("target", ask.target.clone()),
        ("offer", ask.offer.clone()),
        ("body", ask.body.clone()),
    ];
    let parts = parts.iter().map(|(name, value)| (*name, (*value).to_owned()));
    request.into_iter().chain(parts).collect()
}

fn service_of(desk: &Desk, own: &Stocked) -> Option<std::sync::Arc<Service>> {
    let table = desk.op.parts.storefront.catalog().current();
    table.services().iter().find(|service| service.name == own.name).cloned()
}

/// A request that the service prices: a sample, or its first route that costs something.
fn usual(service: &Service, own: &Stocked) -> Ask {
    let priced = service.routes.iter().find(|route| !route.terms.rule.is_free());
    let method = priced.and_then(|route| route.method.clone()).unwrap_or(Method::GET);
    let path = match priced.map(|route| &route.path) {
        Some(PathPattern::Exact(path)) => path.clone(),
        Some(PathPattern::Under(path)) => format!("{}/", path.trim_end_matches('/')),
        Some(template @ PathPattern::Template(_)) => {
            let parts = template.front().split('/');
            parts.map(|part| if part.starts_with('{') { "1" } else { part }).collect::<Vec<_>>().join("/")
        }
        None => service.path.clone(),
    };
    let sample = own.spec.samples.iter().find(|sample| sample.path == path);
    let body = sample.and_then(|sample| sample.body.clone()).unwrap_or_default();
    Ask { method: method.to_string(), target: path, offer: String::new(), body }
}

async fn show(desk: &Desk, own: &Stocked, ask: Ask, outcome: Outcome, status: StatusCode) -> Response {
    let offers = service_of(desk, own).map(|service| offers(&service, &ask.offer)).unwrap_or_default();
    let Outcome { refusal, told, answer } = outcome;
    let page = Page {
        name: own.name.to_string(),
        address: address(own.name.as_str()),
        methods: METHODS.iter().map(|method| (method.to_string(), method.as_str() == ask.method)).collect(),
        offers,
        ask,
        refusal,
        told,
        answer,
        shell: desk.shell(Section::Services).await,
    };
    html(status, &page)
}

/// What a buyer may ask for anywhere in the service.
fn offers(service: &Service, chosen: &str) -> Vec<(String, String, bool)> {
    let all = service.routes.iter().map(|route| &route.terms).chain([&service.terms]);
    let mut names: Vec<(String, String, bool)> =
        vec![(String::new(), "the first thing on offer".to_owned(), false)];
    for offer in all.flat_map(|terms| terms.offers.iter()) {
        let name = offer.name.to_string();
        let what = match &offer.what {
            Offering::Request => "one request".to_owned(),
            _ => name.clone(),
        };
        if !names.iter().any(|(own, ..)| *own == name) {
            names.push((name.clone(), what, name == chosen));
        }
    }
    names
}
