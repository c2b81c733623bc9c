//! A seed's words on pages: read where they are shown, and three of them given back where they are asked for.

use crate::chromium::Tab;

/// The words that stand there now.
pub(super) async fn shown(tab: &Tab<'_>) -> Vec<String> {
    tab.until("document.querySelectorAll('.words li').length === 24").await;
    let words = tab.value("[...document.querySelectorAll('.words li')].map((it) => it.textContent)").await;
    serde_json::from_value(words).expect("words")
}

/// Types those of `words` that are asked for, and sends them.
pub(super) async fn give_back(tab: &Tab<'_>, words: &[String]) {
    tab.until("document.querySelector('#third') && document.readyState === 'complete'").await;
    for id in ["first", "second", "third"] {
        let label = tab.text(&format!("label[for={id}]")).await;
        let number: usize = label.trim_start_matches("Word ").parse().expect("a number");
        tab.click(&format!("#{id}")).await;
        tab.types(&words[number - 1]).await;
    }
    tab.press("Enter").await;
}

/// As many words, and none of them right.
pub(super) fn wrong() -> Vec<String> {
    vec!["zebra".to_owned(); 24]
}
