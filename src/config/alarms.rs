//! Reads `[alarms]`: from when on something is an alarm.

use std::time::Duration;

use bytesize::ByteSize;

use super::document::Section;
use super::layer::Layers;
use super::or_default;
use super::problem::Bad;
use crate::watchman::AlarmLimits;

pub(crate) fn read(layers: &mut Layers<'_>, top: &mut Section<'_, '_>) -> AlarmLimits {
    let usual = AlarmLimits::default();
    let mut section = top.section("alarms");
    let mut time = |layers: &mut Layers<'_>, key: &'static str, usual: Duration| {
        let (span, source) = or_default(layers.one(&mut section, key, span), || usual);
        layers.show(format!("alarms.{key}"), humantime::format_duration(span).to_string(), source);
        span
    };
    let chain_stale = time(layers, "chain_stale", usual.chain_stale);
    let fees_stale = time(layers, "fees_stale", usual.fees_stale);
    let peers_offline = time(layers, "peers_offline", usual.peers_offline);
    let clock_skew = time(layers, "clock_skew", usual.clock_skew);
    let backup_age = time(layers, "backup_age", usual.backup_age);
    let snapshot_age = time(layers, "snapshot_age", usual.snapshot_age);
    let sales = layers.one(&mut section, "receivable_sales", count);
    let (receivable_sales, source) = or_default(sales, || usual.receivable_sales);
    layers.show("alarms.receivable_sales", receivable_sales.to_string(), source);
    let mut size = |layers: &mut Layers<'_>, key: &'static str, usual: u64| {
        let (bytes, source) = or_default(layers.one(&mut section, key, size), || usual);
        layers.show(format!("alarms.{key}"), ByteSize(bytes).to_string(), source);
        bytes
    };
    let disk_free_bytes = size(layers, "disk_free", usual.disk_free_bytes);
    let monitor_bytes = size(layers, "monitor_size", usual.monitor_bytes);
    layers.problems.extend(section.finish());
    AlarmLimits {
        chain_stale,
        fees_stale,
        peers_offline,
        settling: usual.settling,
        receivable_sales,
        disk_free_bytes,
        clock_skew,
        monitor_bytes,
        backup_age,
        snapshot_age,
    }
}

fn span(text: &str) -> Result<Duration, Bad> {
    let (least, most) = (Duration::from_secs(10), Duration::from_secs(366 * 86_400));
    match humantime::parse_duration(text) {
        Ok(span) if (least..=most).contains(&span) => Ok(span),
        _ => {
            let help = "Write a time between 10s and 366 days, such as \"10m\" or \"2 days\".";
            Err(Bad::new(format!("\"{text}\" is not a time that can be waited for"), help))
        }
    }
}

fn count(text: &str) -> Result<u64, Bad> {
    let bad = || Bad::new(format!("\"{text}\" is not a number of sales"), "Use a whole number; 0 is never.");
    text.parse().ok().filter(|count| *count <= 1_000_000).ok_or_else(bad)
}

fn size(text: &str) -> Result<u64, Bad> {
    let bad = |_| Bad::new(format!("\"{text}\" is not a size"), "Write such as \"500 MB\" or \"1 GiB\".");
    text.parse::<ByteSize>().map(|size| size.as_u64()).map_err(bad)
}
