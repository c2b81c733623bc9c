//! Moves of coins and ordered channels that do not end.

use std::time::Duration;

use super::{Looked, roughly};
use crate::clock::in_words;
use crate::ports::{Alarm, Check};
use crate::types::Severity::Warning;
use crate::types::Timestamp;

/// Operations that are on their way end within hours, as a rule.
const ON_ITS_WAY: Duration = Duration::from_secs(3 * 24 * 3_600);
/// A channel that is ordered and paid comes within hours.
const ORDER: Duration = Duration::from_secs(24 * 3_600);
/// A provider that has not delivered for so long will not: nobody is told of it any more.
const ORDER_TOLD: Duration = Duration::from_secs(60 * 24 * 3_600);

impl Looked<'_> {
    pub(super) fn operations(&self) -> Check {
        let unclear = self.vitals.unclear_operations;
        let alarm = (unclear > 0).then(|| {
            let (s, is) = if unclear == 1 { ("", "is") } else { ("s", "are") };
            let text = format!(
                "Nobody can tell how {unclear} operation{s} ended: {is} not repeated by {}.",
                if unclear == 1 { "itself" } else { "themselves" }
            );
            let fix =
                "`tollhouse operations` shows them; look the transaction up, then `tollhouse operations settle`.";
            Alarm::new("operation_unclear", Warning, text, fix)
        });
        let overdue = |begun: &&Timestamp| self.age(Some(**begun)) >= ON_ITS_WAY;
        let late = self.vitals.sent_operations.iter().filter(overdue).count();
        let overdue = (late > 0).then(|| {
            let (s, is) = if late == 1 { ("", "is") } else { ("s", "are") };
            let text = format!(
                "{late} operation{s} {is} on the way for {} or longer: a transaction may pay too little for a \
                 block, another node may never answer.",
                in_words(ON_ITS_WAY)
            );
            let fix = "`tollhouse operations` shows them; ask the other side. As long as a block explorer shows a \
                       transaction, it is on its way. What will never end is ended with `tollhouse operations settle`, a \
                       send after fifteen days.";
            Alarm::new("operation_overdue", Warning, text, fix)
        });
        Check::fine("operations", format!("{unclear} unclear")).with(alarm).with(overdue)
    }

    /// Channels that were paid for, or are being paid for, and are not there.
    pub(super) fn orders(&self) -> Check {
        let orders = &self.vitals.open_orders;
        let mut check = Check::fine("orders", format!("{} on the way", orders.len()));
        for order in &self.vitals.said_refunded {
            let text = format!(
                "The provider says that it gave the money of order {order} back. Nothing here shows that it came."
            );
            let fix = "Look for it among what came in. If it is there, end the order on its page or with `tollhouse \
                       inbound close`. If not, ask the provider with the order's name: it owes the channel or the money.";
            check.alarms.push(Alarm::new("order_refund_unseen", Warning, text, fix).about(order.to_string()));
        }
        for (order, since) in orders.iter().filter(|(order, _)| !self.vitals.said_refunded.contains(order)) {
            let age = self.age(Some(*since));
            if (ORDER..ORDER_TOLD).contains(&age) {
                let text = format!(
                    "The channel of order {order} is not there, {} after it was paid or began to be.",
                    roughly(age)
                );
                let fix = "`tollhouse inbound orders` shows what the provider says. Ask it with the order's name: it owes \
                           the channel or the money.";
                check.alarms.push(Alarm::new("order_overdue", Warning, text, fix).about(order.to_string()));
            }
        }
        check
    }
}
