//! What leaves the wallet: to an address, or into a new channel.

use serde_json::json;

use super::{LEAST_RESERVED_SAT, Preview, RESERVED_PART, Sight, dear, destination};
use crate::treasury::most::{FUNDING_VBYTES, SEND_VBYTES};
use crate::treasury::{Deed, FeeChoice, RESERVE_SAT, TreasuryError, of_each_channel};

impl Sight {
    pub(super) fn send(
        &self,
        deed: &Deed,
        address: &str,
        amount_sat: u64,
        choice: FeeChoice,
    ) -> Result<Preview, TreasuryError> {
        let rate = self.rate(choice)?;
        let fee = rate.fee_sat(SEND_VBYTES);
        let needed = amount_sat.saturating_add(fee);
        let left = self.coins.spendable_sat.saturating_sub(needed);
        let mut lines = vec![
            format!("{amount_sat} sat go to {}.", destination(address)),
            self.pays(choice, rate, fee),
            format!("Of {} sat that may be sent, about {left} sat are left.", self.coins.spendable_sat),
            self.kept_back(),
        ];
        lines.extend(self.later(needed));
        lines.extend(dear(fee, amount_sat));
        Ok(Preview {
            kind: deed.kind(),
            enough: needed <= self.coins.spendable_sat,
            undoable: false,
            lines,
            figures: json!({
                "amount_sat": amount_sat, "fee_sat_about": fee, "fee_rate_sat_per_kvb": rate,
                "left_sat_about": left, "reserved_sat": self.coins.reserved_sat,
            }),
        })
    }

    pub(super) fn send_all(
        &self,
        deed: &Deed,
        address: &str,
        choice: FeeChoice,
        reserve_too: bool,
    ) -> Result<Preview, TreasuryError> {
        let rate = self.rate(choice)?;
        let fee = rate.fee_sat(SEND_VBYTES);
        let reserved = if reserve_too { 0 } else { self.coins.reserved_sat };
        let available =
            self.coins.spendable_sat.saturating_add(self.coins.reserved_sat).saturating_sub(reserved);
        let amount = available.saturating_sub(fee);
        let reserve = if reserve_too && self.coins.reserved_sat > 0 {
            format!(
                "Also the {} sat go that are kept back for closing channels by force: until coins arrive, a \
                 forced close may lack the fee that gets it into a block in time.",
                self.coins.reserved_sat
            )
        } else {
            self.kept_back_while_open()
        };
        let lines = match amount {
            0 => vec![format!(
                "Nothing can be sent now: of the {available} sat that may be sent about {fee} sat are needed for the \
                 transaction’s fee."
            )],
            _ => [
                format!("All that may be sent, about {amount} sat, goes to {}.", destination(address)),
                self.pays(choice, rate, fee),
                reserve,
            ]
            .into_iter()
            .chain(dear(fee, amount))
            .collect(),
        };
        Ok(Preview {
            kind: deed.kind(),
            enough: amount > 0,
            undoable: false,
            lines,
            figures: json!({
                "amount_sat_about": amount, "fee_sat_about": fee, "fee_rate_sat_per_kvb": rate,
                "reserved_sat": reserved,
            }),
        })
    }

    pub(super) fn open(
        &self,
        deed: &Deed,
        (peer, amount_sat): (&str, u64),
        push_msat: u64,
        announce: bool,
    ) -> Result<Preview, TreasuryError> {
        let rate = self.rate(FeeChoice::Slow)?;
        let fee = rate.fee_sat(FUNDING_VBYTES);
        let needed = amount_sat.saturating_add(fee).saturating_add(RESERVE_SAT);
        let push_sat = push_msat.div_ceil(1_000);
        let own = amount_sat.saturating_sub(push_sat);
        let mut lines = vec![
            format!("{amount_sat} sat of the on-chain wallet go into a channel with {peer}."),
            format!("About {fee} sat pay for its transaction. {}", of_each_channel()),
            format!(
                "Of {} sat that may be sent on-chain, about {} sat are left.",
                self.coins.spendable_sat,
                self.coins.spendable_sat.saturating_sub(needed)
            ),
        ];
        lines.extend(self.later(needed));
        if push_sat > 0 {
            lines.push(format!("{push_sat} sat of it are given to the other side: a gift."));
        }
        let theirs = (amount_sat / RESERVED_PART).max(LEAST_RESERVED_SAT);
        let receivable = push_sat.saturating_sub(theirs);
        let first = match (push_sat, receivable) {
            (0, _) => "0 sat".to_owned(),
            (gift, 0) => format!(
                "0 sat, for the other side must reserve {theirs} sat, more than the {gift} sat that it gets"
            ),
            (_, sat) => {
                format!("about {sat} sat, for the other side must reserve {theirs} sat of what it gets")
            }
        };
        lines.push(format!(
            "{own} sat are then yours to send, less about 1 % that a channel reserves. What you send becomes \
             what you can receive, beyond as much that the other side reserves; at first that is {first}."
        ));
        if announce {
            lines.push("The public network learns of the channel, and of this node.".to_owned());
        }
        lines.push(match push_sat {
            0 => "Closing it gives the coins back, at the cost of another transaction.".to_owned(),
            gift => format!(
                "Closing it gives your side back, at the cost of another transaction; the {gift} sat stay with the \
                 other side."
            ),
        });
        Ok(Preview {
            kind: deed.kind(),
            enough: needed <= self.coins.spendable_sat,
            undoable: push_sat == 0,
            lines,
            figures: json!({
                "amount_sat": amount_sat, "fee_sat_about": fee, "reserve_sat": RESERVE_SAT,
                "push_msat": push_msat, "receivable_first_sat_about": receivable, "left_sat_about": self.coins.spendable_sat.saturating_sub(needed),
            }),
        })
    }
}
