//! The form of one route of a service: requests with terms of their own.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;

use super::draft::RouteDraft;
use super::frame::Frame;
use super::saving::{Saving, Unsaved};
use super::terms_draft::TermsDraft;
use super::wrongs::Wrongs;
use super::{STALE, address, changeable, fresh, status};
use crate::catalog::spec::{RouteSpec, Spec, SpecFault};
use crate::request::METHODS;
use crate::storefront::Stocked;
use crate::ui::form::Fields;
use crate::ui::question::{Question, notice};
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::vouched::Vouched;
use crate::ui::{entry, html};

#[derive(Template)]
#[template(path = "services/route.html")]
struct Page<'p> {
    shell: Shell,
    frame: Frame,
    inherits: bool,
    methods: Vec<(String, String, bool)>,
    draft: &'p RouteDraft,
    terms: &'p TermsDraft,
    wrongs: &'p Wrongs,
}

/// Which route of the service: its place in the list, or a new one after all of them.
#[derive(Clone, Copy)]
enum Which {
    New,
    At(usize),
}

/// `GET /services/{name}/routes/new`.
pub(super) async fn new_form(desk: Desk, Path(name): Path<String>) -> Response {
    match changeable(&desk, &name).await {
        Ok(own) => {
            let path = format!("{}/", own.spec.path.as_deref().unwrap_or_default().trim_end_matches('/'));
            let draft = RouteDraft { path, ..RouteDraft::of(&RouteSpec::default()) };
            show(&desk, Which::New.frame(&own), &draft, &Wrongs::none(), StatusCode::OK).await
        }
        Err(response) => response,
    }
}

/// `POST /services/{name}/routes/new`.
pub(super) async fn add(desk: Desk, Path(name): Path<String>, Vouched(fields): Vouched) -> Response {
    match changeable(&desk, &name).await {
        Ok(own) => save(&desk, &own, Which::New, &RouteSpec::default(), &fields).await,
        Err(response) => response,
    }
}

/// `GET /services/{name}/routes/{at}`: the text, where a form cannot show all.
pub(super) async fn form(desk: Desk, Path((name, at)): Path<(String, usize)>) -> Response {
    let own = match changeable(&desk, &name).await {
        Ok(own) => own,
        Err(response) => return response,
    };
    match own.spec.route.get(at) {
        None => entry::unknown("There is no such route, or not any more."),
        Some(route) if !RouteDraft::holds(route) => super::text::odd(&desk, &own).await,
        Some(route) => {
            let draft = RouteDraft::of(route);
            show(&desk, Which::At(at).frame(&own), &draft, &Wrongs::none(), StatusCode::OK).await
        }
    }
}

/// `POST /services/{name}/routes/{at}`.
pub(super) async fn change(
    desk: Desk,
    Path((name, at)): Path<(String, usize)>,
    Vouched(fields): Vouched,
) -> Response {
    let own = match changeable(&desk, &name).await {
        Ok(own) => own,
        Err(response) => return response,
    };
    match own.spec.route.get(at) {
        None => entry::unknown("There is no such route, or not any more."),
        Some(route) => save(&desk, &own, Which::At(at), &route.clone(), &fields).await,
    }
}

/// `POST /services/{name}/routes/{at}/delete`.
pub(super) async fn remove(desk: Desk, Path((name, at)): Path<(String, usize)>, fields: Fields) -> Response {
    let own = match changeable(&desk, &name).await {
        Ok(own) => own,
        Err(response) => return response,
    };
    let Some(route) = own.spec.route.get(at) else {
        return entry::unknown("There is no such route, or not any more.");
    };
    let up = (address(&name), name.clone());
    if !fresh(&own, &fields) {
        let text = format!("Nothing was removed: {STALE}.");
        return notice(&desk, Section::Services, up, StatusCode::CONFLICT, ("Nothing changed", &text)).await;
    }
    let what = route_words(route);
    let mut spec = own.spec.clone();
    spec.route.remove(at);
    let saving = Saving::pressed(spec, &format!("routes/{at}/delete"));
    let mut lines = vec![
        "These requests are then on the terms of a broader route, or of the service.".to_owned(),
        "Tokens that were sold for it alone open nothing any more.".to_owned(),
    ];
    match saving.consequences(&desk).await {
        Ok(told) => lines.extend(told),
        Err(refusal) => return super::change::refused(&desk, &name, &refusal).await,
    }
    let question = Question {
        section: Section::Services,
        above: up,
        title: format!("Remove the route {what}?"),
        lines,
        warning: None,
        action: format!("{}/routes/{at}/delete", address(&name)),
        fields: fields.again(&["seen"]),
        yes: Some("Remove"),
        refusal: None,
    };
    if let Err(response) = question.answered(&desk, &fields).await {
        return response;
    }
    match saving.kept(&desk).await {
        Ok(saved) => saved.back(&name),
        Err(refusal) => super::change::refused(&desk, &name, &refusal).await,
    }
}

/// `GET /v1/rates`.
pub(super) fn route_words(route: &RouteSpec) -> String {
    let path = route.path.as_deref().unwrap_or_default();
    route.method.as_ref().map_or_else(|| path.to_owned(), |method| format!("{method} {path}"))
}

impl Which {
    fn frame(self, own: &Stocked) -> Frame {
        match self {
            Which::New => {
                Frame { is_new: true, ..Frame::of(own, "A route of its own price".to_owned(), "routes/new") }
            }
            Which::At(at) => Frame::of(own, route_words(&own.spec.route[at]), &format!("routes/{at}")),
        }
    }
}

async fn save(desk: &Desk, own: &Stocked, which: Which, base: &RouteSpec, fields: &Fields) -> Response {
    let (frame, draft) = (which.frame(own), RouteDraft::typed(fields));
    if !fresh(own, fields) {
        return show(desk, frame, &draft, &Wrongs::whole(STALE), StatusCode::CONFLICT).await;
    }
    let (route, faults) = draft.route(base);
    let mut spec: Spec = own.spec.clone();
    let at = match which {
        Which::New => {
            spec.route.push(route);
            spec.route.len() - 1
        }
        Which::At(at) => {
            spec.route[at] = route;
            at
        }
    };
    let part = format!("route[{at}]");
    let inside = |fault: SpecFault| SpecFault { field: format!("{part}.{}", fault.field), ..fault };
    let shape = faults.into_iter().map(inside).collect();
    match Saving::typed(&frame, vec![(spec, shape)]).save(desk, fields).await {
        Ok(saved) => saved.back(own.name.as_str()),
        Err(Unsaved::Asked(response)) => response,
        Err(Unsaved::Refused(refusal)) => {
            show(desk, frame, &draft, &Wrongs::of(&refusal, &part, &[]), status(&refusal)).await
        }
    }
}

async fn show(
    desk: &Desk,
    frame: Frame,
    draft: &RouteDraft,
    wrongs: &Wrongs,
    status: StatusCode,
) -> Response {
    let any = (String::new(), "any".to_owned(), draft.method.is_empty());
    let method =
        |method: &http::Method| (method.to_string(), method.to_string(), method.as_str() == draft.method);
    let page = Page {
        frame,
        inherits: true,
        methods: std::iter::once(any).chain(METHODS.iter().map(method)).collect(),
        terms: &draft.terms,
        draft,
        wrongs,
        shell: desk.shell(Section::Services).await,
    };
    html(status, &page)
}
