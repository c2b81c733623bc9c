//! Why a part of the appliance did not do what the operator asked, on a page or through the API: the status,
//! the stable code and the sentence.

use http::StatusCode;

use super::{NoAnswer, Problem, ledger_fault};
use crate::backup::BackupFault;
use crate::egress::{EgressFault, Range};
use crate::secrets::SeedFault;
use crate::webhooks::{WebhookError, topics};

/// Why nothing was done with an endpoint.
pub fn webhook_problem(error: WebhookError) -> Problem {
    let unprocessable = |code, text: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, text);
    let unknown = |code, text| Problem::new(StatusCode::NOT_FOUND, code, text);
    match error {
        WebhookError::Store(error) => ledger_fault(error),
        WebhookError::NotAUrl(_) => Problem::bad_request("bad_url", sentence(&error.to_string())),
        WebhookError::UnknownTopic(_) => {
            let known: Vec<&str> = topics().collect();
            Problem::bad_request("bad_topic", format!("{error}; there are {}.", known.join(", ")))
        }
        WebhookError::Egress(fault) => {
            let help = match &fault {
                EgressFault::Forbidden { range: Range::Loopback | Range::Private, .. }
                | EgressFault::BadUrl(_) => {
                    " An address of your own, on this machine or a private network, must be allowed expressly (allow_private)."
                }
                _ => "",
            };
            unprocessable(fault.code(), format!("The endpoint: {fault}.{help}"))
        }
        WebhookError::TooMany => unprocessable("too_many_webhooks", sentence(&error.to_string())),
        WebhookError::Unknown => unknown("unknown_webhook", "There is no endpoint with that number."),
        WebhookError::UnknownDelivery => {
            unknown("unknown_delivery", "There is no delivery with that number.")
        }
    }
}

/// Why there is no backup, or no good one.
pub fn backup_problem(fault: BackupFault) -> Problem {
    let status = match &fault {
        BackupFault::NoDir => StatusCode::CONFLICT,
        BackupFault::Unknown { .. } => StatusCode::NOT_FOUND,
        BackupFault::Format(_) | BackupFault::Foreign { .. } | BackupFault::WrongBooks(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        _ => {
            tracing::error!(%fault, "backups: the operator's call failed");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    Problem::new(status, fault.code(), sentence(&fault.to_string()))
}

/// Why the seed's desk gives no answer.
pub fn seed_problem(why: NoAnswer) -> Problem {
    let problem = |status, code| Problem::new(status, code, sentence(&why.to_string()));
    match &why {
        NoAnswer::Wait { secs } => {
            problem(StatusCode::TOO_MANY_REQUESTS, "too_many_tries").retry_after(*secs)
        }
        NoAnswer::Busy => problem(StatusCode::TOO_MANY_REQUESTS, "busy").retry_after(1),
        NoAnswer::Broken => Problem::internal(),
        NoAnswer::Fault(fault) => match fault {
            SeedFault::Verified => problem(StatusCode::CONFLICT, "words_verified"),
            SeedFault::Shown => problem(StatusCode::CONFLICT, "words_were_shown"),
            SeedFault::WrongPassphrase => problem(StatusCode::FORBIDDEN, "wrong_passphrase"),
            SeedFault::WrongWords => problem(StatusCode::FORBIDDEN, "wrong_words"),
            SeedFault::NotAsked => problem(StatusCode::CONFLICT, "not_asked"),
            SeedFault::Unfit(_) => problem(StatusCode::UNPROCESSABLE_ENTITY, "unfit_passphrase"),
            SeedFault::File(error) => {
                tracing::error!(%error, "the seed's file could not be changed");
                problem(StatusCode::INTERNAL_SERVER_ERROR, "seed_not_changed")
            }
        },
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    let whole: String = first.chain(letters).collect();
    if whole.ends_with('.') { whole } else { format!("{whole}.") }
}
