//! Exchange rates from sources that lie, stall, jump, vanish and send elsewhere: nothing is ever sold at
//! what they say alone (THREATS 18).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::{Clock, FixedClock};
use tollhouse::egress::{Egress, Reach, SystemResolver};
use tollhouse::pricing::{Ask, Exchange, NoExchange, RequestFacts, Rule};
use tollhouse::rates::{RateSource, Rates, RatesConfig};
use tollhouse::types::{Msat, Timestamp};

use crate::admin_app::AdminApp;
use crate::appliance::until;

const MINUTE: Duration = Duration::from_secs(60);
const START: Timestamp = Timestamp::from_secs(1_760_000_000);

/// What a source does when it is asked.
#[derive(Clone)]
enum Says {
    /// `{"last": …}` with this text in it.
    Last(&'static str),
    Raw(&'static str),
    Status(u16),
    Elsewhere,
    Nothing,
    TooMuch,
}

/// Three sources on the loopback, and the rates that come of them.
struct Market {
    says: Arc<Mutex<[Says; 3]>>,
    hits: Arc<AtomicUsize>,
    clock: Arc<FixedClock>,
    rates: Arc<Rates>,
    _tasks: TaskTracker,
}

type Shared = (Arc<Mutex<[Says; 3]>>, Arc<AtomicUsize>);

async fn answer(State((says, hits)): State<Shared>, Path(index): Path<usize>) -> Response {
    hits.fetch_add(1, Ordering::SeqCst);
    let says = says.lock().expect("no test panics here")[index].clone();
    match says {
        Says::Last(rate) => format!("{{\"last\": {rate}}}").into_response(),
        Says::Raw(text) => text.into_response(),
        Says::Status(status) => {
            (StatusCode::from_u16(status).expect("a status"), "{\"last\": 1}").into_response()
        }
        Says::Elsewhere => (StatusCode::FOUND, [("location", "/honest")]).into_response(),
        Says::Nothing => std::future::pending().await,
        Says::TooMuch => {
            format!("{{\"last\": 64000, \"x\": \"{}\"}}", "x".repeat(300 * 1_024)).into_response()
        }
    }
}

/// The sources' addresses, and the server behind them.
async fn serve(shared: Shared, tasks: &TaskTracker) -> Vec<RateSource> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let router = Router::new()
        .route("/honest", get(async || "{\"last\": 1}"))
        .route("/{index}", get(answer))
        .with_state(shared);
    tasks.spawn(async move { axum::serve(listener, router).await });
    let source = |index| RateSource {
        name: format!("source-{index}"),
        url: format!("http://127.0.0.1:{port}/{index}?key=secret").parse().expect("a URL"),
        pointer: "/last".to_owned(),
        currency: "USD".parse().expect("a code"),
        reach: Reach::Private,
    };
    (0..3).map(source).collect()
}

fn config(sources: Vec<RateSource>) -> RatesConfig {
    RatesConfig { sources, refresh: MINUTE, ..RatesConfig::default() }
}

impl Market {
    async fn open(refresh: Duration) -> Market {
        let says =
            Arc::new(Mutex::new([Says::Last("64000"), Says::Last("\"64010.00\""), Says::Last("64020.5")]));
        let (hits, tasks) = (Arc::<AtomicUsize>::default(), TaskTracker::new());
        let sources = serve((Arc::clone(&says), Arc::clone(&hits)), &tasks).await;
        let clock = FixedClock::at(START);
        let egress = Arc::new(Egress::new(Arc::new(SystemResolver)).expect("a client"));
        let rates = Rates::new(RatesConfig { refresh, ..config(sources) }, egress, clock.clone());
        rates.want("USD".parse().expect("a code"));
        Market { says, hits, clock, rates: Arc::new(rates), _tasks: tasks }
    }

    /// A minute later the sources say this.
    async fn minute(&self, says: [Says; 3]) {
        *self.says.lock().expect("no test panics here") = says;
        self.clock.advance(MINUTE);
        self.rates.poll().await;
    }

    /// What a request of 0.64 dollars costs now, or why it is not sold.
    fn price(&self) -> Result<u64, &'static str> {
        self.price_or(None)
    }

