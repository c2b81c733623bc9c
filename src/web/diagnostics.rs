//! What an operator hands to somebody who helps: how the appliance is, its settings and the end of its log, as
//! text in which nothing says whose it is or what was paid.
//!
//! Keys, tokens, invoices, addresses of coins and machines, and anything long in hexadecimal are cut short. It is
//! meant to be read before it is sent: what a person wrote into a label or a path stays.

use std::fmt::Write;
use std::net::IpAddr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::Level;

use super::Operator;
use crate::store::StoreError;
use crate::types::Timestamp;

/// Lines of the log that go along.
const LINES: usize = 500;
/// Hexadecimal of this length is a hash, a key or a part of one.
const LONG_HEX: usize = 16;
/// How texts begin that nobody else needs to see, and how long they are at least.
const PRIVATE: [(&str, usize); 16] = [
    ("tollhouse_", 12),
    ("whsec_", 12),
    ("lnbc", 20),
    ("lntb", 20),
    ("lno1", 20),
    ("lnurl", 20),
    ("bc1", 14),
    ("tb1", 14),
    ("bcrt1", 14),
    ("xpub", 20),
    ("ypub", 20),
    ("zpub", 20),
    ("tpub", 20),
    ("upub", 20),
    ("vpub", 20),
    ("evt_", 12),
];

impl Operator {
    /// The text.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn diagnostics(&self) -> Result<String, StoreError> {
        let view = self.system().await?;
        let totals = self.parts.ledger.totals().await?;
        let mut text = String::new();
        let mut line = |words: String| {
            let _ = writeln!(text, "{words}");
        };
        line(format!("Tollhouse {} on {}, {}", view.version, view.platform, view.network));
        line(format!("Written {}, up since {}", written(view.time), written(view.started_at)));
        for library in view.libraries {
            line(format!("{} {}", library.name, library.version));
        }
        let detail = view.node_detail.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        line(format!("Node {}{detail}; block {}", view.node, view.block_height));
        line(format!("Ready: {}", view.not_ready.unwrap_or("yes")));
        line(format!("Books add up: {}", if totals.balanced() { "yes" } else { "NO" }));
        line("\nChecks".to_owned());
        for check in &view.checks {
            let age = check.age_secs.map(|age| format!(" ({age} s old)")).unwrap_or_default();
            line(format!("  {:<8} {:<12} {}{age}", check.status, check.name, check.detail));
        }
        line("\nAlarms".to_owned());
        for alarm in &view.alarms {
            let since = written(alarm.raised_at);
            line(format!("  {:<8} {} since {since}: {}", alarm.severity.as_str(), alarm.code, alarm.text));
        }
        line("\nMachine".to_owned());
        for (name, bytes) in [
            ("memory", view.memory_bytes),
            ("disk free", view.disk_free_bytes),
            ("disk", view.disk_total_bytes),
        ] {
            line(format!(
                "  {name} {} bytes",
                bytes.map_or_else(|| "?".to_owned(), |bytes| bytes.to_string())
            ));
        }
        for file in &view.files {
            line(format!("  {} {} bytes", file.name, file.bytes));
        }
        line("\nChain sources".to_owned());
        for source in &view.chain.sources {
            let answers = source.answers.map_or("not asked", |yes| if yes { "answers" } else { "is away" });
            let used = if source.in_use { ", in use" } else { "" };
            line(format!("  {} {answers}{used}", source.kind));
        }
        line("\nSettings".to_owned());
        for setting in &self.parts.config.configuration.settings {
            let place = setting.place.as_deref().unwrap_or("default");
            line(format!("  {} = {}   ({place})", setting.setting, setting.value));
        }
        line("\nLog".to_owned());
        for logged in self.parts.log.lines(Level::TRACE, 0, LINES) {
            line(format!("  {}", logged.text.replace('\n', "\n    ")));
        }
        Ok(redacted(&text))
    }
}

