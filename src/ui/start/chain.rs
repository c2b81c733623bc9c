//! Where blocks come from, and whether that answers now.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::Onward;
use crate::ports::SourceAnswer;
use crate::types::Timestamp;
use crate::ui::figures::grouped;
use crate::ui::lapse::ago;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{fault, html};
use crate::web::Step;

/// One source.
struct Source {
    name: String,
    in_use: bool,
    class: &'static str,
    answer: String,
}

#[derive(Template)]
#[template(path = "start/chain.html")]
struct Page {
    shell: Shell,
    onward: Onward,
    height: String,
    heard: String,
    running: bool,
    sources: Vec<Source>,
    tested: bool,
}

/// `GET /start/chain`.
pub(in crate::ui) async fn page(desk: Desk) -> Response {
    let view = desk.op.parts.chain.chain();
    // The node that does not come up says what it came upon last.
    let waits = desk.op.node_waits_for().await;
    let source = |source: crate::ports::SourceView| {
        let (class, answer) = match (source.answers, waits.as_deref().filter(|_| source.in_use)) {
            (_, Some(why)) => ("bad", format!("At the last try: {why}.")),
            (Some(true), _) => ("good", "It answered when the node asked last.".to_owned()),
            (Some(false), _) => ("bad", "It did not answer when the node asked last.".to_owned()),
            (None, _) => ("", "Not asked yet.".to_owned()),
        };
        Source { name: source.name, in_use: source.in_use, class, answer }
    };
    shown(desk, view.sources.into_iter().map(source).collect(), false).await
}

/// `POST /start/chain`: asks every source now.
pub(in crate::ui) async fn test(desk: Desk) -> Response {
    let source = |asked: SourceAnswer| {
        let (class, answer) = match asked.fault {
            None => ("good", format!("It answers, in {} ms, and is on this network.", asked.took_ms)),
            Some(why) => ("bad", format!("{why}.")),
        };
        Source { name: asked.name, in_use: asked.in_use, class, answer }
    };
    let asked = desk.op.parts.chain.ask().await;
    shown(desk, asked.into_iter().map(source).collect(), true).await
}

async fn shown(desk: Desk, sources: Vec<Source>, tested: bool) -> Response {
    let onward = match Onward::from(&desk, Step::Chain).await {
        Ok(onward) => onward,
        Err(error) => return fault(&error),
    };
    let node = desk.op.parts.node.view().await;
    let now = desk.op.parts.clock.now();
    let heard = match node.synced_at {
        _ if !node.running => {
            "The Lightning node is not up yet: it waits for a source that answers.".to_owned()
        }
        Some(at) => format!("The node heard of it {}.", ago(Timestamp::from_secs(at), now)),
        None => "The node has not read it yet.".to_owned(),
    };
    let shell = desk.shell(Section::Home).await;
    let height = grouped(u64::from(node.block_height));
    html(StatusCode::OK, &Page { shell, onward, height, heard, running: node.running, sources, tested })
}
