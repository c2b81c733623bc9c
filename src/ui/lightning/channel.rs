//! `/lightning/channels/{id}`: one channel, open or closed.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use http::StatusCode;

use super::story::{Step, steps};
use super::{Said, words};
use crate::ports::{ChannelView, UnsentView};
use crate::store::ChannelRow;
use crate::treasury::{KnownChannel, Most, OpenChannel, PendingSplice, SpliceWay, Treasury, TreasuryError};
use crate::ui::alarm::Told;
use crate::ui::channel_line::{ChannelLine, Ending, ours_text};
use crate::ui::figures::{grouped, grouped_in, iso, sats_exact, sats_whole, shortened, typeset, utc};
use crate::ui::form::Fields;
use crate::ui::operation_line::OperationLine;
use crate::ui::question::notice;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{entry, fault, html, live};

/// The channel that is called `id`.
pub(super) async fn find(desk: &Desk, id: &str) -> Result<KnownChannel, Response> {
    match desk.op.parts.treasury.channel(id).await {
        Ok(Some(known)) => Ok(known),
        Ok(None) => Err(unknown(desk).await),
        Err(error) => Err(broken(error)),
    }
}

/// The ledger did not answer.
fn broken(error: TreasuryError) -> Response {
    match error {
        TreasuryError::Store(error) => fault(&error),
        error => {
            tracing::error!(%error, "a channel could not be looked up");
            entry::failure()
        }
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

/// Where an open channel is in its life: what can be done with it hangs on that.
enum Stage {
    /// It waits for its confirmations.
    Opening,
    /// It can be used, as soon as the other node is there.
    Ready,
    /// Its end was asked for.
    Ending(Ending),
}

/// What only an open channel has.
struct Open {
    line: ChannelLine,
    stage: Stage,
    /// Ours that is held back, and of what.
    reserved: (String, String),
    largest: String,
    theirs: String,
    /// In payments, where there are some.
    under_way: Option<String>,
    anchors: Option<String>,
    /// What leaves with a splice.
    leaving: Option<String>,
    /// What is held back while a splice is under way, and may be in payments.
    unsure: Option<String>,
    /// What would be ours if it were closed, and of when that is. `None` while the node cannot be asked.
    returns: Option<(String, String)>,
    /// A new size waits for its confirmations: what it will be, where that is known.
    splicing: Option<String>,
    base: String,
    ppm: String,
    amount_in: String,
    amount_out: String,
    /// The most that can be put in and taken out now, and why it is no more; `None` while nobody can tell.
    most: Option<(String, String)>,
    address: String,
    vault: bool,
    to_vault: bool,
}

/// What only a closed channel has.
struct Closed {
    why: &'static str,
    /// Where what was ours in it is.
    coins: String,
    /// What came back or comes, and whether that is what the wallet got. `None` when nobody saw it.
    back: Option<(String, bool)>,
    /// What closing it took of what was ours.
    fees: Option<String>,
    /// What was ours when it was last seen open, and when that was.
    last: Option<(String, String, String)>,
}

#[derive(Template)]
#[template(path = "lightning/channel.html")]
struct Page {
    shell: Shell,
    id: String,
    peer: String,
    peer_short: String,
    /// What tells it from another one with the same node.
    name: String,
    channel_id: String,
    size: String,
    outbound: bool,
    announced: bool,
    delay: Option<String>,
    said: Option<&'static str>,
    refusal: Option<Refusal>,
    open: Option<Open>,
    closed: Option<Closed>,
    /// Why it is neither of them.
    unseen: Option<Told>,
    /// Why it can never come to be.
    void: Option<Told>,
    /// Why a transaction of it is not on its way.
    unsent: Option<Told>,
    steps: Vec<Step>,
    moves: Vec<OperationLine>,
}

impl Open {
    /// The most that can be put in now, as far as it can be told.
    fn most_in(&self) -> &str {
        self.most.as_ref().map_or("", |(into, _)| into)
    }

    /// The most that can be taken out now, as far as it can be told.
    fn most_out(&self) -> &str {
        self.most.as_ref().map_or("", |(_, out)| out)
    }
}

impl Refusal {
    /// Where it is said again, beside the form.
    fn id(&self) -> &'static str {
        match self.form {
            "splice-in" => "in_sat-refused",
            "splice-out" => "out_sat-refused",
            _ => "base_sat-refused",
        }
    }

    /// The form's first field, where one goes on.
    fn field(&self) -> &'static str {
        match self.form {
            "splice-in" => "in_sat",
            "splice-out" => "out_sat",
            _ => "base_sat",
        }
    }
}

