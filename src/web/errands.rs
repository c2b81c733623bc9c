//! Moves of coins that the operator asks for, on a page or through the API: said first, then done once.

use std::sync::PoisonError;

use http::StatusCode;

use super::{Operator, Problem};
use crate::ports::{FeeRate, NoColdAddress, NodeFault};
use crate::store::{OperationRow, StoreError};
use crate::treasury::{Deed, Preview, TreasuryError, WalletHistory};

/// Keys of answers that are remembered.
const MOST_ANSWERED: usize = 256;

impl Operator {
    /// What `deed` would do; nothing is recorded and nothing done.
    ///
    /// # Errors
    /// When it makes no sense, or the node cannot be asked.
    pub async fn preview(&self, deed: &Deed) -> Result<Preview, Problem> {
        if deed.address() == Some(Deed::VAULT) && self.parts.vault.view().is_none() {
            return Err(no_cold_address(&NoColdAddress::NotSet));
        }
        self.parts.treasury.preview(deed).await.map_err(|error| refusal(error, deed))
    }

    /// What came to the on-chain wallet and what left it, each with what it was for.
    ///
    /// # Errors
    /// When the node or the ledger fails.
    pub async fn wallet_history(&self) -> Result<WalletHistory, TreasuryError> {
        // Without a vault, none of it came from there.
        let moves = self.parts.vault.history().unwrap_or_default();
        let paid = moves.into_iter().filter(|one| one.sent_sat > 0).map(|one| one.txid);
        self.parts.treasury.history(paid.collect()).await
    }

    /// A key for one move: asked again under it, the move is done once.
    pub fn fresh_key(&self) -> String {
        let mut bytes = [0; 16];
        self.parts.entropy.fill(&mut bytes);
        hex::encode(bytes)
    }

    /// Whether nobody answered under this key before, of late: for what is made once and shown once.
    pub fn first_time(&self, key: &str) -> bool {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.iter().any(|own| own == key) {
            return false;
        }
        if answered.len() >= MOST_ANSWERED {
            answered.pop_front();
        }
        answered.push_back(key.to_owned());
        true
    }

    /// What was begun under this key came to nothing: it may be answered again.
    pub fn not_after_all(&self, key: &str) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.retain(|own| own != key);
    }

    /// Has the treasury do `deed` under `key`, at the fee rate `most` at the most where its sender chooses one, and
    /// gives the operation, which may have failed or still run.
    ///
    /// # Errors
    /// When it makes no sense, the key was another deed's, or there is no address; nothing was done then.
    pub async fn carry_out(
        &self,
        key: &str,
        deed: Deed,
        most: Option<FeeRate>,
    ) -> Result<OperationRow, Problem> {
        let deed = match deed.address() {
            // The same key gets the same address of the vault again.
            Some(Deed::VAULT) => {
                let given = self.parts.vault.next_address(key).await;
                let to = given.map_err(|error| no_cold_address(&error))?.address;
                deed.to(to)
            }
            Some(Deed::WALLET) if matches!(deed, Deed::SpliceOut { .. }) => {
                self.to_own_wallet(key, deed).await?
            }
            _ => deed,
        };
        let asked = deed.clone();
        let done = self.parts.treasury.run_at_most(key, deed, most).await;
        done.map_err(|error| refusal(error, &asked))
    }
}

/// Why the treasury did nothing of `deed`, and what can be done instead.
fn refusal(error: TreasuryError, deed: &Deed) -> Problem {
    let unrated = matches!(error, TreasuryError::NoFeeRates(_));
    let mut problem = treasury_problem(error);
    if unrated {
        problem.detail.push_str(match deed {
            Deed::Send { .. } | Deed::SendAll { .. } => {
                " Choose the rate yourself: My own rate on the page, such as --fee 5 (sat/vB) in the terminal."
            }
            _ => " Ask for it again when the chain source answers.",
        });
    }
    problem
}

impl Operator {
    /// The same to a fresh address of the node's own wallet; to the one that it had, where it was begun under `key`.
    async fn to_own_wallet(&self, key: &str, deed: Deed) -> Result<Deed, Problem> {
        let begun = self.parts.ledger.operation_of_key(key).await.map_err(ledger_fault)?;
        let had = begun.and_then(|row| row.ask["address"].as_str().map(str::to_owned));
        let address = match had {
            Some(address) => address,
            None => self.parts.control.new_address().await.map_err(node_fault)?,
        };
        Ok(deed.to(address))
    }
}

fn no_cold_address(error: &NoColdAddress) -> Problem {
    Problem::new(StatusCode::CONFLICT, error.code(), format!("{error}."))
}

/// Why the treasury did nothing.
pub fn treasury_problem(error: TreasuryError) -> Problem {
    let sentence = sentence(&error.to_string());
    match error {
        TreasuryError::BadKey => Problem::bad_request("bad_idempotency_key", sentence),
        TreasuryError::KeyTaken(_) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", sentence)
        }
        TreasuryError::Senseless { code, .. } => Problem::bad_request(code, sentence),
        TreasuryError::Node(fault) => node_fault(fault),
        TreasuryError::NoFeeRates(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_fee_rates", sentence)
        }
        TreasuryError::CoinsBusy(_) => {
            Problem::new(StatusCode::CONFLICT, "coins_busy", sentence).retry_after(30)
        }
        TreasuryError::Dearer { .. } => Problem::new(StatusCode::CONFLICT, "fee_rate_risen", sentence),
        TreasuryError::Unknown(_) => Problem::new(StatusCode::NOT_FOUND, "unknown_operation", sentence),
        TreasuryError::NotUnclear(_) => Problem::new(StatusCode::CONFLICT, "not_unclear", sentence),
        TreasuryError::OutOfStep(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "chain_out_of_step", sentence).retry_after(30)
        }
        TreasuryError::Store(error) => ledger_fault(error),
        TreasuryError::Stopping => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "Tollhouse is stopping.")
                .retry_after(10)
        }
    }
}

/// What was said within another sentence, as one of its own. What begins with a field's name keeps it.
fn sentence(said: &str) -> String {
    let first = said.split(' ').next().unwrap_or_default();
    let mut letters = said.chars();
    match letters.next() {
        Some(letter) if first.chars().all(char::is_alphabetic) => {
            format!("{}{}.", letter.to_uppercase(), letters.as_str())
        }
        _ => format!("{said}."),
    }
}

/// The node said no. Its words are for the operator, who is the one that asks here.
pub fn node_fault(fault: NodeFault) -> Problem {
    tracing::warn!(%fault, "the node refused what the operator asked");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "node_refused", format!("The node refused: {fault}."))
}

/// The ledger failed: the cause goes to the log, the caller learns that it was not their doing.
pub fn ledger_fault(error: StoreError) -> Problem {
    if matches!(error, StoreError::Parked) {
        return Problem::new(StatusCode::CONFLICT, "payouts_parked", format!("Nothing was sent: {error}."));
    }
    tracing::error!(%error, "the ledger could not answer the operator");
    Problem::internal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_begins_as_a_sentence_and_a_field_keeps_its_name() {
        let told = |text: &str| {
            treasury_problem(TreasuryError::Senseless { code: "x", text: text.to_owned() }).detail
        };
        assert_eq!(told("another splice is under way"), "Another splice is under way.");
        assert_eq!(told("amount_sat must be more than 0"), "amount_sat must be more than 0.");
        assert_eq!(told("`x` is no address"), "`x` is no address.");
    }
}