    fn price_or(&self, fallback: Option<Msat>) -> Result<u64, &'static str> {
        let (request, now) = (RequestFacts::default(), self.clock.now());
        let rule = Rule::Fixed("0.64 USD".parse().expect("an amount"));
        let ask = Ask { request: &request, exchange: &*self.rates, now, fallback };
        rule.quote(&ask).map(|quote| quote.most.msat()).map_err(|why| why.code())
    }
}

/// 0.64 dollars at 64,010 dollars for a bitcoin, rounded up.
const FAIR_MSAT: u64 = 999_844;

#[tokio::test]
async fn the_median_of_honest_sources_prices_in_dollars() {
    let market = Market::open(MINUTE).await;
    assert_eq!(market.price(), Err("rate_stale"), "nobody was asked yet");
    market.rates.poll().await;
    assert_eq!(market.price(), Ok(FAIR_MSAT));
    assert_eq!(market.hits.load(Ordering::SeqCst), 3);
    let unknown = market.rates.rate("EUR".parse().expect("a code"), START);
    assert_eq!(unknown, NoExchange.rate("EUR".parse().expect("a code"), START), "nobody gives euros");
}

#[tokio::test]
async fn a_rate_is_noted_when_one_is_known_and_nobody_is_asked_for_it_unless_it_is_to_be_displayed() {
    let market = Market::open(MINUTE).await;
    let noted = |rates: &Rates| rates.noted().map(|rate| rate.to_string());
    assert_eq!(noted(&market.rates), None, "nobody was asked yet");
    market.rates.poll().await;
    assert_eq!(noted(&market.rates).as_deref(), Some("64010 USD"), "a price needs it anyway");
    market.clock.advance(MINUTE * 16);
    assert_eq!(noted(&market.rates), None, "what is too old to sell at is too old to note");

    let (hits, tasks) = (Arc::<AtomicUsize>::default(), TaskTracker::new());
    let sources = serve((Arc::clone(&market.says), Arc::clone(&hits)), &tasks).await;
    let egress = Arc::new(Egress::new(Arc::new(SystemResolver)).expect("a client"));
    let with = |display: Option<&str>| {
        let display = display.map(|code| code.parse().expect("a code"));
        let config = RatesConfig { display, ..config(sources.clone()) };
        Rates::new(config, Arc::clone(&egress), market.clock.clone())
    };
    let quiet = with(None);
    quiet.poll().await;
    assert_eq!((noted(&quiet), hits.load(Ordering::SeqCst)), (None, 0), "it sells in satoshi alone");
    let told = with(Some("USD"));
    assert_eq!(noted(&told), None);
    told.poll().await;
    assert_eq!((noted(&told).as_deref(), hits.load(Ordering::SeqCst)), (Some("64010 USD"), 3));
    let fixed = RatesConfig::fixed("CHF".parse().expect("a code"), 57_000.into());
    let fixed = Rates::new(fixed, Arc::clone(&egress), market.clock.clone());
    assert_eq!(noted(&fixed).as_deref(), Some("57000 CHF"));
}

#[tokio::test]
async fn one_liar_moves_nothing_and_two_are_not_believed_at_once() {
    let market = Market::open(Duration::from_secs(1)).await;
    market.rates.poll().await;
    let honest = [Says::Last("64000"), Says::Last("64010")];
    let lies = [
        Says::Last("0"),
        Says::Last("-64010"),
        Says::Last("1e308"),
        Says::Last("640100"),
        Says::Last("6401"),
        Says::Last("NaN"),
        Says::Last("\"NaN\""),
        Says::Last("\"Infinity\""),
        Says::Last("null"),
        Says::Last("[64000]"),
        Says::Raw(""),
        Says::Raw("<html>busy</html>"),
        Says::Raw("{\"last\":64000"),
        Says::Status(500),
        Says::Status(204),
        Says::Elsewhere,
        Says::Nothing,
        Says::TooMuch,
    ];
    let between = 999_844..=1_000_000;
    for lie in lies {
        market.minute([honest[0].clone(), honest[1].clone(), lie]).await;
        let price = market.price().expect("two honest sources are enough");
        assert!(between.contains(&price), "{price}");
    }
    // Back to honesty, then two of three ten times too high: never sold at before it lasted.
    market.minute([Says::Last("64000"), Says::Last("64010"), Says::Last("64020")]).await;
    let high = || [Says::Last("640000"), Says::Last("640100"), Says::Last("64010")];
    for _ in 0..2 {
        market.minute(high()).await;
        assert_eq!(market.price(), Ok(FAIR_MSAT));
    }
    // All three nonsense: the last rate is sold at until it is 15 minutes old, and then none.
    for minute in 3..=15 {
        market.minute([Says::Last("0"), Says::Raw("x"), Says::Status(500)]).await;
        assert_eq!(market.price(), Ok(FAIR_MSAT), "minute {minute}");
    }
    market.minute([Says::Last("0"), Says::Raw("x"), Says::Status(500)]).await;
    assert_eq!(market.price(), Err("rate_stale"));
    let fallback = Msat::from_sat(7).ok();
    assert_eq!(market.price_or(fallback), Ok(7_000), "the route's own price in sats");
    let view = serde_json::to_value(market.rates.view()).expect("JSON");
    assert_eq!(view["currencies"][0]["state"], "stale", "{view}");
    assert_eq!(view["sources"][0]["fault"], "not_a_rate", "{view}");
    assert_eq!(view["sources"][2]["fault"], "status", "{view}");
    assert!(!view.to_string().contains("secret"), "a source's query may hold a key: {view}");
}