fn written(at: Timestamp) -> String {
    let secs = i64::try_from(at.secs()).unwrap_or(i64::MAX);
    let moment = OffsetDateTime::from_unix_timestamp(secs).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(&Rfc3339).unwrap_or_default()
}

/// `text` with every word that tells too much cut short.
fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    for c in text.chars() {
        if c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '-') {
            word.push(c);
        } else {
            out.push_str(&said(&word));
            word.clear();
            out.push(c);
        }
    }
    out.push_str(&said(&word));
    out
}

/// One word, or as much of it as may be told. What is between dots, colons and dashes counts for itself.
fn said(word: &str) -> String {
    if is_machine(word) {
        return "[address]".to_owned();
    }
    let mut out = String::with_capacity(word.len());
    let mut part = String::new();
    for c in word.chars() {
        if matches!(c, '.' | ':' | '-') {
            out.push_str(&cut(&part));
            part.clear();
            out.push(c);
        } else {
            part.push(c);
        }
    }
    out.push_str(&cut(&part));
    out
}

fn cut(part: &str) -> String {
    let low = part.to_ascii_lowercase();
    let private = PRIVATE.iter().any(|(begins, least)| low.starts_with(begins) && low.len() >= *least);
    let hex = part.len() >= LONG_HEX
        && part.chars().all(|c| c.is_ascii_hexdigit())
        && !part.chars().all(|c| c.is_ascii_digit());
    // A word of this length with letters and figures mixed is no word.
    let random = part.len() >= 32
        && part.chars().any(|c| c.is_ascii_digit())
        && part.chars().any(|c| c.is_ascii_alphabetic());
    if private || hex || random {
        let head: String = part.chars().take(6).collect();
        return format!("{head}…");
    }
    part.to_owned()
}

/// An address of a machine that is not this one.
fn is_machine(word: &str) -> bool {
    let word = word.trim_end_matches([':', '.']);
    let host = match word.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => host,
        _ => word,
    };
    if host.ends_with(".onion") {
        return true;
    }
    // A time such as 12:34:56 is no address.
    host.contains(['.', ':'])
        && host.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_whose_it_is_or_what_was_paid_is_cut_short() {
        let hash = "ab12".repeat(16);
        for private in [
            hash.clone(),
            format!("02{}", "cd34".repeat(16)),
            "tollhouse_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789abcdefg".to_owned(),
            "lnbcrt500u1pjexampleexampleexample".to_owned(),
            "bcrt1qexampleexampleexampleexampleexample".to_owned(),
            "LNBC500U1PJEXAMPLEEXAMPLEEXAMPLE".to_owned(),
            format!("xpub6{}", "Cz9".repeat(30)),
            "MDIwNDA2MDgxMDEyMTQxNjE4MjAyMjI0MjYyODMw".to_owned(),
        ] {
            let text = redacted(&format!("error: peer={private}, done\n(\"{private}\")"));
            assert!(!text.contains(&private) && text.starts_with("error: peer="), "{text}");
            assert!(text.contains('…') && text.ends_with("\")"), "{text}");
        }
        for away in ["203.0.113.9:9735", "203.0.113.9", "2001:db8::1", "abcdefgh.onion:9735"] {
            assert_eq!(redacted(&format!("to {away}, now")), "to [address], now");
        }
        let one = format!("{hash}:0");
        assert_eq!(redacted(&one), format!("{}…:0", &hash[..6]));
    }

    #[test]
    fn what_helps_stays() {
        for fine in [
            "2026-03-01T12:34:56.123456Z  INFO tollhouse: 127.0.0.1:8402 is open",
            "gateway.listen = 0.0.0.0:8402   (line 12)",
            "ledger.db 123456789012345678 bytes",
            "warning  backup_old since 2026-03-01T00:00:00Z: The newest backup is 3 days old.",
            "Tollhouse 0.1.0 on linux x86_64, regtest",
        ] {
            assert_eq!(redacted(fine), fine);
        }
    }
}