impl Page {
    /// Why its size cannot be changed now; a form that was refused says so itself.
    fn no_splice(&self, open: &Open) -> Option<&'static str> {
        let waits =
            "A change of its size is under way. It can be changed again when that has its confirmations.";
        (self.refusal.is_none() && open.line.splice.is_some()).then_some(waits)
    }

    /// What says so beside the form of that name, where it was refused.
    fn names(&self, form: &str) -> &'static str {
        self.refusal.as_ref().filter(|refusal| refusal.form == form).map_or("", Refusal::id)
    }

    /// Why the form of that name was refused.
    fn refused(&self, form: &str) -> Option<&str> {
        self.refusal.as_ref().filter(|refusal| refusal.form == form).map(|refusal| refusal.text.as_str())
    }
}

/// `GET /lightning/channels/{id}`.
pub(super) async fn page(desk: Desk, Path(id): Path<String>, Query(said): Query<Said>) -> Response {
    let said = (said.said == "fees").then_some("The fees are set; the other side learns of them now.");
    match find(&desk, &id).await {
        Ok(known) => shown(&desk, known, &Fields::default(), None, said).await,
        Err(response) => response,
    }
}

/// There is no such channel.
async fn unknown(desk: &Desk) -> Response {
    let above = ("/lightning".to_owned(), "Lightning".to_owned());
    let text = "This node has no channel that is called so, and no record of one.";
    notice(desk, Section::Lightning, above, StatusCode::NOT_FOUND, ("No such channel", text)).await
}

/// The page of `known`, with what was typed and why it was refused.
pub(super) async fn shown(
    desk: &Desk,
    known: KnownChannel,
    fields: &Fields,
    refusal: Option<Refusal>,
    said: Option<&'static str>,
) -> Response {
    let status = refusal.as_ref().map_or(StatusCode::OK, |refusal| refusal.status);
    match read(desk, known, fields, refusal, said).await {
        Ok(page) => html(status, &page),
        Err(error) => broken(error),
    }
}

