//! "Can I keep earning?" in a sentence.

use super::figures::{counted, day, sats_whole};
use crate::upkeep::{Forecast, Outlook};

/// What the forecast says, for a person.
pub(super) fn sentence(forecast: &Forecast) -> String {
    let per_day = sats_whole(forecast.per_day_msat.msat());
    let stuck = forecast.routes.iter().filter(|route| route.sellable == Some(false)).count();
    match (forecast.outlook, forecast.runs_out_at) {
        (Outlook::RanOut, _) if forecast.receivable_msat.msat() == 0 => String::new(),
        (Outlook::RanOut, _) => {
            let routes = counted(u64::try_from(stuck).unwrap_or(u64::MAX), "route");
            format!(
                "{routes} cost more than one payment can bring now and cannot be sold. Paying out, or a larger \
                     channel with room on the other side, changes that."
            )
        }
        (Outlook::RunsOut, Some(at)) => format!(
            "You earn about {per_day} sat a day. If that goes on and nothing is paid out, the room to receive is \
             used up on {}.",
            day(at)
        ),
        (Outlook::Lasts, _) if forecast.calls == 0 => {
            "Nothing was earned in the last 7 days, so the room to receive stays as it is.".to_owned()
        }
        (Outlook::Lasts | Outlook::RunsOut, _) => {
            format!("You earn about {per_day} sat a day: the room to receive lasts for years.")
        }
        (Outlook::TooLittleData, _) => {
            let calls = counted(forecast.calls, "paid call");
            format!(
                "How long that lasts is told once there is more to go by: so far {calls} in the last days."
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Msat, Timestamp};

    fn told(outlook: Outlook, receivable: u64, calls: u64) -> String {
        sentence(&Forecast {
            outlook,
            detail: String::new(),
            receivable_msat: Msat::from_sat(receivable).expect("small"),
            hours: 48,
            calls,
            earned_msat: Msat::ZERO,
            per_day_msat: Msat::from_sat(1_200).expect("small"),
            runs_out_at: (outlook == Outlook::RunsOut).then(|| Timestamp::from_secs(1_760_000_000)),
            routes: Vec::new(),
        })
    }

    #[test]
    fn it_is_said_in_sats_and_days() {
        assert!(told(Outlook::RunsOut, 9_000, 99).ends_with("used up on 9 Oct 2025."));
        assert!(told(Outlook::Lasts, 9_000, 99).contains("1,200 sat a day"));
        assert!(told(Outlook::Lasts, 9_000, 0).starts_with("Nothing was earned"));
        assert!(told(Outlook::TooLittleData, 9_000, 1).ends_with("so far 1 paid call in the last days."));
        assert_eq!(told(Outlook::RanOut, 0, 0), "", "the page says at length what to do then");
    }
}
