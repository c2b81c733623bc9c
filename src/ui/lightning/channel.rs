//! `/lightning/channels/{id}`: one channel, open or closed.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use http::StatusCode;

use super::story::{Step, steps};
use super::{Said, words};
use crate::ports::ChannelView;
use crate::store::{ChannelRow, OperationRow, StoreError};
use crate::ui::channel_line::ChannelLine;
use crate::ui::figures::{grouped, sats_exact, sats_whole, shortened};
use crate::ui::form::Fields;
use crate::ui::operation_line::OperationLine;
use crate::ui::question::notice;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{fault, html};

/// Operations that are looked through for those of one channel, the newest.
const LOOKED_THROUGH: u32 = 500;

/// A channel as far as it is known: the node has the open ones, the ledger keeps all.
pub(super) struct Found {
    /// As the node has it.
    pub(super) view: Option<ChannelView>,
    /// Its record.
    pub(super) row: Option<ChannelRow>,
}

impl Found {
    /// Looks for the channel that is called `id`, its own id or ours of it.
    pub(super) async fn of(desk: &Desk, id: &str) -> Result<Option<Found>, StoreError> {
        let parts = &desk.op.parts;
        let channels = parts.node.view().await.channels;
        let view = channels.into_iter().find(|view| view.channel_id == id || view.local_id == id);
        let row = match &view {
            Some(view) => parts.ledger.channel_record(&view.local_id).await?,
            None => parts.ledger.channel_called(id).await?,
        };
        Ok((view.is_some() || row.is_some()).then_some(Found { view, row }))
    }
}

/// A form of the page that was refused, and why.
pub(super) struct Refusal {
    /// Which: `splice-in`, `splice-out` or `fees`.
    pub(super) form: &'static str,
    /// Why.
    pub(super) text: String,
    /// The answer's status.
    pub(super) status: StatusCode,
}

/// What only an open channel has.
struct Open {
    line: ChannelLine,
    neither: String,
    returns: Option<String>,
    base: String,
    ppm: String,
    amount_in: String,
    amount_out: String,
    address: String,
    vault: bool,
}

/// What only a closed channel has.
struct Closed {
    why: &'static str,
    owed: String,
    home: bool,
}

#[derive(Template)]
#[template(path = "lightning/channel.html")]
struct Page {
    shell: Shell,
    id: String,
    peer: String,
    peer_short: String,
    channel_id: String,
    size: String,
    outbound: bool,
    announced: bool,
    delay: Option<String>,
    said: Option<&'static str>,
    refusal: Option<Refusal>,
    open: Option<Open>,
    closed: Option<Closed>,
    steps: Vec<Step>,
    moves: Vec<OperationLine>,
}

impl Page {
    /// Why the form of that name was refused.
    fn refused(&self, form: &str) -> Option<&str> {
        self.refusal.as_ref().filter(|refusal| refusal.form == form).map(|refusal| refusal.text.as_str())
    }
}

/// `GET /lightning/channels/{id}`.
pub(super) async fn page(desk: Desk, Path(id): Path<String>, Query(said): Query<Said>) -> Response {
    let said = (said.said == "fees").then_some("The fees are set; the other side learns of them now.");
    match Found::of(&desk, &id).await {
        Ok(Some(found)) => shown(&desk, found, &Fields::default(), None, said).await,
        Ok(None) => unknown(&desk).await,
        Err(error) => fault(&error),
    }
}

/// There is no such channel.
pub(super) async fn unknown(desk: &Desk) -> Response {
    let above = ("/lightning".to_owned(), "Lightning".to_owned());
    let text = "This node has no channel that is called so, and no record of one.";
    notice(desk, Section::Lightning, above, StatusCode::NOT_FOUND, ("No such channel", text)).await
}

/// The page of `found`, with what was typed and why it was refused.
pub(super) async fn shown(
    desk: &Desk,
    found: Found,
    fields: &Fields,
    refusal: Option<Refusal>,
    said: Option<&'static str>,
) -> Response {
    let status = refusal.as_ref().map_or(StatusCode::OK, |refusal| refusal.status);
    match read(desk, found, fields, refusal, said).await {
        Ok(Some(page)) => html(status, &page),
        Ok(None) => unknown(desk).await,
        Err(error) => fault(&error),
    }
}

