//! What makes an open channel larger or smaller.

use serde_json::json;

use super::{Preview, Sight, dear, destination, reserved_after, waits};
use crate::ports::ChannelView;
use crate::treasury::most::SPLICE_VBYTES;
use crate::treasury::{Deed, FeeChoice, TreasuryError};

impl Sight {
    pub(super) fn splice_in(
        &self,
        deed: &Deed,
        channel: &ChannelView,
        amount_sat: u64,
    ) -> Result<Preview, TreasuryError> {
        let fee = self.rate(FeeChoice::Slow)?.fee_sat(SPLICE_VBYTES);
        let needed = amount_sat.saturating_add(fee);
        let capacity = channel.capacity_sat.saturating_add(amount_sat);
        let lacking = reserved_after(capacity).saturating_sub(self.held.ours_sat).min(amount_sat);
        let receivable = self.receivable_after(channel, capacity);
        let stays = match (channel.receivable_msat / 1_000).saturating_sub(receivable) {
            0 => format!("What you can receive over this channel stays about {receivable} sat."),
            less => format!(
                "What you can receive over this channel becomes about {receivable} sat: the other side's reserve grows \
                 with the channel, by about {less} sat."
            ),
        };
        Ok(Preview {
            kind: deed.kind(),
            enough: needed <= self.coins.spendable_sat,
            undoable: true,
            lines: [
                format!(
                    "{amount_sat} sat of the on-chain wallet go into the channel, which stays open meanwhile."
                ),
                format!(
                    "Its transaction costs about {fee} sat, paid from the wallet. Only confirmed coins are taken."
                ),
                if lacking == 0 {
                    format!("You can send {amount_sat} sat more once it is confirmed. {stays}")
                } else {
                    format!(
                        "You can send about {} sat more once it is confirmed: about {lacking} sat fill your side's \
                         reserve first, which stays yours and cannot be sent. {stays}",
                        amount_sat.saturating_sub(lacking)
                    )
                },
            ]
            .into_iter()
            .chain(waits(channel))
            .collect(),
            figures: json!({
                "amount_sat": amount_sat, "fee_sat_about": fee,
                "capacity_after_sat": capacity, "receivable_after_sat_about": receivable,
            }),
        })
    }

    /// What can be received over the channel when it has that size, and what each side has is as now.
    fn receivable_after(&self, channel: &ChannelView, capacity_sat: u64) -> u64 {
        let theirs = (channel.receivable_msat / 1_000).saturating_add(self.held.theirs_sat);
        theirs.saturating_sub(reserved_after(capacity_sat))
    }

    pub(super) fn splice_out(
        &self,
        deed: &Deed,
        channel: &ChannelView,
        address: &str,
        amount_sat: u64,
    ) -> Result<Preview, TreasuryError> {
        let fee = self.rate(FeeChoice::Slow)?.fee_sat(SPLICE_VBYTES);
        let capacity = channel.capacity_sat.saturating_sub(amount_sat.saturating_add(fee));
        let receivable = self.receivable_after(channel, capacity);
        let needed = amount_sat.saturating_add(fee).saturating_mul(1_000);
        Ok(Preview {
            kind: deed.kind(),
            enough: needed <= channel.spendable_msat,
            undoable: false,
            lines: [
                format!(
                    "{amount_sat} sat of the channel go to {}; it stays open meanwhile.",
                    destination(address)
                ),
                format!("Its transaction costs about {fee} sat, paid from your side of the channel."),
                format!(
                    "You can send about that much less. What you can receive over this channel is then about {receivable} \
                     sat: only paying over Lightning makes room for more."
                ),
                ]
            .into_iter()
            .chain(waits(channel))
            .chain(dear(fee, amount_sat))
            .collect(),
            figures: json!({
                "amount_sat": amount_sat, "fee_sat_about": fee,
                "capacity_after_sat_about": capacity, "receivable_after_sat_about": receivable,
            }),
        })
    }
}
