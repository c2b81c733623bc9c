//! Rules at each of their bounds.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn rule() -> PayOutRule {
    PayOutRule {
        to: "lno1any".to_owned(),
        below_sat: 10_000,
        until_sat: 50_000,
        per_day_sat: 100_000,
        max_fee_ppm: 10_000,
    }
}

fn splice() -> SpliceOutRule {
    SpliceOutRule { to: "vault".to_owned(), above_sat: 500_000, keep_sat: 100_000, per_day_sat: 1_000_000 }
}

fn has(spendable: u64, receivable: u64) -> Situation {
    Situation {
        running: true,
        spendable: sat(spendable),
        receivable: sat(receivable),
        fullest: Some(("c1".to_owned(), sat(spendable))),
        splice_fee: sat(500),
    }
}

fn paid(decision: Decision) -> (u64, u64) {
    match decision {
        Decision::PayOut { amount, max_fee, .. } => (amount.msat(), max_fee.msat()),
        other => panic!("{other:?}"),
    }
}

fn code(decision: Decision) -> &'static str {
    match decision {
        Decision::Rest { code, why } => {
            assert!(!why.is_empty());
            code
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_pays_from_below_up_to_until() {
    let quiet = Lately::default();
    assert_eq!(code(rule().decide(&has(90_000, 10_000), &quiet, NOW)), "not_needed");
    assert_eq!(paid(rule().decide(&has(90_000, 9_999), &quiet, NOW)), (40_001_000, 400_010));
    let why = match rule().decide(&has(90_000, 9_999), &quiet, NOW) {
        Decision::PayOut { why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert!(why.contains("9999 sat, below 10000 sat") && why.contains("90000 sat is spendable"), "{why}");
}

#[test]
fn it_never_pays_more_than_there_is_or_than_the_day_allows() {
    let quiet = Lately::default();
    assert_eq!(paid(rule().decide(&has(20_200, 0), &quiet, NOW)), (20_000_000, 200_000));
    assert_eq!(code(rule().decide(&has(900, 0), &quiet, NOW)), "too_little_spendable");
    let drawn = |drawn| Lately { drawn: sat(drawn), ..Lately::default() };
    assert_eq!(paid(rule().decide(&has(90_000, 0), &drawn(89_900), NOW)), (10_000_000, 100_000));
    assert_eq!(code(rule().decide(&has(90_000, 0), &drawn(99_500), NOW)), "daily_limit");
    assert_eq!(code(rule().decide(&has(90_000, 0), &drawn(200_000), NOW)), "daily_limit");
}

#[test]
fn it_waits_for_its_own_and_after_failures() {
    let open = Lately { open: Some(7), ..Lately::default() };
    assert_eq!(code(rule().decide(&has(90_000, 0), &open, NOW)), "one_on_its_way");
    let failed = |failures, ago| Lately {
        failures,
        failed_at: Some(NOW.minus(Duration::from_secs(ago))),
        ..Lately::default()
    };
    assert_eq!(code(rule().decide(&has(90_000, 0), &failed(1, 59), NOW)), "backing_off");
    assert_eq!(paid(rule().decide(&has(90_000, 0), &failed(1, 60), NOW)).0, 25_000_000, "half of it");
    assert_eq!(code(rule().decide(&has(90_000, 0), &failed(3, 239), NOW)), "backing_off");
    assert_eq!(paid(rule().decide(&has(90_000, 0), &failed(3, 240), NOW)).0, 6_250_000);
    assert_eq!(code(rule().decide(&has(90_000, 0), &failed(99, 6 * 3_600 - 1), NOW)), "backing_off");
    assert_eq!(paid(rule().decide(&has(90_000, 0), &failed(99, 6 * 3_600), NOW)).0, 1_000_000);
    let off = Situation::default();
    assert_eq!(code(rule().decide(&off, &Lately::default(), NOW)), "node_not_ready");
}

#[test]
fn a_splice_takes_what_is_above_and_keeps_the_rest() {
    let quiet = Lately::default();
    let out = |decision| match decision {
        Decision::SpliceOut { channel_id, amount, .. } => (channel_id, amount.sats_floor()),
        other => panic!("{other:?}"),
    };
    assert_eq!(code(splice().decide(&has(500_000, 0), &quiet, NOW)), "not_needed");
    assert_eq!(out(splice().decide(&has(500_001, 0), &quiet, NOW)), ("c1".to_owned(), 399_501));
    let two = Situation { fullest: Some(("c2".to_owned(), sat(300_000))), ..has(600_000, 0) };
    assert_eq!(out(splice().decide(&two, &quiet, NOW)), ("c2".to_owned(), 299_500));
    let drawn = Lately { drawn: sat(900_000), ..Lately::default() };
    assert_eq!(out(splice().decide(&has(600_000, 0), &drawn, NOW)).1, 99_500);
    let drawn = Lately { drawn: sat(995_000), ..Lately::default() };
    assert_eq!(code(splice().decide(&has(600_000, 0), &drawn, NOW)), "daily_limit");
    let dear = Situation { splice_fee: sat(30_000), ..has(600_000, 0) };
    assert_eq!(code(splice().decide(&dear, &quiet, NOW)), "not_worth_the_fee");
    let nobody = Situation { fullest: None, ..has(600_000, 0) };
    assert_eq!(code(splice().decide(&nobody, &quiet, NOW)), "no_channel");
}

#[test]
fn senseless_terms_are_refused() {
    assert!(rule().check().is_ok() && splice().check().is_ok());
    let change = |change: fn(&mut PayOutRule)| {
        let mut rule = rule();
        change(&mut rule);
        assert!(rule.check().is_err(), "{rule:?}");
    };
    change(|rule| rule.until_sat = rule.below_sat);
    change(|rule| rule.below_sat = 0);
    change(|rule| rule.per_day_sat = 0);
    change(|rule| rule.per_day_sat = u64::MAX);
    change(|rule| rule.max_fee_ppm = 500_001);
    assert!(SpliceOutRule { keep_sat: 500_001, ..splice() }.check().is_err());
    assert!(SpliceOutRule { per_day_sat: 0, ..splice() }.check().is_err());
}

proptest! {
    #[test]
    fn no_numbers_make_a_rule_break_its_bounds(
        (below, more, per_day, ppm) in (1_u64..2_000_000, 1_u64..2_000_000, 1_u64..2_000_000, 0_u64..=500_000),
        (spendable, receivable, drawn) in (0_u64..3_000_000_000, 0_u64..3_000_000_000, 0_u64..3_000_000_000),
        (failures, fee) in (0_u32..40, 0_u64..100_000_000),
    ) {
        let msat = |msat| Msat::new(msat).unwrap();
        let rule = PayOutRule {
            to: String::new(), below_sat: below, until_sat: below + more, per_day_sat: per_day, max_fee_ppm: ppm,
        };
        let situation = Situation {
            running: true,
            spendable: msat(spendable),
            receivable: msat(receivable),
            fullest: Some(("c1".to_owned(), msat(spendable))),
            splice_fee: msat(fee),
        };
        let failed_at = Some(NOW.minus(LONGEST_PAUSE));
        let lately = Lately { drawn: msat(drawn), failures, failed_at, open: None };
        match rule.decide(&situation, &lately, NOW) {
            Decision::PayOut { amount, max_fee, .. } => {
                let all = amount.msat() + max_fee.msat();
                prop_assert!(all <= spendable);
                prop_assert!(all + drawn <= per_day * 1_000);
                prop_assert!(receivable + amount.msat() <= (below + more) * 1_000);
                prop_assert!(receivable < below * 1_000 && amount > Msat::ZERO);
            }
            Decision::Rest { .. } => {}
            other => prop_assert!(false, "{other:?}"),
        }
        let keep = below.min(more);
        let splice = SpliceOutRule { to: String::new(), above_sat: below.max(more), keep_sat: keep, per_day_sat: per_day };
        if let Decision::SpliceOut { amount, .. } = splice.decide(&situation, &lately, NOW) {
            prop_assert!(amount.msat() + fee + keep * 1_000 <= spendable);
            prop_assert!(amount.msat() + fee + drawn <= per_day * 1_000);
        }
    }
}