async fn read(
    desk: &Desk,
    known: KnownChannel,
    fields: &Fields,
    refusal: Option<Refusal>,
    said: Option<&'static str>,
) -> Result<Page, TreasuryError> {
    let operations = desk.op.parts.treasury.operations_of_channel(&known).await?;
    let channel_id = known.ids().0.to_owned();
    let KnownChannel { open: view, record: row } = known;
    let steps = steps(view.as_ref(), row.as_ref(), &operations);
    let funding = view.as_ref().and_then(|view| view.funding.as_deref());
    let unsent = unsent(desk, funding.or(row.as_ref().and_then(|row| row.funding.as_deref())));
    let void = Treasury::why_void(&operations).map(|why| Told::of(&words::sentence(why)));
    let both = |of_view: fn(&ChannelView) -> bool, of_row: fn(&ChannelRow) -> bool| {
        view.as_ref().map(of_view).or(row.as_ref().map(of_row)) == Some(true)
    };
    let peer = view.as_ref().map(|view| view.peer.clone()).or(row.as_ref().map(|row| row.peer.clone()));
    let peer = peer.unwrap_or_default();
    let size = view.as_ref().map(|view| view.capacity_sat).or(row.as_ref().map(|row| row.capacity_sat));
    let (outbound, announced) =
        (both(|view| view.outbound, |row| row.outbound), both(|view| view.announced, |row| row.announced));
    let ending = Ending::of(&channel_id, &operations);
    let open = match &view {
        Some(view) => {
            let standing = desk.op.parts.treasury.standing(std::slice::from_ref(view)).await?;
            match standing.into_iter().next() {
                Some(standing) => Some(open(desk, &standing, ending, fields).await),
                None => None,
            }
        }
        None => None,
    };
    Ok(Page {
        shell: desk.shell(Section::Lightning).await,
        id: open.as_ref().map_or_else(|| channel_id.clone(), |open| open.line.id.clone()),
        peer_short: shortened(&peer),
        peer,
        name: shortened(&channel_id),
        channel_id,
        size: grouped(size.unwrap_or_default()),
        outbound,
        announced,
        delay: view.as_ref().and_then(|view| view.force_close_blocks).map(|blocks| grouped(blocks.into())),
        said,
        refusal,
        open,
        closed: row
            .as_ref()
            .filter(|row| view.is_none() && row.closed_at.is_some())
            .map(|row| closed(row, unsent.is_some())),
        unseen: match (&view, row.as_ref().and_then(|row| row.closed_at)) {
            (None, None) => Some(unseen(desk).await),
            _ => None,
        },
        void,
        unsent,
        steps,
        moves: operations.iter().map(OperationLine::of).collect(),
    })
}

async fn open(desk: &Desk, channel: &OpenChannel, ending: Option<Ending>, fields: &Fields) -> Open {
    let (parts, view) = (&desk.op.parts, &channel.view);
    let claims = parts.treasury.coins().await.ok().map(|coins| coins.claims);
    let ours = claims.and_then(|claims| {
        let own = claims.iter().filter(|claim| claim.channel_id == view.channel_id);
        own.map(|claim| claim.amount_sat).reduce(u64::saturating_add)
    });
    let typed = |name: &str, now: String| fields.optional(name).map_or(now, str::to_owned);
    let some = |sat: u64| (sat > 0).then(|| grouped(sat));
    let most = match channel.splice {
        Some(_) => None,
        None => parts.treasury.most_spliced(view).await.ok(),
    };
    let told = |most: &Most| typeset(&grouped_in(&most.sentence()));
    let agreed = channel.splice.as_ref().filter(|splice| splice.txid.is_some());
    Open {
        reserved: ours_text(channel),
        largest: sats_whole(view.largest_receivable_msat),
        theirs: grouped(channel.held.theirs_sat),
        under_way: some(channel.held.under_way_sat),
        unsure: some(channel.held.unsure_sat),
        anchors: some(channel.held.anchors_sat),
        leaving: some(channel.held.splicing_sat),
        returns: returns(channel, ours),
        splicing: agreed.map(|splice| after(splice, view.capacity_sat)),
        line: ChannelLine::ending(channel, ending),
        stage: match ending {
            Some(ending) => Stage::Ending(ending),
            None if view.ready => Stage::Ready,
            None => Stage::Opening,
        },
        base: typed("base_sat", sats_exact(view.fees.base_msat.into()).replace(',', "")),
        ppm: typed("ppm", view.fees.ppm.to_string()),
        amount_in: fields.text("in_sat").to_owned(),
        amount_out: fields.text("out_sat").to_owned(),
        most: most.map(|(into, out)| (told(&into), told(&out))),
        address: fields.text("address").to_owned(),
        vault: parts.vault.view().is_some(),
        to_vault: fields.ticked("to_vault"),
    }
}

