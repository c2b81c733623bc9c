//! The API's description, OpenAPI 3.1: made from the same list that the router is made from, and from the
//! types that the handlers take and give.
//!
//! A path enters the router only together with its description ([`Paths::at`]), so neither has what the
//! other lacks. What a handler takes and gives is read off its signature ([`signature`]); what is written by hand
//! is one sentence, and the codes of the refusals that are its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, on};
use http::Method;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::web::Operator;
use signature::Tells;
use told::Told;

pub(super) mod signature;
pub(super) mod told;

/// A refusal that a call may be answered with: its status and its code.
pub(super) type Refusal = (u16, &'static str);

/// In place of a code: any of those that the gateway has for this status.
pub(super) const ANY: &str = "*";

/// The API's addresses and what is said of them.
pub(super) struct Paths {
    router: Router<Arc<Operator>>,
    document: Document,
    noun: &'static str,
}

impl Paths {
    /// None yet.
    pub(super) fn new() -> Paths {
        Paths { router: Router::new(), document: Document::new(), noun: "" }
    }

    /// What follows is about this.
    #[must_use]
    pub(super) fn about(mut self, noun: &'static str, what: &'static str) -> Paths {
        self.noun = noun;
        self.document.tags.push(json!({ "name": noun, "description": what }));
        self
    }

    /// Puts a handler at a path, says in a sentence what it does, and which refusals are its own.
    #[must_use]
    pub(super) fn at<H, T, A>(
        self,
        method: &Method,
        path: &'static str,
        handler: H,
        what: &'static str,
        refusals: &[Refusal],
    ) -> Paths
    where
        H: Handler<T, Arc<Operator>> + Tells<A>,
        T: 'static,
    {
        self.wrapped(method, path, handler, what, refusals, |route| route)
    }

    /// The same, with something around the handler.
    #[must_use]
    pub(super) fn wrapped<H, T, A>(
        mut self,
        method: &Method,
        path: &'static str,
        handler: H,
        what: &'static str,
        refusals: &[Refusal],
        wrap: impl FnOnce(MethodRouter<Arc<Operator>>) -> MethodRouter<Arc<Operator>>,
    ) -> Paths
    where
        H: Handler<T, Arc<Operator>> + Tells<A>,
        T: 'static,
    {
        let tell = |told: &mut Told<'_>| {
            told.behind_the_door();
            H::tell(told);
        };
        self.document.enter(method, path, (self.noun, what), refusals, tell);
        let filter = method.clone().try_into().expect("the methods of this API are those that axum routes");
        self.router = self.router.route(path, wrap(on(filter, handler)));
        self
    }

    /// Puts a handler at a path that a locked appliance answers at, too: there with the first of the two, which is
    /// in [`super::locked_router`], and once it is up with the second. Both are said.
    #[must_use]
    pub(super) fn both<D, B, H, T, A>(
        mut self,
        (method, path): (&Method, &'static str),
        (_, open): (D, H),
        what: &'static str,
        refusals: &[Refusal],
    ) -> Paths
    where
        D: Tells<B>,
        H: Handler<T, Arc<Operator>> + Tells<A>,
        T: 'static,
    {
        let tell = |told: &mut Told<'_>| {
            told.at_the_door();
            D::tell(told);
            H::tell(told);
        };
        self.document.enter(method, path, (self.noun, what), refusals, tell);
        let filter = method.clone().try_into().expect("the methods of this API are those that axum routes");
        self.router = self.router.route(path, on(filter, open));
        self
    }

    /// The router, and the document as it is sent.
    pub(super) fn done(self) -> (Router<Arc<Operator>>, Value) {
        (self.router, self.document.whole())
    }
}

macro_rules! verbs {
    ($($verb:ident = $method:ident;)*) => {$(
        impl Paths {
            /// [`Paths::at`] for this method.
            #[must_use]
            pub(super) fn $verb<H, T, A>(
                self,
                path: &'static str,
                handler: H,
                what: &'static str,
                refusals: &[Refusal],
            ) -> Paths
            where
                H: Handler<T, Arc<Operator>> + Tells<A>,
                T: 'static,
            {
                self.at(&Method::$method, path, handler, what, refusals)
            }
        }
    )*};
}
verbs! { get = GET; post = POST; put = PUT; delete = DELETE; }

/// What is said of all paths.
struct Document {
    paths: BTreeMap<&'static str, Map<String, Value>>,
    tags: Vec<Value>,
    answers: SchemaGenerator,
    questions: SchemaGenerator,
}

impl Document {
    fn new() -> Document {
        let settings =
            SchemaSettings::draft2020_12().with(|own| own.definitions_path = "/components/schemas".into());
        let mut asked = settings.clone();
        // A type that is asked and answered has two forms; the asked one stands where it is asked.
        asked.inline_subschemas = true;
        Document {
            paths: BTreeMap::new(),
            tags: Vec::new(),
            answers: settings.for_serialize().into_generator(),
            questions: asked.for_deserialize().into_generator(),
        }
    }

    fn enter(
        &mut self,
        method: &Method,
        path: &'static str,
        (noun, what): (&'static str, &'static str),
        refusals: &[Refusal],
        tell: impl FnOnce(&mut Told<'_>),
    ) {
        let mut told = Told::new(&mut self.questions, &mut self.answers, path);
        tell(&mut told);
        let operation = told.operation(noun, what, refusals);
        let verb = method.as_str().to_ascii_lowercase();
        let taken = self.paths.entry(path).or_default().insert(verb, operation);
        assert!(taken.is_none(), "each method of a path is entered once");
    }

    fn whole(mut self) -> Value {
        let schemas = self.answers.take_definitions(true);
        json!({
            "openapi": "3.1.0",
            "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
            "info": {
                "title": "Tollhouse",
                "version": env!("CARGO_PKG_VERSION"),
                "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
                "description": "The operator's API of one appliance. Amounts are whole numbers of millisatoshi \
                    (`_msat`) or satoshi (`_sat`), times are Unix milliseconds, errors are problem+json with a \
                    stable `code`. A list's `next_before` goes into the next question's `before`; it is null on \
                    the last page. A call that moves coins takes an `Idempotency-Key`: asked again under the \
                    same, it is answered with the same and done once.",
            },
            "servers": [{ "url": "/" }],
            "tags": self.tags,
            "paths": self.paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "key": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "An API key with the scope that the operation names; `admin` has every scope.",
                    },
                    "session": {
                        "type": "apiKey",
                        "in": "cookie",
                        "name": "tollhouse-8403",
                        "description": "A person's login on the pages, whose cookie has the listener's port in its name. \
                            It may do everything, but what an application asks; what moves coins, hands out a secret or \
                            turns earning away is refused (`password_needed`) when the password was last said more than \
                            five minutes ago, and so is what another site's page sends (`cross_site`).",
                    },
                },
            },
        })
    }
}
