//! Each kind of event, in a sentence for a person.
//!
//! Reasons and names may be an outsider's words: they are text here, and the template escapes them.

use serde_json::Value;

use super::codes::{self, plain};
use super::prices;
use crate::event::Event;
use crate::store::{CUT_OFF, ChannelRow, OperationRow, OperationState};
use crate::treasury::Moved;
use crate::types::{Kind, Msat, PaymentHash, Severity, Timestamp};
use crate::ui::figures::{back, counted, grouped, grouped_in, sats_exact, shortened, utc};
use crate::ui::operation_line::OperationLine;
use crate::ui::reasons::unpaid;

/// An event in words.
pub(super) struct Told {
    /// What happened.
    pub(super) what: String,
    /// More of it.
    pub(super) more: Option<String>,
    /// Where more about it is.
    pub(super) href: Option<String>,
    /// `good`, `bad` or nothing, for its dot.
    pub(super) dot: &'static str,
    /// What came or went, with its sign, satoshi.
    pub(super) amount: Option<String>,
}

impl Told {
    fn new(what: impl Into<String>) -> Told {
        Told { what: grouped_in(&what.into()), more: None, href: None, dot: "", amount: None }
    }

    fn more(self, more: impl Into<String>) -> Told {
        // Reasons are told as they were noted, and those are for programs, too.
        Told { more: Some(grouped_in(&more.into())).filter(|more| !more.is_empty()), ..self }
    }

    fn at(self, href: impl Into<String>) -> Told {
        Told { href: Some(href.into()), ..self }
    }

    fn of_payment(self, hash: &PaymentHash) -> Told {
        self.at(format!("/payments/{}", hash.to_hex()))
    }

    fn of_channel(self, id: &str) -> Told {
        self.at(format!("/lightning/channels/{id}"))
    }

    fn good(self) -> Told {
        Told { dot: "good", ..self }
    }

    fn bad(self) -> Told {
        Told { dot: "bad", ..self }
    }

    fn came(self, msat: Msat) -> Told {
        Told { amount: Some(format!("+{}", sats_exact(msat.msat()))), ..self }
    }

    fn went(self, msat: Msat) -> Told {
        Told { amount: Some(format!("−{}", sats_exact(msat.msat()))), ..self }
    }

    /// Of an event of a move of coins that asked for `ask`.
    pub(super) fn of_move(event: &Event, ask: &Value) -> Told {
        match event {
            Event::OperationChanged { operation, what, state, outcome } => {
                changed((*operation, what), state, ask, outcome)
            }
            event => Told::of(event),
        }
    }

    /// Of a channel that was ready before: a splice of it is over.
    pub(super) fn resized(channel_id: &str, peer: &str) -> Told {
        Told::new("Channel has its new size").more(with(peer, channel_id)).of_channel(channel_id).good()
    }

    /// Of a channel that closed, when so much of it came back or comes: exactly, or about.
    pub(super) fn returning(self, back_sat: Option<(u64, bool)>) -> Told {
        let Some((sat, exactly)) = back_sat.filter(|(sat, _)| *sat > 0) else { return self };
        let more = self.more.clone().unwrap_or_default();
        let what = if exactly {
            "of it came back"
        } else {
            "of it are yours by its contract; closing it may cost more"
        };
        self.more(format!("{more}; {} {what}", back((sat, exactly))))
    }

    /// Of a channel that closed, with what that cost: the fee of its closing transaction as far as it was ours, and its
    /// sweep's. That it is not known is said once what came back is.
    pub(super) fn costing(self, record: &ChannelRow) -> Told {
        let more = self.more.clone().unwrap_or_default();
        match record.closing_cost_msat {
            Some(0) => self,
            Some(msat) => {
                let amount = Some(format!("−{}", sats_exact(msat)));
                Told { amount, ..self.more(format!("{more}; closing it cost {} sat", sats_exact(msat))) }
            }
            None if record.came_sat.is_some_and(|sat| sat > 0) => {
                self.more(format!("{more}; what closing it cost is not known"))
            }
            None => self,
        }
    }

