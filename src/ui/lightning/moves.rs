//! What can be done with one channel: other fees, another size, its end.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::channel::{Refusal, find, shown};
use super::decimal::scaled;
use crate::ports::{ChannelView, ForwardingFees};
use crate::treasury::Deed;
use crate::ui::figures::{grouped, grouped_in, quoted, sats_whole, shortened, typeset};
use crate::ui::form::Fields;
use crate::ui::html;
use crate::ui::lapse::wait;
use crate::ui::question::{Errand, notice};
use crate::ui::shell::{Desk, Section, Shell};
use crate::web::Problem;

/// An open channel that a form is about.
struct Subject {
    desk: Desk,
    view: ChannelView,
    /// Where its page is.
    path: String,
}

impl Subject {
    async fn of(desk: Desk, id: &str) -> Result<Subject, Response> {
        let known = find(&desk, id).await?;
        let Some(view) = known.open.clone() else {
            // Its page says what became of it.
            return Err(shown(&desk, known, &Fields::default(), None, None).await);
        };
        let id = if view.ready { &view.channel_id } else { &view.local_id };
        let path = format!("/lightning/channels/{id}");
        Ok(Subject { desk, view, path })
    }

    fn name(&self) -> String {
        format!("Channel with {}", shortened(&self.view.peer))
    }

    fn errand(&self, step: &str, title: String, yes: &'static str, deed: Deed) -> Errand {
        Errand {
            section: Section::Lightning,
            above: (self.path.clone(), self.name()),
            title,
            yes,
            action: format!("{}/{step}", self.path),
            fields: Vec::new(),
            deed,
        }
    }

    /// Its page again, with why the form was refused.
    async fn again(self, form: &'static str, fields: &Fields, problem: Problem) -> Response {
        let refusal = Refusal { form, text: quoted(&problem.detail), status: problem.status };
        match find(&self.desk, &self.view.local_id).await {
            Ok(known) => shown(&self.desk, known, fields, Some(refusal), None).await,
            Err(response) => response,
        }
    }
}

fn mistake(text: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_form", text)
}

/// `POST /lightning/channels/{id}/fees`.
pub(super) async fn fees(desk: Desk, Path(id): Path<String>, fields: Fields) -> Response {
    let subject = match Subject::of(desk, &id).await {
        Ok(subject) => subject,
        Err(response) => return response,
    };
    let set = match read_fees(&fields) {
        Ok(fees) => {
            subject.desk.op.parts.peers.set_fees(&subject.view.channel_id, fees).await.map_err(|fault| {
                tracing::warn!(%fault, "a channel's fees could not be set");
                mistake(format!("The node refused, and the fees stay as they were: {fault}."))
            })
        }
        Err(text) => Err(mistake(text)),
    };
    match set {
        Ok(()) => Redirect::to(&format!("{}?said=fees", subject.path)).into_response(),
        Err(problem) => subject.again("fees", &fields, problem).await,
    }
}

fn read_fees(fields: &Fields) -> Result<ForwardingFees, String> {
    let base = fields.text("base_sat");
    let base_msat = scaled(base, 3).and_then(|msat| u32::try_from(msat).ok()).ok_or_else(|| {
        format!(
            "The fee for each payment must be a number of sat, with at most three decimals, not “{base}”."
        )
    })?;
    let ppm = fields.number("ppm", "The part of what is forwarded")?;
    let ppm = u32::try_from(ppm).map_err(|_| "The part of what is forwarded is too large.".to_owned())?;
    Ok(ForwardingFees { base_msat, ppm })
}

/// `POST /lightning/channels/{id}/splice-in`.
pub(super) async fn splice_in(desk: Desk, Path(id): Path<String>, fields: Fields) -> Response {
    let subject = match Subject::of(desk, &id).await {
        Ok(subject) => subject,
        Err(response) => return response,
    };
    let done = match fields.number("in_sat", "The amount") {
        Ok(amount_sat) => {
            let title = format!("Put {} sat into this channel?", grouped(amount_sat));
            let deed = Deed::SpliceIn { channel_id: subject.view.channel_id.clone(), amount_sat };
            let errand = subject.errand("splice-in", title, "Put them in", deed);
            Errand { fields: fields.again(&["in_sat"]), ..errand }.run(&subject.desk, &fields).await
        }
        Err(text) => Err(mistake(text)),
    };
    match done {
        Ok(response) => response,
        Err(problem) => subject.again("splice-in", &fields, problem).await,
    }
}

