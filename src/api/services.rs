//! What is sold: seen by who may read, changed by who may administer. What may be a key is never shown.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bad_body, ledger_fault};
use crate::catalog::spec::{Spec, SpecFault};
use crate::storefront::{Plan, Refusal, Run, Stocked};
use crate::web::{MayAdmin, MayRead, Operator, Problem};

/// A price list may be longer than other bodies.
const LARGEST_LIST_BYTES: usize = 4 * 1_024 * 1_024;

/// Lets a price list in.
pub(super) fn large_bodies() -> DefaultBodyLimit {
    DefaultBodyLimit::max(LARGEST_LIST_BYTES)
}

/// `GET /api/v1/services`.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Json<Value> {
    let stock = op.parts.storefront.stock();
    Json(json!({ "services": stock.iter().map(shown).collect::<Vec<_>>() }))
}

/// `GET /api/v1/services/{name}`.
pub(super) async fn show(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let stock = op.parts.storefront.stock();
    let found = stock.iter().find(|own| own.name.as_str() == name);
    found.map(|own| Json(shown(own))).ok_or_else(|| refused(Refusal::Unknown(name)))
}

/// `PUT /api/v1/services/{name}`: adds it, or makes it this.
pub(super) async fn put(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(name): Path<String>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(mut body) = body.map_err(bad_body)?;
    if let Some(table) = body.as_object_mut() {
        let said = table.entry("name").or_insert_with(|| Value::from(name.as_str()));
        if said != name.as_str() {
            let detail = format!("The body is of another service than `{name}`: a service keeps its name.");
            return Err(Problem::bad_request("bad_name", detail));
        }
    }
    let plan = op.parts.storefront.put(vec![Spec::read(&body)], Run::Real).await.map_err(refused)?;
    Ok(Json(told(&plan, Run::Real)))
}

/// `DELETE /api/v1/services/{name}`.
pub(super) async fn remove(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let plan = op.parts.storefront.remove(&name, Run::Real).await.map_err(refused)?;
    Ok(Json(told(&plan, Run::Real)))
}

/// What `POST /api/v1/services/apply` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    services: Vec<Value>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/v1/services/apply`: adds or changes all of these, or none.
pub(super) async fn apply(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Apply>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(Apply { services, dry_run }) = body.map_err(bad_body)?;
    let run = if dry_run { Run::Dry } else { Run::Real };
    let given = services.iter().map(Spec::read).collect();
    let plan = op.parts.storefront.put(given, run).await.map_err(refused)?;
    Ok(Json(told(&plan, run)))
}

fn told(plan: &Plan, run: Run) -> Value {
    json!({ "changes": plan.changes, "applied": run == Run::Real })
}

fn shown(own: &Stocked) -> Value {
    let fault =
        |SpecFault { field, what, help }: &SpecFault| json!({ "field": field, "what": what, "help": help });
    json!({
        "name": own.name,
        "owner": own.owner,
        "changed_at": own.changed_at,
        // A service with faults is closed: it can be sold no more as it is written.
        "faults": own.faults.iter().map(fault).collect::<Vec<_>>(),
        "spec": own.spec.redacted(),
    })
}

fn refused(refusal: Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Faults(faults) => {
            let errors = faults.into_iter().map(|wrong| {
                let SpecFault { field, what, help } = wrong.fault;
                json!({ "index": wrong.index, "service": wrong.service, "field": field, "what": what, "help": help })
            });
            let errors = errors.collect();
            Problem { errors, ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_service", detail) }
        }
        Refusal::Owned { .. } => Problem::new(StatusCode::CONFLICT, "owned_by_file", format!("{detail}.")),
        Refusal::Unknown(_) => Problem::new(StatusCode::NOT_FOUND, "no_such_service", format!("{detail}.")),
        Refusal::Clash(_) => Problem::new(StatusCode::CONFLICT, "services_clash", format!("{detail}.")),
        Refusal::Store(error) => ledger_fault(error),
        Refusal::Unreadable(_) => {
            tracing::error!(%detail, "the admin API could not change what is sold");
            Problem::internal()
        }
    }
}
