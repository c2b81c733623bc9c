//! A channel's size changed in the browser: larger, smaller, in vain, and what every page says of it meanwhile.

use serde_json::{Value, json};
use tollhouse::types::grouped;

use super::hands::{fill, says};
use super::lightning::ASKED;
use super::lightning_world::{World, yes};
use crate::appliance::until;

impl World<'_> {
    /// Asks for a splice-in on the channel's page; gives the operation's number.
    async fn put_in(&self, channel: &str, amount: &str, words: &[&str]) -> String {
        let tab = &self.tab;
        tab.open(channel).await;
        fill(tab, "#in_sat", amount).await;
        tab.click("form[action$='/splice-in'] button").await;
        tab.until(ASKED).await;
        let asked = tab.text("main").await;
        for words in words {
            assert!(asked.contains(words), "{words}: {asked}");
        }
        yes(tab).await
    }

    /// Why a form was refused is on the first screen, with the way to the field, which has what was typed.
    async fn told_in_sight(&self, field: &str, typed: &str) {
        let tab = &self.tab;
        let told = "document.querySelector('.refusal[role=alert]')";
        let seen = format!("{told}.getBoundingClientRect().bottom <= innerHeight && scrollY === 0");
        assert_eq!(tab.value(&seen).await, true, "it is below the fold");
        let way = tab.value(&format!("{told}.querySelector('a').getAttribute('href')")).await;
        assert_eq!(way, field);
        assert_eq!(tab.value(&format!("document.querySelector('{field}').value")).await, typed);
    }

    /// The channel grows, and the page says so while it waits and when it is done.
    pub(super) async fn made_larger(&self, channel: &str) {
        let tab = &self.tab;
        // More than there is cannot be said yes to.
        tab.open(channel).await;
        fill(tab, "#in_sat", "900 000 000").await;
        tab.click("form[action$='/splice-in'] button").await;
        tab.until("document.readyState === 'complete' && document.querySelector('.refusal')").await;
        let asked = tab.text("main").await;
        for words in
            ["There is not enough for this; nothing was done. At most about", "can go into the channel now"]
        {
            assert!(asked.contains(words), "{words}: {asked}");
        }
        assert!(
            !asked.contains("900,000,000 sat of the on-chain wallet go"),
            "what will not happen: {asked}"
        );
        self.told_in_sight("#in_sat", "900 000 000").await;

        let words =
            ["50,000 sat of the on-chain wallet go into the channel", "You can send about 49,500 sat more"];
        let splicing = self.put_in(channel, "50 000", &words).await;
        let operation = self.url(&format!("/operations/{splicing}"));
        says(tab, &operation, "its new size waits for confirmations").await;
        let waits = says(tab, channel, "A new size waits for confirmations").await;
        for words in [
            "300,000 sat until the splice is confirmed; then 350,000 sat",
            "Ready; a splice is under way",
            "A splice that puts 50,000 sat into the channel waits for its confirmations.",
            "It can be changed again when that has its confirmations.",
        ] {
            assert!(waits.contains(words), "{words}: {waits}");
        }
        // A second one is not begun, also from a page that was opened before the first.
        assert_eq!(tab.value("document.querySelectorAll('#in_sat').length").await, 0);
        let sent = "(() => { const form = document.createElement('form'); form.method = 'post';
            form.action = location.pathname + '/splice-in'; form.innerHTML = '<input name=in_sat value=\"1 000\">';
            document.body.append(form); form.submit(); return true })()";
        assert_eq!(tab.value(sent).await, true);
        tab.until("document.readyState === 'complete' && document.querySelector('.refusal')").await;
        let refusal = tab.text(".refusal").await;
        let words =
            format!("Another splice of this channel is under way (operation {splicing}); nothing was done");
        assert!(refusal.contains(&words), "{refusal}");
        assert_eq!(tab.value("document.querySelector('#in_sat').value").await, "1 000");
        self.confirm().await;
        self.done(&splicing).await;
        says(tab, &operation, "It is done.").await;
        let done = says(tab, channel, "from 300,000 to 350,000 sat; its fee was").await;
        assert!(done.contains("Made larger") && !done.contains("until the splice"), "{done}");
        assert!(done.contains("Move 50,000 sat into a channel"), "{done}");
    }

    /// The other node goes away in the middle of the negotiation.
    pub(super) async fn spliced_in_vain(&self, channel: &str) {
        let tab = &self.tab;
        let (before, had) = (self.usable().await, self.on_chain().await);
        self.wire.cut_the_next_splice();
        let splicing = self.put_in(channel, "30 000", &[]).await;
        let operation = self.url(&format!("/operations/{splicing}"));
        let failed = says(tab, &operation, "Not done").await;
        assert_eq!(self.wire.cuts(), 1);
        for words in
            ["It was not done, and nothing was moved", "did not come to an agreement", "no coins moved"]
        {
            assert!(failed.contains(words), "{words}: {failed}");
        }
        // One state, which stays; no coins are counted twice.
        let row = self.shop.get(&format!("/api/v1/operations/{splicing}")).await;
        assert_eq!((&row["state"], &row["outcome"]["txid"]), (&json!("failed"), &Value::Null), "{row}");
        assert_eq!(self.on_chain().await, had);
        let waiting = self.bitcoind.expect("getrawmempool", json!([])).await;
        assert_eq!(waiting, json!([]), "nothing was sent");
        let text = says(tab, channel, "Ready, but the other node is away").await;
        assert!(text.contains("350,000 sat") && !text.contains("until the splice"), "{text}");

        // Asked for while the other node is away, it waits, and says so; it comes about when that is back.
        let words = ["30,000 sat of the on-chain wallet", "The other node is away now"];
        let splicing = self.put_in(channel, "30 000", &words).await;
        let operation = self.url(&format!("/operations/{splicing}"));
        let waits = says(tab, &operation, "On its way").await;
        assert!(waits.contains("No coins have moved yet"), "{waits}");
        self.wire.mend();
        tab.open(&self.url("/lightning/peers")).await;
        fill(tab, "#node", &self.place).await;
        tab.click("form[action='/lightning/peers'] button").await;
        tab.until("document.readyState === 'complete' && document.querySelector('.said')").await;
        says(tab, &operation, "its new size waits for confirmations").await;
        // The channel carries payments meanwhile.
        self.paid_over().await;
        self.confirm().await;
        self.done(&splicing).await;
        let after = self.usable().await;
        let sat = |channel: &Value| channel["capacity_sat"].as_u64().expect("a size");
        assert_eq!(sat(&after), sat(&before) + 30_000, "one of the two came about");
        // And was paid for once.
        until("what is left in the wallet", async || {
            let spent = had.checked_sub(self.on_chain().await).expect("none came");
            (30_000..40_000).contains(&spent).then_some(())
        })
        .await;
        let text = says(tab, channel, "380,000 sat").await;
        assert!(text.contains("Not done"), "both are listed: {text}");
    }

    /// The channel shrinks, and the coins arrive.
    pub(super) async fn made_smaller(&self, channel: &str) {
        let tab = &self.tab;
        let to = self.bitcoind.expect("getnewaddress", json!(["", "bech32"])).await;
        let to = to.as_str().expect("an address");
        // All that the channel has is too much, and the page says how much is not.
        tab.open(channel).await;
        let most = tab.text("#out_sat-hint").await;
        let most = most
            .strip_prefix("At most about ")
            .and_then(|most| most.split(' ').next())
            .expect("a sum")
            .to_owned();
        let size = self.usable().await["capacity_sat"].as_u64().expect("a size");
        fill(tab, "#out_sat", &size.to_string()).await;
        fill(tab, "#address", to).await;
        tab.click("form[action$='/splice-out'] button").await;
        tab.until("document.readyState === 'complete' && document.querySelector('.refusal')").await;
        let refused = tab.text(".refusal").await;
        for words in [&format!("At most about {most} sat can leave the channel now"), "your side keeps"] {
            assert!(refused.contains(words), "{words}: {refused}");
        }
        assert!(!tab.text("main").await.contains("of the channel go to"), "what will not happen");
        self.told_in_sight("#out_sat", &size.to_string()).await;
        // Without an address they would go to the own wallet.
        tab.open(channel).await;
        fill(tab, "#out_sat", "40,000").await;
        tab.click("form[action$='/splice-out'] button").await;
        tab.until(ASKED).await;
        let asked = tab.text("main").await;
        assert!(asked.contains("go to a fresh address of this node"), "{asked}");
        tab.open(channel).await;
        fill(tab, "#out_sat", "40,000").await;
        fill(tab, "#address", to).await;
        tab.click("form[action$='/splice-out'] button").await;
        tab.until(ASKED).await;
        let asked = tab.text("main").await;
        assert!(asked.contains("40,000 sat of the channel go to") && asked.contains("stays open"), "{asked}");
        let splicing = yes(tab).await;
        self.taken_out_and_waiting(channel).await;
        self.confirm().await;
        self.done(&splicing).await;
        says(tab, &self.url(&format!("/operations/{splicing}")), "It is done.").await;
        let done = says(tab, channel, "Made smaller").await;
        let size = self.usable().await["capacity_sat"].as_u64().expect("a size");
        assert!((330_000..340_000).contains(&size) && done.contains(&grouped(size)), "{size}: {done}");
        let got = self.bitcoind.expect("getreceivedbyaddress", json!([to, 1])).await;
        assert_eq!(got.as_number().map(ToString::to_string), Some("0.0004".to_owned()));
    }

    /// One truth on every page while 40,000 sat wait to leave: that they do, and that the other side does not hold them.
    async fn taken_out_and_waiting(&self, channel: &str) {
        let tab = &self.tab;
        let text = says(tab, channel, "A new size waits for confirmations").await;
        let says_so = "A splice that takes 40,000 sat out of the channel waits for its confirmations.";
        assert!(text.contains("Ready; a splice is under way") && text.contains(says_so), "{text}");
        let listed = self.shop.get("/api/v1/channels").await["channels"][0].clone();
        let part =
            |of: &str, name: &str| listed[of][name].as_u64().unwrap_or_else(|| panic!("{name}: {listed}"));
        let (before, after) = (part("splice", "before_sat"), part("splice", "after_sat_about"));
        let fee = part("splice", "fee_sat");
        assert_eq!((before - after, part("held", "splicing_sat")), (40_000 + fee, 40_000 + fee), "{listed}");
        assert_eq!(part("held", "anchors_sat"), 660, "{listed}");
        // The other side's own reserve is a hundredth, and nobody's payment is under way.
        assert!(part("held", "theirs_sat") < 5_000 && part("held", "under_way_sat") == 0, "{listed}");
        let sums = format!(
            "about {} sat once the splice is confirmed; {} sat before it",
            grouped(after),
            grouped(before)
        );
        assert!(text.contains(&sums), "{sums}: {text}");
        tab.picture("lightning-channel-splicing").await;
        for path in ["/lightning", "/"] {
            let text = says(tab, &self.url(path), "Ready; a splice is under way").await;
            let leaves = format!("{} sat that leave with the splice", grouped(40_000 + fee));
            assert!(text.contains(says_so) && text.contains(&leaves), "{path}: {text}");
        }
        let mut shown = self.shop.tool("channels", &["show", &part_of(&listed)]);
        let shown =
            tokio::task::spawn_blocking(move || shown.output()).await.expect("no panic").expect("it runs");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(
            shown.contains("usable, splicing") && shown.contains(&format!("about {} sat", grouped(after))),
            "{shown}"
        );
    }
}

/// What a channel is called by on the command line.
fn part_of(channel: &Value) -> String {
    channel["channel_id"].as_str().expect("an id").chars().take(12).collect()
}