/// What would be ours if the channel were closed, and of when that is: with a splice under way two sums, for either may
/// come true.
fn returns(channel: &OpenChannel, ours: Option<u64>) -> Option<(String, String)> {
    let splice = channel.splice.as_ref().filter(|splice| splice.txid.is_some());
    match splice.map(|splice| (splice.before_sat, splice.after_sat_about)) {
        Some((Some(before), Some(after))) => {
            let sums =
                format!("about {} sat once the splice is confirmed; {} sat", grouped(after), grouped(before));
            Some((sums, "before it".to_owned()))
        }
        Some((None, Some(after))) => Some((format!("{} sat", grouped(after)), "with the splice".to_owned())),
        _ if ours.is_none() => {
            let most = (channel.view.spendable_msat / 1_000).saturating_add(channel.held.ours_sat);
            (most > 0).then(|| {
                let why = "before the fee of its closing transaction; the node cannot say more now";
                (format!("at most {} sat", grouped(most)), why.to_owned())
            })
        }
        _ => ours.map(|ours| {
            let fee = closing_fee(channel, ours);
            let less = fee.map(|fee| {
                format!("after {} sat for its closing transaction, if that is by force", grouped(fee))
            });
            (format!("{} sat", grouped(ours)), less.unwrap_or_default())
        }),
    }
}

/// What of our side the closing transaction would take now, where we pay it and nothing else moves.
fn closing_fee(channel: &OpenChannel, ours: u64) -> Option<u64> {
    let still = channel.view.outbound && channel.held.under_way_sat == 0 && channel.splice.is_none();
    let side = (channel.view.spendable_msat / 1_000).saturating_add(channel.held.ours_sat);
    // A part of a satoshi is no fee.
    side.checked_sub(ours).filter(|fee| still && *fee > 1)
}

/// How the channel's size goes on, behind what it is.
fn after(splice: &PendingSplice, capacity_sat: u64) -> String {
    match splice.capacity_after_about(capacity_sat) {
        Some(after) if splice.way == SpliceWay::In => format!("; then {} sat", grouped(after)),
        Some(after) => format!("; then about {} sat", grouped(after)),
        None => String::new(),
    }
}

/// Why a transaction that funds, changes or closes the channel with this funding output is not on its way.
fn unsent(desk: &Desk, funding: Option<&str>) -> Option<Told> {
    let (txid, _) = funding?.split_once(':')?;
    let of_it =
        |one: &UnsentView| one.txid == txid || one.spends.iter().any(|spent| Some(spent.as_str()) == funding);
    let waits = desk.op.parts.chain.chain().unsent.into_iter().find(of_it)?;
    let UnsentView { txid, why, .. } = waits;
    Some(Told::of(&format!(
        "Its transaction {txid} is signed, and no chain source took it yet: {why}. It is handed over again and again."
    )))
}

/// Why a channel that was not told to be closed is not among the open ones.
async fn unseen(desk: &Desk) -> Told {
    if desk.op.parts.node.view().await.running {
        return Told::of("It is not among the open channels any more. Why, the node will say in a moment.");
    }
    Told::of(&live::away(&desk.op).await)
}

fn closed(row: &ChannelRow, unsent: bool) -> Closed {
    Closed {
        why: words::cause(row.cause.as_deref()),
        // Nothing is on its way while no chain source has the closing transaction.
        coins: match unsent && row.returned_height.is_none() {
            true => {
                "What was yours in it comes to the on-chain wallet after its closing transaction.".to_owned()
            }
            false => words::coins_of(row),
        },
        back: row.back_sat().map(|(_, exactly)| (words::back(row), exactly)),
        fees: fees(row),
        last: row.last_sat.zip(row.last_at).map(|(sat, at)| (grouped(sat), iso(at), utc(at))),
    }
}

/// What closing it took of what was ours: all of it, where what was ours before it is known; else what the contract owed
/// and did not come.
fn fees(row: &ChannelRow) -> Option<String> {
    let owed = row.owed_sat.zip(row.came_sat).and_then(|(owed, came)| owed.checked_sub(came));
    let known = row.closing_cost_msat.or(owed.and_then(|sat| sat.checked_mul(1_000)));
    known.filter(|msat| *msat > 0 && row.lost_sat.is_none()).map(sats_exact)
}