#[tokio::test]
async fn a_true_jump_is_followed_once_it_lasted() {
    let market = Market::open(MINUTE).await;
    market.rates.poll().await;
    let crashed = || [Says::Last("32000"), Says::Last("32010"), Says::Last("32020")];
    for _ in 0..2 {
        market.minute(crashed()).await;
        assert_eq!(market.price(), Ok(FAIR_MSAT));
    }
    market.minute(crashed()).await;
    assert_eq!(market.price(), Ok(1_999_376));
}

#[tokio::test]
async fn sources_are_asked_only_once_something_needs_their_rate() {
    let says = Arc::new(Mutex::new([Says::Last("64000"), Says::Last("64010"), Says::Last("64020")]));
    let (hits, tasks, stop) = (Arc::<AtomicUsize>::default(), TaskTracker::new(), CancellationToken::new());
    let sources = serve((says, Arc::clone(&hits)), &tasks).await;
    let egress = Arc::new(Egress::new(Arc::new(SystemResolver)).expect("a client"));
    let rates = Arc::new(Rates::new(config(sources), egress, FixedClock::at(START)));
    let runner = TaskTracker::new();
    runner.spawn(Arc::clone(&rates).run(stop.clone()));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
    assert!(rates.rate("EUR".parse().expect("a code"), START).is_err());
    let usd = "USD".parse().expect("a code");
    assert!(rates.rate(usd, START).is_err(), "the first to ask does not wait");
    let rate = until("the first rate", async || rates.rate(usd, START).ok()).await;
    assert_eq!(rate.per_btc.to_string(), "64010");
    assert_eq!(hits.load(Ordering::SeqCst), 3);
    stop.cancel();
    runner.close();
    runner.wait().await;
}

#[tokio::test]
async fn the_operator_sees_who_says_what() {
    let says = Arc::new(Mutex::new([Says::Last("64000"), Says::Last("64010"), Says::Status(503)]));
    let (hits, tasks) = (Arc::<AtomicUsize>::default(), TaskTracker::new());
    let app = AdminApp::trading(config(serve((says, Arc::clone(&hits)), &tasks).await)).await;
    use tollhouse::web::keys::Scope;
    let (read, admin) = (app.key(&[Scope::Read]).await, app.key(&[Scope::Admin]).await);
    let get = async |key: &str| -> Value {
        let answer = app.get("/api/v1/rates").bearer_auth(key).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.expect("JSON")
    };
    let idle = get(&read).await;
    assert_eq!(idle["currencies"][0]["state"], "idle", "{idle}");
    assert_eq!(hits.load(Ordering::SeqCst), 0, "looking asks nobody");
    let refresh = async |key: &str| app.post("/api/v1/rates/refresh").bearer_auth(key).send().await;
    assert_eq!(refresh(&read).await.expect("an answer").status(), StatusCode::FORBIDDEN);
    assert_eq!(refresh(&admin).await.expect("an answer").status(), StatusCode::OK);
    let seen = get(&read).await;
    let usd = &seen["currencies"][0];
    assert_eq!((&usd["state"], &usd["per_btc"]), (&json!("fresh"), &json!("64005")), "{seen}");
    assert_eq!(seen["sources"][2]["fault"], "status", "{seen}");
    assert!(!seen.to_string().contains("secret"), "{seen}");
}