    /// Of `event`.
    pub(super) fn of(event: &Event) -> Told {
        sold(event).or_else(|| moved(event)).unwrap_or_else(|| kept(event))
    }
}

/// What customers paid and got.
fn sold(event: &Event) -> Option<Told> {
    Some(match event {
        Event::PaymentReceived {
            payment_hash,
            amount_msat,
            service,
            route,
            over_msat,
            opening_fee_msat,
            late,
        } => {
            let mut more = Vec::new();
            if let Some(service) = service {
                more.push(match route {
                    Some(route) if route != service => format!("for {service} / {route}"),
                    _ => format!("for {service}"),
                });
            }
            if *over_msat > Msat::ZERO {
                more.push(format!("{} sat more than asked for", sats_exact(over_msat.msat())));
            }
            if *opening_fee_msat > Msat::ZERO {
                more.push(format!(
                    "{} sat of it for the channel that was opened",
                    sats_exact(opening_fee_msat.msat())
                ));
            }
            if *late {
                more.push("after its invoice had expired".to_owned());
            }
            Told::new("Payment received")
                .more(more.join(", "))
                .of_payment(payment_hash)
                .good()
                .came(*amount_msat)
        }
        Event::PossibleSurplus { payment_hash, amount_msat } => Told::new("Perhaps paid twice")
            .more("not counted as revenue")
            .of_payment(payment_hash)
            .came(*amount_msat),
        Event::SaleAttributed { payment_hash, service, route, .. } => {
            Told::new("Sale known").more(format!("{service} / {route}")).of_payment(payment_hash)
        }
        Event::GrantExhausted { payment_hash, service, offer, left } => Told::new("Token used up")
            .more(match (offer, *left) {
                (_, 0) => service.to_string(),
                (Kind::Balance | Kind::Granted, left) => format!("{service}, {} sat left", sats_exact(left)),
                (_, left) => format!("{service}, {} left", counted(left, "request")),
            })
            .of_payment(payment_hash),
        Event::TokenGranted { payment_hash, service, label, budget_msat, .. } => Told::new("Token granted")
            .more(format!("“{label}” for {service}, {} sat", sats_exact(budget_msat.msat())))
            .of_payment(payment_hash),
        Event::UnitRestored { payment_hash, service, reason } => Told::new("Request given back")
            .more(format!("{service}: {}", codes::given_back(reason)))
            .of_payment(payment_hash),
        Event::CrashRestored { payment_hash, restored: true } => {
            Told::new("Request given back after a crash").of_payment(payment_hash)
        }
        Event::CrashRestored { payment_hash, restored: false } => {
            Told::new("Request charged after a second crash").of_payment(payment_hash)
        }
        Event::UnitsExpired { payment_hash, .. } => {
            Told::new("What was left of a token ran out").of_payment(payment_hash)
        }
        Event::TokenRevoked { payment_hash, .. } => Told::new("Token revoked").of_payment(payment_hash),
        Event::TokenDoubted { payment_hash, service } => Told::new("Token refused after a restore")
            .more(format!("{service}, until you honour it"))
            .of_payment(payment_hash)
            .bad(),
        Event::TokenHonoured { payment_hash } => Told::new("Token honoured").of_payment(payment_hash),
        Event::AllTokensHonoured { .. } => Told::new("All tokens from before the restore honoured"),
        _ => return None,
    })
}