async fn read(
    desk: &Desk,
    Found { view, row }: Found,
    fields: &Fields,
    refusal: Option<Refusal>,
    said: Option<&'static str>,
) -> Result<Option<Page>, StoreError> {
    let steps = steps(view.as_ref(), row.as_ref());
    let size = view.as_ref().map(|view| view.capacity_sat).or(row.as_ref().map(|row| row.capacity_sat));
    let of = |of_view: fn(&ChannelView) -> String, of_row: fn(&ChannelRow) -> String| {
        view.as_ref().map(of_view).or(row.as_ref().map(of_row))
    };
    let Some(peer) = of(|view| view.peer.clone(), |row| row.peer.clone()) else { return Ok(None) };
    let channel_id = of(|view| view.channel_id.clone(), |row| row.channel_id.clone()).unwrap_or_default();
    let local_id = of(|view| view.local_id.clone(), |row| row.local_id.clone()).unwrap_or_default();
    let moves = moves(desk, &channel_id, &local_id).await?;
    let open = match &view {
        Some(view) => Some(open(desk, view, fields).await),
        None => None,
    };
    Ok(Some(Page {
        shell: desk.shell(Section::Lightning).await,
        id: open.as_ref().map_or_else(|| channel_id.clone(), |open| open.line.id.clone()),
        peer_short: shortened(&peer),
        peer,
        channel_id,
        size: grouped(size.unwrap_or_default()),
        outbound: view.as_ref().map(|view| view.outbound).or(row.as_ref().map(|row| row.outbound))
            == Some(true),
        announced: view.as_ref().map(|view| view.announced).or(row.as_ref().map(|row| row.announced))
            == Some(true),
        delay: view.as_ref().and_then(|view| view.force_close_blocks).map(|blocks| grouped(blocks.into())),
        said,
        refusal,
        open,
        closed: row.as_ref().filter(|_| view.is_none()).map(closed),
        steps,
        moves,
    }))
}

async fn open(desk: &Desk, view: &ChannelView, fields: &Fields) -> Open {
    let parts = &desk.op.parts;
    let both = view.spendable_msat.saturating_add(view.receivable_msat);
    let claims = parts.coins.coins().await.ok().map(|coins| coins.claims);
    let ours = claims.map(|claims| {
        let own = claims.iter().filter(|claim| claim.channel_id == view.channel_id);
        own.map(|claim| claim.amount_sat).sum::<u64>()
    });
    let typed = |name: &str, now: String| fields.optional(name).map_or(now, str::to_owned);
    Open {
        line: ChannelLine::of(view),
        neither: sats_whole(view.capacity_sat.saturating_mul(1_000).saturating_sub(both)),
        returns: ours.filter(|sat| *sat > 0).map(grouped),
        base: typed("base_sat", sats_exact(view.fees.base_msat.into()).replace(',', "")),
        ppm: typed("ppm", view.fees.ppm.to_string()),
        amount_in: fields.text("in_sat").to_owned(),
        amount_out: fields.text("out_sat").to_owned(),
        address: fields.text("address").to_owned(),
        vault: parts.vault.view().is_some(),
    }
}

fn closed(row: &ChannelRow) -> Closed {
    Closed {
        why: words::cause(row.cause.as_deref()),
        owed: grouped(row.owed_sat),
        home: row.returned_height.is_some(),
    }
}

/// The newest moves of coins that asked for this channel, or made it.
async fn moves(desk: &Desk, channel_id: &str, local_id: &str) -> Result<Vec<OperationLine>, StoreError> {
    let rows = desk.op.parts.ledger.operations(i64::MAX, LOOKED_THROUGH).await?;
    let about = |row: &&OperationRow| {
        row.ask["channel_id"] == channel_id
            || row.outcome["channel_id"] == channel_id
            || row.outcome["local_id"] == local_id
    };
    Ok(rows.iter().filter(about).map(OperationLine::of).collect())
}
