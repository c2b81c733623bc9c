//! Which of its types a handler's signature tells what: what it takes ([`Asks`]) and what it gives
//! ([`Answers`]).

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::response::NoContent;
use axum::response::sse::Sse;
use http::StatusCode;
use schemars::JsonSchema;

use super::told::{Need, Told};
use crate::api::answer::{
    Accepted, Created, IdempotencyKey, LastEventId, OwnSession, Path, Table, Taken, Text,
};
use crate::web::keys::Scope;
use crate::web::{MayAdmin, MayIntegrate, MayMeter, MayPay, MayRead, MaySend, MaySpend, Problem};

/// Something that a handler takes.
pub(in crate::api) trait Asks {
    /// Says what the request needs for it.
    fn ask(told: &mut Told<'_>);
}

/// Something that a handler gives.
pub(in crate::api) trait Answers {
    /// Says what the answer may be.
    fn answer(told: &mut Told<'_>);
}

/// A handler whose signature tells what it takes and gives.
pub(in crate::api) trait Tells<A> {
    /// Tells it.
    fn tell(told: &mut Told<'_>);
}

macro_rules! tells {
    ($($taken:ident)*) => {
        impl<F, Fut, R, $($taken),*> Tells<(Fut, R, $($taken,)*)> for F
        where
            F: Fn($($taken),*) -> Fut,
            Fut: Future<Output = R>,
            R: Answers,
            $($taken: Asks,)*
        {
            fn tell(told: &mut Told<'_>) {
                $($taken::ask(told);)*
                R::answer(told);
            }
        }
    };
}
tells!();
tells!(A);
tells!(A B);
tells!(A B C);
tells!(A B C D);
tells!(A B C D E);
tells!(A B C D E G);

macro_rules! scoped {
    ($($name:ident: $scope:ident;)*) => {$(
        impl Asks for $name {
            fn ask(told: &mut Told<'_>) {
                told.needs(Scope::$scope);
            }
        }
    )*};
}
scoped! { MayRead: Read; MayPay: Pay; MayAdmin: Admin; MayIntegrate: Integrate; MayMeter: Metrics; }

macro_rules! sure {
    ($($name:ident: $scope:ident;)*) => {$(
        impl Asks for $name {
            fn ask(told: &mut Told<'_>) {
                told.needs(Scope::$scope);
                told.refuses(StatusCode::FORBIDDEN, "password_needed");
            }
        }
    )*};
}
sure! { MaySend: Pay; MaySpend: Admin; }

/// Whoever sends a cookie beside it is the same caller.
impl Asks for OwnSession {
    fn ask(_: &mut Told<'_>) {}
}

impl<S> Asks for State<S> {
    fn ask(_: &mut Told<'_>) {}
}

impl<T: JsonSchema> Asks for Result<Json<T>, JsonRejection> {
    fn ask(told: &mut Told<'_>) {
        told.takes::<T>(Need::Must);
        told.refuses(StatusCode::BAD_REQUEST, "bad_body");
    }
}

impl<T: JsonSchema> Asks for Result<Option<Json<T>>, JsonRejection> {
    fn ask(told: &mut Told<'_>) {
        told.takes::<T>(Need::May);
        told.refuses(StatusCode::BAD_REQUEST, "bad_body");
    }
}

macro_rules! headed {
    ($($name:ident)*) => {$(
        impl Asks for $name {
            fn ask(told: &mut Told<'_>) {
                told.header($name::NAME, $name::WHAT);
            }
        }
    )*};
}
headed!(IdempotencyKey LastEventId);

impl<T: JsonSchema> Asks for Result<Query<T>, QueryRejection> {
    fn ask(told: &mut Told<'_>) {
        told.query::<T>();
        told.refuses(StatusCode::BAD_REQUEST, "bad_query");
    }
}

impl<T: JsonSchema> Asks for Path<T> {
    fn ask(told: &mut Told<'_>) {
        told.places::<T>();
        told.refuses(StatusCode::NOT_FOUND, "not_found");
    }
}

impl<T: JsonSchema> Answers for Json<T> {
    fn answer(told: &mut Told<'_>) {
        told.gives::<T>(StatusCode::OK);
    }
}

impl<T: JsonSchema> Answers for Created<T> {
    fn answer(told: &mut Told<'_>) {
        told.gives::<T>(StatusCode::CREATED);
    }
}

impl<T: JsonSchema> Answers for Accepted<T> {
    fn answer(told: &mut Told<'_>) {
        told.gives::<T>(StatusCode::ACCEPTED);
    }
}

impl Answers for Taken {
    fn answer(told: &mut Told<'_>) {
        told.gives_of(StatusCode::ACCEPTED, "", None);
    }
}

impl Answers for Text {
    fn answer(told: &mut Told<'_>) {
        told.gives_of(StatusCode::OK, "text/plain", None);
    }
}

impl Answers for Table {
    fn answer(told: &mut Told<'_>) {
        told.gives_of(StatusCode::OK, "text/csv", None);
    }
}

impl Answers for NoContent {
    fn answer(told: &mut Told<'_>) {
        told.gives_of(StatusCode::NO_CONTENT, "", None);
    }
}

impl<S> Answers for Sse<S> {
    fn answer(told: &mut Told<'_>) {
        told.gives_of(StatusCode::OK, "text/event-stream", None);
    }
}

impl<T: Answers> Answers for Result<T, Problem> {
    fn answer(told: &mut Told<'_>) {
        T::answer(told);
    }
}

/// A refusal and nothing else.
impl Answers for Problem {
    fn answer(_: &mut Told<'_>) {}
}