/// Coins, channels and payouts.
fn moved(event: &Event) -> Option<Told> {
    Some(match event {
        Event::PaymentSent { amount_msat, fee_msat, payment_hash } => {
            let both = amount_msat.checked_add(*fee_msat).unwrap_or(*amount_msat);
            let fee = format!(
                "{} with {} sat of fees",
                shortened(&payment_hash.to_hex()),
                sats_exact(fee_msat.msat())
            );
            Told::new("Paid over Lightning").more(fee).good().went(both)
        }
        Event::UnknownPaymentSent { fee_msat, payment_hash } => Told::new("Paid, and not asked for here")
            .more(format!(
                "{}; routing cost {} sat, and how much was paid is not known here",
                shortened(&payment_hash.to_hex()),
                sats_exact(fee_msat.msat())
            ))
            .bad(),
        Event::PaymentFailed { reason, .. } => {
            let what = match reason.as_str() {
                CUT_OFF => "A payment of yours was cut off; it may have left",
                _ => "A payment of yours failed; nothing was moved",
            };
            Told::new(what).more(unpaid(reason)).bad()
        }
        Event::RuleRan { rule, operation, why } => Told::new(format!("Rule “{}” acted", codes::rule(rule)))
            .more(plain(why))
            .at(format!("/operations/{operation}")),
        Event::RuleRested { rule, why, .. } => {
            Told::new(format!("Rule “{}” waits", codes::rule(rule))).more(plain(why)).at("/lightning/rules")
        }
        Event::PayoutsReleased => Told::new("Payouts released after a restore"),
        Event::OperationBegun { operation, what, ask } => {
            let line = operation_line(*operation, what, ask, &Value::Null, OperationState::Intended);
            Told::new(line.title).more("asked for").at(format!("/operations/{operation}"))
        }
        Event::OperationChanged { operation, what, state, outcome } => {
            changed((*operation, what), state, &Value::Null, outcome)
        }
        Event::VaultSet { .. } => Told::new("Vault set").at("/coins/vault"),
        Event::VaultRemoved { .. } => Told::new("Vault watched no more").at("/coins/vault"),
        Event::VaultAddressGiven { index, address, .. } => {
            Told::new(format!("Address {} of the vault handed out", grouped((*index).into())))
                .more(address.clone())
                .at("/coins/vault")
        }
        Event::VaultMoved { txid, received_sat, sent_sat, height } => {
            let when = match height {
                Some(height) => format!("block {}", grouped((*height).into())),
                None => "waits for a block".to_owned(),
            };
            let came = sent_sat <= received_sat;
            let told = Told::new(if came { "Coins came to the vault" } else { "Coins left the vault" })
                .more(format!("{}, {when}", shortened(txid)))
                .at("/coins/vault");
            let (sign, sat) = match came {
                true => ("+", received_sat - sent_sat),
                false => ("−", sent_sat - received_sat),
            };
            Told { amount: Some(format!("{sign}{}", grouped(sat))), ..told }
        }
        Event::ChannelOrderChanged { state, receivable_sat, .. } => Told::new("Ordered channel")
            .more(format!("{} sat to receive, {}", grouped(*receivable_sat), codes::order(state)))
            .at("/lightning/inbound"),
        Event::ChannelPending { channel_id, peer } => {
            Told::new("Channel waits for confirmations").more(with(peer, channel_id)).of_channel(channel_id)
        }
        Event::ChannelReady { channel_id, peer } => {
            Told::new("Channel ready").more(with(peer, channel_id)).of_channel(channel_id).good()
        }
        Event::ChannelClosed { channel_id, peer, cause, reason, .. } => {
            let why = if cause.is_empty() { plain(reason) } else { codes::closed(cause) };
            Told::new("Channel closed")
                .more(format!("{}, {why}", with(peer, channel_id)))
                .of_channel(channel_id)
        }
        Event::ChannelCoinsHome { channel_id, peer, amount_sat, exactly } => {
            let told = Told::new("Coins of a closed channel came home")
                .more(format!("{}, {}", back((*amount_sat, *exactly)), with(peer, channel_id)))
                .of_channel(channel_id)
                .good();
            Told { amount: exactly.then(|| grouped(*amount_sat)), ..told }
        }
        Event::CloseFeePaid { channel_id, peer, fee_sat, height, .. } => {
            let why = "from the on-chain wallet, so that the close gets into a block";
            let told = Told::new("Fee paid to close a channel by force")
                .more(format!("{why}; {}, block {}", with(peer, channel_id), grouped((*height).into())))
                .of_channel(channel_id);
            Told { amount: Some(format!("−{}", grouped(*fee_sat))), ..told }
        }
        Event::CoinsArrived { txid, amount_sat, height } => {
            let told = Told::new("Coins arrived on-chain")
                .more(format!("{}, block {}", shortened(txid), grouped((*height).into())))
                .at("/coins")
                .good();
            Told { amount: Some(format!("+{}", grouped(*amount_sat))), ..told }
        }
        Event::SplicePending { channel_id, .. } => Told::new("A channel’s new size waits for confirmations")
            .more(format!("channel {}", shortened(channel_id)))
            .of_channel(channel_id),
        Event::SpliceFailed { channel_id } => Told::new("A channel stays as it was")
            .more(format!("channel {}", shortened(channel_id)))
            .of_channel(channel_id)
            .bad(),
        _ => return None,
    })
}