/// `POST /lightning/channels/{id}/splice-out`.
pub(super) async fn splice_out(desk: Desk, Path(id): Path<String>, fields: Fields) -> Response {
    let subject = match Subject::of(desk, &id).await {
        Ok(subject) => subject,
        Err(response) => return response,
    };
    let done = match read_out(&fields) {
        Ok((address, amount_sat)) => {
            let title = format!("Take {} sat out of this channel?", grouped(amount_sat));
            let channel_id = subject.view.channel_id.clone();
            let deed = Deed::SpliceOut { channel_id, address, amount_sat };
            let errand = subject.errand("splice-out", title, "Take them out", deed);
            let fields_again = fields.again(&["out_sat", "address", "to_vault"]);
            Errand { fields: fields_again, ..errand }.run(&subject.desk, &fields).await
        }
        Err(text) => Err(mistake(text)),
    };
    match done {
        Ok(response) => response,
        Err(problem) => subject.again("splice-out", &fields, problem).await,
    }
}

fn read_out(fields: &Fields) -> Result<(String, u64), String> {
    let amount_sat = fields.number("out_sat", "The amount")?;
    match (fields.ticked("to_vault"), fields.optional("address")) {
        (true, None) => Ok((Deed::VAULT.to_owned(), amount_sat)),
        (true, Some(_)) => Err("Say an address, or tick the vault; not both.".to_owned()),
        (false, Some(address)) => Ok((address.to_owned(), amount_sat)),
        (false, None) => Ok((Deed::WALLET.to_owned(), amount_sat)),
    }
}

/// `POST /lightning/channels/{id}/close`: asks, then closes by agreement.
pub(super) async fn close(desk: Desk, Path(id): Path<String>, fields: Fields) -> Response {
    let subject = match Subject::of(desk, &id).await {
        Ok(subject) => subject,
        Err(response) => return response,
    };
    let deed = Deed::CloseChannel { channel_id: subject.view.channel_id.clone() };
    end(
        &subject,
        subject.errand("close", "Close this channel?".to_owned(), "Close the channel", deed),
        &fields,
    )
    .await
}

async fn end(subject: &Subject, errand: Errand, fields: &Fields) -> Response {
    match errand.run(&subject.desk, fields).await {
        Ok(response) => response,
        Err(problem) => {
            let above = (subject.path.clone(), subject.name());
            let said = ("The channel was not closed", problem.detail.as_str());
            notice(&subject.desk, Section::Lightning, above, problem.status, said).await
        }
    }
}

#[derive(Template)]
#[template(path = "lightning/force.html")]
struct BeforeForce {
    shell: Shell,
    path: String,
    name: String,
    usable: bool,
    receivable: String,
    delay: String,
    wait: String,
    /// What it gives back and costs, as far as that can be told.
    lines: Vec<String>,
    refusal: Option<&'static str>,
}

/// LDK asks for this many when the other side does not say.
const USUAL_DELAY: u16 = 144;

/// `GET /lightning/channels/{id}/force-close`: what it means, and what to try first.
pub(super) async fn before_force(desk: Desk, Path(id): Path<String>) -> Response {
    match Subject::of(desk, &id).await {
        Ok(subject) => first_question(&subject, StatusCode::OK, None).await,
        Err(response) => response,
    }
}

async fn first_question(subject: &Subject, status: StatusCode, refusal: Option<&'static str>) -> Response {
    let blocks = u32::from(subject.view.force_close_blocks.unwrap_or(USUAL_DELAY));
    let deed = Deed::ForceCloseChannel { channel_id: subject.view.channel_id.clone() };
    // The same sums as on the page after it; without them it says what is sure.
    let preview = subject.desk.op.parts.treasury.preview(&deed).await.ok();
    let lines = preview.map(|preview| preview.lines.iter().map(|line| typeset(&grouped_in(line))).collect());
    let page = BeforeForce {
        shell: subject.desk.shell(Section::Lightning).await,
        path: subject.path.clone(),
        name: subject.name(),
        usable: subject.view.usable,
        receivable: sats_whole(subject.view.receivable_msat),
        delay: grouped(blocks.into()),
        wait: wait(blocks),
        lines: lines.unwrap_or_default(),
        refusal,
    };
    html(status, &page)
}

/// `POST /lightning/channels/{id}/force-close`: asks a second time, then closes by force.
pub(super) async fn force(desk: Desk, Path(id): Path<String>, fields: Fields) -> Response {
    let subject = match Subject::of(desk, &id).await {
        Ok(subject) => subject,
        Err(response) => return response,
    };
    if !fields.ticked("sure") {
        let refusal = "Nothing was done: tick the box when closing by agreement is not possible.";
        return first_question(&subject, StatusCode::BAD_REQUEST, Some(refusal)).await;
    }
    let deed = Deed::ForceCloseChannel { channel_id: subject.view.channel_id.clone() };
    let title = "Close this channel by force?".to_owned();
    let errand = subject.errand("force-close", title, "Close by force", deed);
    end(&subject, Errand { fields: fields.again(&["sure"]), ..errand }, &fields).await
}
