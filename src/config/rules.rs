//! Reads `[rules.pay_out]` and `[rules.splice_out]`: what the appliance keeps up by itself; off by default.

use super::document::Section;
use super::layer::Layers;
use super::problem::{Bad, Source};
use super::value;
use crate::egress::Reach;
use crate::upkeep::{Destination, FileRules, PayOutRule, SpliceOutRule};

/// What routing may cost when nobody says: one percent.
const USUAL_FEE_PPM: u64 = 10_000;

pub(crate) fn read(layers: &mut Layers<'_>, top: &mut Section<'_, '_>, reach: Reach) -> FileRules {
    let mut section = top.section("rules");
    let pay_out = pay_out(layers, section.section("pay_out"), reach);
    let splice_out = splice_out(layers, section.section("splice_out"));
    let problems = section.finish();
    layers.problems.extend(problems);
    FileRules { pay_out, splice_out }
}

fn pay_out(layers: &mut Layers<'_>, mut section: Section<'_, '_>, reach: Reach) -> Option<PayOutRule> {
    let before = layers.problems.len();
    let to = layers.one(&mut section, "to", |text| {
        let help = "Write an offer (lno1…) or a Lightning address (name@host).";
        match Destination::read(text, reach) {
            Ok(to) if to.is_reusable() => Ok(text.to_owned()),
            Ok(_) => Err(Bad::new("an invoice is paid once, and a rule pays again and again", help)),
            Err(error) => Err(Bad::new(format!("\"{text}\": {error}"), help)),
        }
    });
    let below_sat = sats(layers, &mut section, "below_sat");
    let until_sat = sats(layers, &mut section, "until_sat");
    let per_day_sat = sats(layers, &mut section, "per_day_sat");
    let fee = sats(layers, &mut section, "max_fee_ppm");
    let found = (to, below_sat, until_sat, per_day_sat);
    let said =
        fee.is_some() || found.0.is_some() || found.1.is_some() || found.2.is_some() || found.3.is_some();
    let rule = match found {
        (Some((to, source)), Some((below_sat, _)), Some((until_sat, _)), Some((per_day_sat, _))) => {
            let max_fee_ppm = fee.as_ref().map_or(USUAL_FEE_PPM, |(ppm, _)| *ppm);
            let rule = PayOutRule { to, below_sat, until_sat, per_day_sat, max_fee_ppm };
            complain(layers, "rules.pay_out", rule.check(), &source);
            let shown = format!(
                "{}: below {below_sat} sat until {until_sat} sat, {per_day_sat} sat a day, {max_fee_ppm} ppm",
                shortened(&rule.to)
            );
            layers.show("rules.pay_out", shown, source);
            Some(rule)
        }
        _ => {
            let keys = "to, below_sat, until_sat and per_day_sat";
            incomplete(layers, &section, said && layers.problems.len() == before, keys);
            None
        }
    };
    layers.problems.extend(section.finish());
    rule
}

fn splice_out(layers: &mut Layers<'_>, mut section: Section<'_, '_>) -> Option<SpliceOutRule> {
    let before = layers.problems.len();
    let to = layers.one(&mut section, "to", value::filled);
    let above_sat = sats(layers, &mut section, "above_sat");
    let keep_sat = sats(layers, &mut section, "keep_sat");
    let per_day_sat = sats(layers, &mut section, "per_day_sat");
    let found = (to, above_sat, keep_sat, per_day_sat);
    let said = found.0.is_some() || found.1.is_some() || found.2.is_some() || found.3.is_some();
    let rule = match found {
        (Some((to, source)), Some((above_sat, _)), Some((keep_sat, _)), Some((per_day_sat, _))) => {
            let rule = SpliceOutRule { to, above_sat, keep_sat, per_day_sat };
            complain(layers, "rules.splice_out", rule.check(), &source);
            let shown = format!(
                "{}: above {above_sat} sat down to {keep_sat} sat, {per_day_sat} sat a day",
                shortened(&rule.to)
            );
            layers.show("rules.splice_out", shown, source);
            Some(rule)
        }
        _ => {
            let keys = "to, above_sat, keep_sat and per_day_sat";
            incomplete(layers, &section, said && layers.problems.len() == before, keys);
            None
        }
    };
    layers.problems.extend(section.finish());
    rule
}

fn sats(layers: &mut Layers<'_>, section: &mut Section<'_, '_>, key: &'static str) -> Option<(u64, Source)> {
    layers.one(section, key, |text| {
        let help = "Write a whole number, such as 100000.";
        text.replace('_', "").parse().map_err(|_| Bad::new(format!("\"{text}\" is not a number"), help))
    })
}

fn complain(layers: &mut Layers<'_>, setting: &str, checked: Result<(), &'static str>, source: &Source) {
    if let Err(why) = checked {
        let bad = Bad::new(why, "Change one of the rule's numbers.");
        layers.problems.push(layers.origin.problem_from(source.clone(), setting, bad));
    }
}

fn incomplete(layers: &mut Layers<'_>, section: &Section<'_, '_>, whole: bool, keys: &str) {
    if whole {
        let bad = Bad::new("the rule is not complete", format!("It needs {keys}."));
        let at = layers.origin.problem(&section.span(), &section.name_of("to"), bad);
        layers.problems.push(at);
    }
}

/// An offer is long: its beginning tells it from others.
fn shortened(to: &str) -> String {
    match to.char_indices().nth(24) {
        Some((at, _)) => format!("{}…", &to[..at]),
        None => to.to_owned(),
    }
}