/// Services, keys, copies, alarms, the program.
fn kept(event: &Event) -> Told {
    match event {
        Event::ServiceChanged { service, before, after } => {
            let what = match (before, after) {
                (None, _) => "Service added",
                (_, None) => "Service removed",
                _ => "Service changed",
            };
            let more = match (before, after) {
                (Some(before), Some(after)) => format!("{service}: {}", prices::changed(before, after)),
                (None, Some(after)) => match prices::at_first(after) {
                    Some(price) => format!("{service}: {price}"),
                    None => service.to_string(),
                },
                (_, None) => service.to_string(),
            };
            let href = match after {
                Some(_) => format!("/services/{service}"),
                None => "/services".to_owned(),
            };
            Told::new(what).more(more).at(href)
        }
        Event::EpochBegun { epoch } => Told::new("New token key").more(format!("number {epoch}")),
        Event::EpochRetired { epoch, tokens, unearned_msat } => {
            Told::new("Token key destroyed").more(format!(
                "number {epoch}, {} that were still good, {} sat unearned",
                counted(*tokens, "token"),
                sats_exact(*unearned_msat)
            ))
        }
        Event::GenerationBegun { why, .. } => {
            let told =
                Told::new("Another life of the ledger began").more(codes::another_life(why)).at("/backup");
            if why == "first" { told } else { told.bad() }
        }
        Event::BackupMade { file, .. } => Told::new("Backup made").more(file.clone()).at("/backup").good(),
        Event::BackupFailed { reason } => {
            Told::new("No backup could be made").more(plain(reason)).at("/backup").bad()
        }
        Event::ChainSourceChanged { source, position } => Told::new("Chain source changed")
            .more(if *position == 0 { format!("{source}, the preferred one") } else { source.clone() })
            .at("/system"),
        Event::AlarmRaised { text, severity, .. } => {
            let told = Told::new("Alarm").more(plain(text)).at("/system");
            if *severity == Severity::Info { told } else { told.bad() }
        }
        Event::AlarmChanged { text, .. } => Told::new("Alarm changed").more(plain(text)).at("/system"),
        Event::AlarmCleared { code, .. } => {
            Told::new("Alarm over").more(codes::alarm(code)).at("/system").good()
        }
        Event::BooksAudited { ok: true, .. } => Told::new("Books audited").more("they are right").good(),
        Event::BooksAudited { ok: false, mismatches } => {
            Told::new("Books audited").more(plain(&mismatches.join("; "))).bad()
        }
        Event::SeedWordsShown => Told::new("The seed’s words were shown").at("/backup"),
        Event::SeedVerified => Told::new("The seed’s words were checked").at("/backup").good(),
        Event::PasswordSet => Told::new("The operator’s password was set").at("/system/password"),
        Event::KeyMade { label, scopes, expires_at, .. } => {
            let ends = expires_at.map(|at| format!(", until {}", utc(at))).unwrap_or_default();
            Told::new("Key made")
                .more(format!("“{label}”, for {}{ends}", codes::scopes(scopes)))
                .at("/integrations")
        }
        Event::KeyRevoked { label, .. } => {
            Told::new("Key revoked").more(format!("“{label}”")).at("/integrations")
        }
        Event::WebhookAdded { webhook, label, host } => Told::new("Webhook added")
            .more(named(label, host))
            .at(format!("/integrations/webhooks/{webhook}")),
        Event::WebhookRemoved { label, host, .. } => {
            Told::new("Webhook removed").more(named(label, host)).at("/integrations")
        }
        Event::PasswordChanged => Told::new("The operator’s password was changed").at("/system"),
        Event::PassphraseChanged => Told::new("The seed’s passphrase was changed").at("/backup"),
        Event::Started { version, clean } => {
            let told = Told::new("Tollhouse started");
            match clean {
                true => told.more(version.clone()),
                false => told.more(format!("{version}, after a stop that was not orderly")).bad(),
            }
        }
        Event::Stopped => Told::new("Tollhouse stopped"),
        // The other two lists have every other kind.
        _ => Told::new("Something happened that this page has no words for"),
    }
}

