//! One operation of the API, told piece by piece by the types of its handler's signature.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{ANY, Refusal};
use crate::web::keys::Scope;

/// One operation, as its types tell it.
pub(in crate::api) struct Told<'g> {
    questions: &'g mut SchemaGenerator,
    answers: &'g mut SchemaGenerator,
    path: &'static str,
    scope: Option<Scope>,
    parameters: Vec<Value>,
    /// What it takes, in each of its forms, and whether it must be there.
    bodies: Vec<(Need, Schema)>,
    door: bool,
    given: BTreeMap<u16, Vec<(&'static str, Option<Schema>)>>,
    refused: BTreeMap<u16, BTreeSet<&'static str>>,
}

impl<'g> Told<'g> {
    pub(super) fn new(
        questions: &'g mut SchemaGenerator,
        answers: &'g mut SchemaGenerator,
        path: &'static str,
    ) -> Told<'g> {
        let mut told = Told {
            questions,
            answers,
            path,
            scope: None,
            parameters: Vec::new(),
            bodies: Vec::new(),
            door: false,
            given: BTreeMap::new(),
            refused: BTreeMap::new(),
        };
        // What the walls say, and what is ours when something of ours fails.
        told.refuses(StatusCode::MISDIRECTED_REQUEST, "unknown_host");
        told.refuses(StatusCode::FORBIDDEN, "cross_site");
        told.refuses(StatusCode::INTERNAL_SERVER_ERROR, "internal");
        told
    }

    pub(in crate::api) fn refuses(&mut self, status: StatusCode, code: &'static str) {
        self.refused.entry(status.as_u16()).or_default().insert(code);
    }

    /// A locked appliance answers at this address.
    pub(super) fn at_the_door(&mut self) {
        self.door = true;
    }

    /// A locked appliance answers nothing here but that it is locked.
    pub(super) fn behind_the_door(&mut self) {
        self.refuses(StatusCode::SERVICE_UNAVAILABLE, "locked");
    }

    pub(super) fn needs(&mut self, scope: Scope) {
        self.scope = Some(scope);
        self.refuses(StatusCode::UNAUTHORIZED, "unauthenticated");
        self.refuses(StatusCode::FORBIDDEN, "missing_scope");
    }

    pub(in crate::api) fn gives<T: JsonSchema>(&mut self, status: StatusCode) {
        let schema = self.answers.subschema_for::<T>();
        self.gives_of(status, "application/json", Some(schema));
    }

    pub(in crate::api) fn gives_of(
        &mut self,
        status: StatusCode,
        media: &'static str,
        schema: Option<Schema>,
    ) {
        self.given.entry(status.as_u16()).or_default().push((media, schema));
    }

    pub(super) fn header(&mut self, name: &str, what: &str) {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": what,
            "schema": { "type": "string" },
        }));
    }

    /// The fields of a query, each a parameter.
    pub(super) fn query<T: JsonSchema>(&mut self) {
        let schema = self.questions.root_schema_for::<T>();
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let fields = schema.get("properties").and_then(Value::as_object);
        for (name, field) in fields.into_iter().flatten() {
            let mut field = field.clone();
            let what = field.as_object_mut().and_then(|field| field.remove("description"));
            let mut parameter = json!({
                "name": name, "in": "query", "required": required.contains(&name.as_str()),
                "schema": not_null(field),
            });
            if let Some(what) = what {
                parameter["description"] = what;
            }
            self.parameters.push(parameter);
        }
    }

    /// What the template leaves open, in order, each of this form.
    pub(super) fn places<T: JsonSchema>(&mut self) {
        let schema = self.questions.subschema_for::<T>();
        let open = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        for name in open {
            self.parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
        }
    }

    pub(super) fn takes<T: JsonSchema>(&mut self, need: Need) {
        let mut schema = self.questions.root_schema_for::<T>();
        schema.remove("$schema");
        self.bodies.push((need, schema));
    }

    pub(super) fn operation(mut self, noun: &'static str, what: &'static str, refusals: &[Refusal]) -> Value {
        // The one form that there is may be the door's.
        let doors_alone = self.door && self.bodies.len() == 1;
        for (status, code) in refusals {
            self.refused.entry(*status).or_default().insert(code);
        }
        let problem = self.answers.subschema_for::<ProblemBody>();
        let mut responses = Map::new();
        for (status, forms) in self.given {
            let mut content: BTreeMap<&str, Vec<Schema>> = BTreeMap::new();
            for (media, schema) in forms {
                let known = content.entry(media).or_default();
                known.extend(schema.filter(|schema| !known.contains(schema)));
            }
            let content: Map<String, Value> = content
                .into_iter()
                .filter(|(media, _)| !media.is_empty())
                .map(|(media, schemas)| {
                    let schema = match schemas.as_slice() {
                        [] => json!({ "type": "string" }),
                        [one] => json!(one),
                        several => json!({ "anyOf": several }),
                    };
                    (media.to_owned(), json!({ "schema": schema }))
                })
                .collect();
            let mut response = json!({ "description": reason(status) });
            if !content.is_empty() {
                response["content"] = content.into();
            }
            responses.insert(status.to_string(), response);
        }
        for (status, codes) in self.refused {
            let words: Vec<String> =
                codes.iter().filter(|code| **code != ANY).map(|code| format!("`{code}`")).collect();
            let schema = match codes.contains(ANY) {
                true => json!(problem),
                false => json!({ "allOf": [problem, { "properties": { "code": { "enum": codes } } }] }),
            };
            let content = json!({ "application/problem+json": { "schema": schema } });
            match responses.get_mut(&status.to_string()) {
                // A status may mean an answer and a refusal.
                Some(known) => known["content"]["application/problem+json"] = json!({ "schema": schema }),
                None => {
                    let description = format!("{}: {}", reason(status), words.join(", "));
                    responses.insert(
                        status.to_string(),
                        json!({ "description": description, "content": content }),
                    );
                }
            }
        }
        let mut operation = json!({
            "tags": [noun],
            "summary": what,
            "responses": responses,
            "security": self.scope.map_or_else(Vec::new, security),
        });
        if let Some(scope) = self.scope {
            let door = match self.door {
                true => {
                    " A locked appliance, or one without a seed, answers this too, and there nobody has a key."
                }
                false => "",
            };
            operation["description"] = format!("Needs the scope `{}`.{door}", scope.word()).into();
        }
        if !self.parameters.is_empty() {
            operation["parameters"] = self.parameters.into();
        }
        if !self.bodies.is_empty() {
            // Of two forms one is the door's.
            let required = self.bodies.iter().all(|(need, _)| *need == Need::Must) && !doors_alone;
            let schema = match self.bodies.as_slice() {
                [(_, one)] => json!(one),
                several => json!({ "anyOf": several.iter().map(|(_, schema)| schema).collect::<Vec<_>>() }),
            };
            operation["requestBody"] =
                json!({ "required": required, "content": { "application/json": { "schema": schema } } });
        }
        operation
    }
}

