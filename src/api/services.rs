//! What is sold: seen by who may read, changed by who may administer. What may be a key is never shown.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::Path;
use super::{bad_body, ledger_fault};
use crate::catalog::spec::{Spec, SpecFault};
use crate::checkout::UpstreamLook;
use crate::storefront::{Change, Plan, Refusal, Rise, Run, Stocked, Stop};
use crate::types::{Name, Timestamp};
use crate::web::{MayRead, MaySpend, Operator, Problem};

/// A price list may be longer than other bodies.
const LARGEST_LIST_BYTES: usize = 4 * 1_024 * 1_024;

/// Lets a price list in.
pub(super) fn large_bodies() -> DefaultBodyLimit {
    DefaultBodyLimit::max(LARGEST_LIST_BYTES)
}

/// `GET /api/v1/services`.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Json<ServiceList> {
    let stock = op.parts.storefront.stock();
    Json(ServiceList { services: stock.iter().map(|own| Service::of(&op, own)).collect() })
}

/// All that is sold.
#[derive(Serialize, JsonSchema)]
pub(super) struct ServiceList {
    services: Vec<Service>,
}

/// What a change comes to.
#[derive(Serialize, JsonSchema)]
pub(super) struct Changes {
    changes: Vec<Change>,
    /// What is served, or earns, no more by it.
    stops: Vec<Stop>,
    /// What it makes dearer for customers who have paid already, with how many tokens and units that are left it
    /// touches. Tokens that were never used yet are not among them.
    rises: Vec<Rise>,
    /// The services whose own API did not answer when it was asked once after the change: what is paid for there gets
    /// no answer, and is kept, until it does. Look at `upstream`. Nobody is asked in a dry run.
    silent: Vec<Name>,
    /// It is in force; false of a dry run.
    applied: bool,
}

/// `GET /api/v1/services/{name}`.
pub(super) async fn show(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    Path(name): Path<String>,
) -> Result<Json<Service>, Problem> {
    let stock = op.parts.storefront.stock();
    let found = stock.iter().find(|own| own.name.as_str() == name);
    found.map(|own| Json(Service::of(&op, own))).ok_or_else(|| refused(Refusal::Unknown(name)))
}

/// `PUT /api/v1/services/{name}`: adds it, or makes it this.
pub(super) async fn put(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(name): Path<String>,
    body: Result<Json<Given>, JsonRejection>,
) -> Result<Json<Changes>, Problem> {
    let Json(Given(mut body)) = body.map_err(bad_body)?;
    if let Some(table) = body.as_object_mut() {
        let said = table.entry("name").or_insert_with(|| Value::from(name.as_str()));
        if said != name.as_str() {
            let detail = format!("The body is of another service than `{name}`: a service keeps its name.");
            return Err(Problem::bad_request("bad_name", detail));
        }
    }
    let plan = op.parts.storefront.put(vec![Spec::read(&body)], Run::Real).await.map_err(refused)?;
    Ok(Json(Changes::of(&op, plan, Run::Real).await))
}

/// `DELETE /api/v1/services/{name}`.
pub(super) async fn remove(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(name): Path<String>,
) -> Result<Json<Changes>, Problem> {
    let plan = op.parts.storefront.remove(&name, Run::Real).await.map_err(refused)?;
    Ok(Json(Changes::of(&op, plan, Run::Real).await))
}

/// What `POST /api/v1/services/apply` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    services: Vec<Given>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/v1/services/apply`: adds or changes all of these, or none.
pub(super) async fn apply(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Apply>, JsonRejection>,
) -> Result<Json<Changes>, Problem> {
    let Json(Apply { services, dry_run }) = body.map_err(bad_body)?;
    let run = if dry_run { Run::Dry } else { Run::Real };
    let given = services.iter().map(|Given(one)| Spec::read(one)).collect();
    let plan = op.parts.storefront.put(given, run).await.map_err(refused)?;
    Ok(Json(Changes::of(&op, plan, run).await))
}

/// A service as the price list writes it. What cannot be sold so is said field by field, so it is read as it
/// comes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Given(Value);

impl JsonSchema for Given {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Given".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object", "description": "A service as the price list writes it: the schema `Spec`." })
    }
}

impl Changes {
    async fn of(op: &Operator, plan: Plan, run: Run) -> Changes {
        let applied = run == Run::Real;
        let silent = if applied { op.silent(&plan).await } else { Vec::new() };
        Changes { changes: plan.changes, stops: plan.stops, rises: plan.rises, silent, applied }
    }
}

/// What is sold.
#[derive(Serialize, JsonSchema)]
pub(super) struct Service {
    name: Name,
    /// The file that owns it, if one does: it is changed there.
    owner: Option<String>,
    changed_at: Timestamp,
    /// Why it can be sold no more as it is written; then it is closed.
    faults: Vec<Fault>,
    /// As the price list writes it, without what may be a key.
    spec: Spec,
    /// How its own API answered last; `null` when it was not asked since the start.
    upstream: Option<LastAnswer>,
}

/// How a service's own API answered.
#[derive(Serialize, JsonSchema)]
struct LastAnswer {
    at: Timestamp,
    /// It answered, and not with a failure of its own.
    well: bool,
    status: Option<u16>,
    /// Why there was no answer, such as `upstream_unreachable`.
    code: Option<&'static str>,
}

impl From<UpstreamLook> for LastAnswer {
    fn from(look: UpstreamLook) -> LastAnswer {
        LastAnswer {
            at: look.at,
            well: look.well(),
            status: look.answer.ok().map(|status| status.as_u16()),
            code: look.answer.err(),
        }
    }
}

/// What is wrong with a field.
#[derive(Serialize, JsonSchema)]
struct Fault {
    field: String,
    what: String,
    help: String,
}

impl Service {
    fn of(op: &Operator, own: &Stocked) -> Service {
        let fault = |SpecFault { field, what, help }: &SpecFault| Fault {
            field: field.to_string(),
            what: what.to_string(),
            help: help.to_string(),
        };
        Service {
            name: own.name.clone(),
            owner: own.owner.clone(),
            changed_at: own.changed_at,
            faults: own.faults.iter().map(fault).collect(),
            spec: own.spec.redacted(),
            upstream: op.parts.checkout.upstreams().last(&own.name).map(LastAnswer::from),
        }
    }
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