/// How a move of coins stands.
fn changed((operation, what): (i64, &str), state: &str, ask: &Value, outcome: &Value) -> Told {
    let states =
        [OperationState::Sent, OperationState::Done, OperationState::Failed, OperationState::Unclear];
    let state = states.into_iter().find(|known| known.word() == state).unwrap_or(OperationState::Intended);
    let line = operation_line(operation, what, ask, outcome, state);
    let more = match outcome["reason"].as_str() {
        Some(reason) => format!("{}: {}", line.state.to_lowercase(), plain(reason)),
        None => line.state.to_lowercase(),
    };
    let moved = sums(what, state, ask, outcome);
    let more = if moved.to_own { format!("{more}, to an address of your own wallet") } else { more };
    let more = match moved.fee_sat {
        Some(fee) => format!("{more}; its fee was {} sat", grouped(fee)),
        None => more,
    };
    let gone = moved.gone_sat.map(|sat| format!("−{}", grouped(sat)));
    Told {
        dot: line.dot,
        amount: moved.kept_sat.map(grouped).or(gone),
        ..Told::new(line.title).more(more).at(format!("/operations/{operation}"))
    }
}

/// What a move took from the wallet or a channel, once it is in a transaction: with a sign what left for good, without
/// one what only changed its place.
fn sums(what: &str, state: OperationState, ask: &Value, outcome: &Value) -> Moved {
    let known = ["txid", "funding"].iter().any(|fact| outcome[fact].is_string());
    let gone = state == OperationState::Done || state == OperationState::Sent && known;
    if gone { Moved::of(what, ask, outcome) } else { Moved::default() }
}

fn operation_line(id: i64, what: &str, ask: &Value, outcome: &Value, state: OperationState) -> OperationLine {
    OperationLine::of(&OperationRow {
        id,
        key: String::new(),
        kind: what.to_owned(),
        ask: ask.clone(),
        state,
        outcome: outcome.clone(),
        begun_at: Timestamp::default(),
        ended_at: None,
    })
}

/// A channel by its other node, and by what tells it from another one with that node.
fn with(peer: &str, channel_id: &str) -> String {
    format!("with {}, channel {}", shortened(peer), shortened(channel_id))
}

/// An endpoint by its label, where it has one, and its host.
fn named(label: &str, host: &str) -> String {
    if label.is_empty() { host.to_owned() } else { format!("“{label}”, {host}") }
}

#[cfg(test)]
mod tests;
