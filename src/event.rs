//! What happened: the closed list of things that the ledger's log records.
//!
//! The log is the truth; whoever shows or forwards events reads it by number and loses nothing.
//! An event never holds a secret: no preimage, no macaroon, no key.

use schemars::JsonSchema;
mod subject;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use subject::{Subject, UNLISTED};

use crate::types::{Kind, Msat, Name, PaymentHash, Severity, Timestamp};

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LoggedEvent {
    /// Position in the log: rises, never reused.
    pub id: i64,
    /// The ledger's life in which it was written: in a restored ledger numbers come again.
    pub generation: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

fn is_zero(amount: &Msat) -> bool {
    *amount == Msat::ZERO
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A payment arrived, credited once per hash.
    PaymentReceived {
        /// Its hash.
        payment_hash: PaymentHash,
        /// What arrived.
        amount_msat: Msat,
        /// What it was for, when the challenge is still remembered.
        service: Option<Name>,
        /// The route, likewise.
        route: Option<Name>,
        /// What arrived beyond what the invoice asked for; nobody's revenue.
        #[serde(default, skip_serializing_if = "is_zero")]
        over_msat: Msat,
        /// The part that an LSP kept back for the channel that it opened for it.
        #[serde(default, skip_serializing_if = "is_zero")]
        opening_fee_msat: Msat,
        /// It came after its invoice had expired.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        late: bool,
    },
    /// A second payment with the same hash in one run: shown, never revenue (MONEY rule 4).
    PossibleSurplus {
        /// Its hash.
        payment_hash: PaymentHash,
        /// What arrived again.
        amount_msat: Msat,
    },
    /// It is known which sale a payment was for: at once when its challenge is still remembered, else
    /// when its token is redeemed. Told once for each sale.
    SaleAttributed {
        /// Its hash.
        payment_hash: PaymentHash,
        /// Whose.
        service: Name,
        /// Which; of a pass, its scope.
        route: Name,
        /// What was sold.
        offer: Kind,
        /// Units as the token says them; of a pass, seconds.
        units: u64,
        /// Its price.
        amount_msat: Msat,
        /// That price in the currency that it was quoted in, with the rate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quote: Option<String>,
    },
    /// A token for more than one request is used up, or what is left is too small for a request that
    /// came. Told once, once for each period of a granted budget, and once more after a request that what was left
    /// was enough for.
    GrantExhausted {
        /// The grant.
        payment_hash: PaymentHash,
        /// Whose.
        service: Name,
        /// What was sold.
        offer: Kind,
        /// Units left: requests or millisatoshi.
        left: u64,
    },
    /// The operator made a token that nobody paid for.
    TokenGranted {
        /// The grant.
        payment_hash: PaymentHash,
        /// Whose.
        service: Name,
        /// What the operator calls it.
        label: String,
        /// What it may spend.
        budget_msat: Msat,
        /// In each period of so many seconds; `None` is once.
        per_secs: Option<u64>,
        /// Until when.
        valid_until: Timestamp,
    },
    /// A unit went back to its buyer.
    UnitRestored {
        /// The grant.
        payment_hash: PaymentHash,
        /// Whose.
        service: Name,
        /// Stable code of the reason, such as `upstream_unreachable`.
        reason: String,
    },
    /// A hold was found at start-up; the buyer keeps the unit, once (money rule 3).
    CrashRestored {
        /// The grant.
        payment_hash: PaymentHash,
        /// False when it had been restored once before and is charged now.
        restored: bool,
    },
    /// What was left of a grant ran out.
    UnitsExpired {
        /// The grant.
        payment_hash: PaymentHash,
        /// How many.
        units: u64,
    },
    /// The operator took a token back.
    TokenRevoked {
        /// The grant.
        payment_hash: PaymentHash,
        /// How many units were left; 0 for one that was not redeemed yet.
        units: u64,
    },
    /// A new master key mints tokens from now on.
    EpochBegun {
        /// Its epoch.
        epoch: u32,
    },
    /// The operator destroyed a master key: its tokens open nothing any more.
    EpochRetired {
        /// Its epoch.
        epoch: u32,
        /// Tokens that were still good.
        tokens: u64,
        /// What their buyers could still have used, of what they paid.
        unearned_msat: u64,
    },
    /// Another copy of the ledger took its place: what happened after that copy is not in it.
    GenerationBegun {
        /// Stable word for why, such as `restored`.
        why: String,
        /// Tokens of key epochs below this one are refused until they are honoured.
        doubtful_below_epoch: u32,
    },
    /// A token came whose use the restored ledger cannot prove. Told once for each.
    TokenDoubted {
        /// Its payment.
        payment_hash: PaymentHash,
        /// Whose.
        service: Name,
    },
    /// The operator takes such a token to be good.
    TokenHonoured {
        /// Its payment.
        payment_hash: PaymentHash,
    },
    /// The operator takes all such tokens to be good.
    AllTokensHonoured {
        /// Those of key epochs below this one.
        below_epoch: u32,
    },
    /// The operator lets coins be sent again after a restore.
    PayoutsReleased,
    /// A backup of the ledger was made and opened again.
    BackupMade {
        /// Its file's name.
        file: String,
        /// Its length.
        bytes: u64,
    },
    /// No backup could be made.
    BackupFailed {
        /// Why.
        reason: String,
    },
    /// The node sent a payment that the ledger knew nothing of.
    UnknownPaymentSent {
        /// Its hash.
        payment_hash: PaymentHash,
        /// What routing cost.
        fee_msat: Msat,
    },
    /// A payment of ours arrived.
    PaymentSent {
        /// Its hash.
        payment_hash: PaymentHash,
        /// What it paid.
        amount_msat: Msat,
        /// What routing cost.
        fee_msat: Msat,
    },
    /// A payment of ours failed.
    PaymentFailed {
        /// Its hash.
        payment_hash: PaymentHash,
        /// Why.
        reason: String,
    },
    /// The operator, or a rule of theirs, set out to move coins.
    OperationBegun {
        /// Its number.
        operation: i64,
        /// A stable word such as `send` or `open_channel`.
        what: String,
        /// What was asked for.
        ask: Value,
    },
    /// It is known how such an operation stands.
    OperationChanged {
        /// Its number.
        operation: i64,
        /// What it does.
        what: String,
        /// `sent`, `done`, `failed` or `unclear`.
        state: String,
        /// What is known of it: a transaction, a channel, a reason.
        outcome: Value,
    },
    /// A rule of the operator's set an operation going.
    RuleRan {
        /// `pay_out` or `splice_out`.
        rule: String,
        /// The operation's number.
        operation: i64,
        /// Why, in numbers.
        why: String,
    },
    /// A rule of the operator's looked and did nothing. Told when its reason becomes another.
    RuleRested {
        /// `pay_out` or `splice_out`.
        rule: String,
        /// Stable code of the reason, such as `not_needed` or `daily_limit`.
        code: String,
        /// The reason, in numbers.
        why: String,
    },
    /// Cold storage is watched, from now on this one.
    VaultSet {
        /// Its number.
        vault: i64,
        /// `bip44`, `bip49`, `bip84`, `bip86` or `descriptor`.
        form: String,
    },
    /// Cold storage is not watched any more.
    VaultRemoved {
        /// Its number.
        vault: i64,
    },
    /// An address of the cold storage was handed out, for one deposit.
    VaultAddressGiven {
        /// The vault's number.
        vault: i64,
        /// The address's number.
        index: u32,
        /// The address.
        address: String,
        /// What for.
        deposit: String,
    },
    /// Coins came to the cold storage or left it: seen, confirmed, or gone from the chain again.
    VaultMoved {
        /// The transaction.
        txid: String,
        /// What came in.
        received_sat: u64,
        /// What went out.
        sent_sat: u64,
        /// Its block; nothing while it waits.
        height: Option<u32>,
    },
    /// The node moved to another chain source.
    ChainSourceChanged {
        /// The one in use now.
        source: String,
        /// Its position in the list, from 0: the preferred one.
        position: usize,
    },
    /// It is known how an ordered channel stands.
    ChannelOrderChanged {
        /// Its number.
        order: i64,
        /// The provider's public key.
        lsp: String,
        /// `quoted`, `paying`, `paid`, `opened`, `refunded`, `expired` or `failed`.
        state: String,
        /// What can be received over the channel, satoshi.
        receivable_sat: u64,
        /// Its funding, once published.
        funding: Option<String>,
    },
    /// A channel waits for confirmations.
    ChannelPending {
        /// Which.
        channel_id: String,
        /// With whom.
        peer: String,
    },
    /// A channel can carry payments.
    ChannelReady {
        /// Which.
        channel_id: String,
        /// With whom.
        peer: String,
    },
    /// A channel is gone.
    ChannelClosed {
        /// Which.
        channel_id: String,
        /// With whom.
        peer: String,
        /// Why, in the library's words.
        reason: String,
        /// Why, a stable word such as `agreed_by_peer`, `restart` or `recovered`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        cause: String,
        /// Our own id of it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        local_id: String,
    },
    /// What was ours in a closed channel is in the on-chain wallet.
    ChannelCoinsHome {
        /// Which.
        channel_id: String,
        /// With whom.
        peer: String,
        /// How much, satoshi.
        amount_sat: u64,
        /// It is what the wallet got, after all fees; else it is what was owed, before the fee of the transaction that
        /// brought it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        exactly: bool,
    },
    /// The on-chain wallet paid to bring a transaction of a close by force into a block, and that is in one itself. It is no
    /// part of what the close took of the channel’s own coins.
    CloseFeePaid {
        /// Which.
        channel_id: String,
        /// With whom.
        peer: String,
        /// The transaction that paid.
        txid: String,
        /// What left the wallet with it, satoshi.
        fee_sat: u64,
        /// The height of the block that it was in then.
        height: u32,
    },
    /// Somebody sent coins to the on-chain wallet, and they are in a block. It is told with the first one, at one
    /// confirmation: a reorganisation of the chain may undo it, and that is not told. Wait for more confirmations
    /// before you count on them.
    CoinsArrived {
        /// The transaction.
        txid: String,
        /// How much, satoshi.
        amount_sat: u64,
        /// The height of the block that it was in then.
        height: u32,
    },
    /// A channel's new size waits for confirmations.
    SplicePending {
        /// Which.
        channel_id: String,
        /// `txid:vout` of the new funding output.
        funding: String,
    },
    /// A channel stays as it was.
    SpliceFailed {
        /// Which.
        channel_id: String,
    },
    /// Something is the matter that a person should know of.
    AlarmRaised {
        /// Stable word, such as `chain_stale`.
        code: String,
        /// What it is about, where there may be several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// How bad it is.
        severity: Severity,
        /// What is the matter.
        text: String,
        /// What to do.
        fix: String,
    },
    /// It is worse, or not as bad any more.
    AlarmChanged {
        /// As it was raised.
        code: String,
        /// As it was raised.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// How bad it was.
        was: Severity,
        /// How bad it is now.
        severity: Severity,
        /// What is the matter.
        text: String,
        /// What to do.
        fix: String,
    },
    /// It is over.
    AlarmCleared {
        /// As it was raised.
        code: String,
        /// As it was raised.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// When it was raised.
        raised_at: Timestamp,
    },
    /// A service was added, changed or removed.
    ServiceChanged {
        /// Which.
        service: Name,
        /// What it was, without what may be a key; nothing when it is new.
        before: Option<Value>,
        /// What it is, likewise; nothing when it was removed.
        after: Option<Value>,
    },
    /// Every row of the ledger was read and added up, as after a stop that was not orderly.
    BooksAudited {
        /// The books are right.
        ok: bool,
        /// What is wrong, in plain words.
        mismatches: Vec<String>,
    },
    /// The seed's words were shown, to be written down.
    SeedWordsShown,
    /// Somebody proved to have them.
    SeedVerified,
    /// Another passphrase opens the seed.
    PassphraseChanged,
    /// The operator's first password was set, with the one-time link.
    PasswordSet,
    /// Another password opens the operator's pages.
    PasswordChanged,
    /// A key for a program was made.
    KeyMade {
        /// Its number.
        key: i64,
        /// What the operator calls it.
        label: String,
        /// What it may do, with spaces between.
        scopes: String,
        /// When it ends by itself, if it does.
        expires_at: Option<Timestamp>,
    },
    /// A key opens nothing any more.
    KeyRevoked {
        /// Its number.
        key: i64,
        /// What the operator calls it.
        label: String,
    },
    /// An endpoint gets what happens from now on.
    WebhookAdded {
        /// Its number.
        webhook: i64,
        /// What the operator calls it.
        label: String,
        /// Its host; the rest of its address may be a key.
        host: String,
    },
    /// An endpoint gets nothing any more.
    WebhookRemoved {
        /// Its number.
        webhook: i64,
        /// What the operator called it.
        label: String,
        /// Its host.
        host: String,
    },
    /// The appliance came up.
    Started {
        /// Its version.
        version: String,
        /// The last stop was orderly.
        clean: bool,
    },
    /// The appliance went down in order.
    Stopped,
}