/// Who may: a key, or a person who is logged in, but for what an application asks.
fn security(scope: Scope) -> Vec<Value> {
    let key = json!({ "key": [scope.word()] });
    match scope {
        Scope::Integrate => vec![key],
        _ => vec![key, json!({ "session": [] })],
    }
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("An answer")
}

/// A parameter that is not said is left out; in a query nothing is `null`.
fn not_null(mut schema: Value) -> Value {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            schema["type"] = one;
        }
    }
    if schema.get("default").is_some_and(Value::is_null)
        && let Some(fields) = schema.as_object_mut()
    {
        fields.remove("default");
    }
    if let Some(Value::Array(forms)) = schema.get_mut("anyOf") {
        forms.retain(|form| form["type"] != "null");
        if let [one] = forms.as_slice() {
            return one.clone();
        }
    }
    schema
}

/// How every refusal and failure is told (RFC 9457).
#[derive(JsonSchema, serde::Serialize)]
#[schemars(rename = "Problem")]
struct ProblemBody {
    /// Always `about:blank`: the code says what it is.
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// Stable word for programs.
    code: String,
    /// What happened and what to do, for a person.
    detail: String,
    /// Each thing that is wrong, where there may be several.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<Value>>,
}

/// Whether a request needs its body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It does.
    Must,
    /// It may have one.
    May,
}
