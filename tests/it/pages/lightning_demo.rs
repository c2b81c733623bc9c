//! The demo offers the visitor a node to open a channel to.

use tollhouse::ports::NodeWatch;
use tollhouse::sandbox::world::World;

use super::hands::{agree, fill, says};
use super::lightning::ASKED;
use crate::chromium::Tab;

/// A channel to the demo's payer, whose address is put in with a click.
pub(super) async fn a_channel_to_the_payer(world: &World, tab: &Tab<'_>, admin: &str) {
    tab.open(&format!("{admin}/lightning/open")).await;
    assert_eq!(tab.value("document.querySelector('#node').value").await, "");
    tab.click("a[href='/lightning/open?to=payer']").await;
    tab.until("document.readyState === 'complete' && document.querySelector('#node')?.value").await;
    let place = tab.value("document.querySelector('#node').value").await;
    let key = world.payer.node().node_id();
    assert!(place.as_str().is_some_and(|place| place.starts_with(&format!("{key}@127.0.0.1:"))), "{place}");
    fill(tab, "#amount_sat", "200,000").await;
    tab.click(".form .button").await;
    tab.until(ASKED).await;
    let asked = tab.text("main").await;
    assert!(asked.contains("200,000 sat of the on-chain wallet go into a channel"), "{asked}");
    agree(tab).await;
    tab.until("location.pathname.startsWith('/operations/') && document.readyState === 'complete'").await;
    let operation = tab.value("location.pathname").await;
    let operation = format!("{admin}{}", operation.as_str().expect("a path"));
    says(tab, &operation, "The channel is open.").await;
    says(tab, &format!("{admin}/lightning"), "200,000 sat").await;
    let channels = world.payer.node().view().await.channels;
    assert_eq!(channels.len(), 2, "the demo's own, and this");
}

/// Somebody to pay out to, whose invoice is put in with a click; and nothing to keep.
pub(super) async fn a_payout_to_the_payer(tab: &Tab<'_>, admin: &str) {
    tab.open(&format!("{admin}/lightning/payouts")).await;
    tab.click("a[href='/lightning/payouts?to=payer']").await;
    tab.until("document.readyState === 'complete' && document.querySelector('#to')?.value").await;
    let invoice = tab.value("document.querySelector('#to').value").await;
    assert!(invoice.as_str().is_some_and(|invoice| invoice.starts_with("lnbcrt")), "{invoice}");
    says(tab, &format!("{admin}/backup"), "Nothing here is worth keeping").await;
}
