//! What an operator's hands do on the pages of a real appliance.

use serde_json::json;

use super::lightning::ASKED;
use crate::admin_app::PASSWORD;
use crate::appliance::{Appliance, until};
use crate::chromium::Tab;

/// Takes the claim link and sets the password.
pub(crate) async fn claim(shop: &Appliance, tab: &Tab<'_>) {
    let file = shop.data_dir().join("regtest/claim");
    let link = until("the claim link", async || std::fs::read_to_string(&file).ok()).await;
    tab.open(link.trim()).await;
    for field in ["#password", "#again"] {
        fill(tab, field, PASSWORD).await;
    }
    tab.click("button[type=submit]").await;
    tab.until("location.pathname !== '/claim' && document.querySelector('.rail')").await;
}

/// Types `text` into a field.
pub(crate) async fn fill(tab: &Tab<'_>, selector: &str, text: &str) {
    tab.click(selector).await;
    tab.types(text).await;
}

/// Answers a question with yes, and with the password when it asks for that.
pub(crate) async fn agree(tab: &Tab<'_>) {
    tab.until(ASKED).await;
    if tab.value("!!document.querySelector('#password')").await == json!(true) {
        fill(tab, "#password", PASSWORD).await;
    }
    tab.click(".form .button").await;
}

/// Opens a page again and again until it says so.
pub(crate) async fn says(tab: &Tab<'_>, url: &str, words: &str) -> String {
    until(words, async || {
        tab.open(url).await;
        let text = tab.text("main").await;
        text.contains(words).then_some(text)
    })
    .await
}

/// Logs in with the password that [`claim`] set.
pub(crate) async fn log_in(shop: &Appliance, tab: &Tab<'_>) {
    tab.open(&format!("{}/login", shop.admin)).await;
    fill(tab, "#password", PASSWORD).await;
    tab.click("button[type=submit]").await;
    tab.until("document.querySelector('.rail')").await;
}
