//! Tollhouse: one self-custodial binary that charges software for an API.
//!
//! # Code map
//! A module imports only from ranks below its own (`tests/it/layering.rs` enforces it).
//!
//! | rank | module | what lives there |
//! |---|---|---|
//! | 0 | [`types`] | amounts, hashes, preimages, names, instants |
//! | 0 | [`clock`] | time and randomness |
//! | 0 | [`qr`] | a text as a QR code |
//! | 0 | [`moment`] | the moments at which a crash would matter, for the tests that crash there |
//! | 1 | [`l402`] | the L402 protocol: keys, tokens, credentials, challenges |
//! | 1 | [`payment_auth`] | the `Payment` scheme: challenges, credentials, receipts, problem types |
//! | 1 | [`pricing`] | amounts in any unit, rules, formulas, what a request costs and why |
//! | 1 | [`request`] | admission: what arrived becomes one canonical request, or is refused |
//! | 1 | [`ledger`] | the arithmetic of grants and holds; the challenges handed out lately |
//! | 1 | [`ports`] | the small traits: mint, pay, watch, events, key-value |
//! | 1 | [`tally`] | what is counted for Prometheus |
//! | 1 | [`event`] | the closed list of what happened |
//! | 2 | [`catalog`] | services, routes, their terms and offers, and the table that finds them |
//! | 2 | [`chain`] | chain sources: what they are, whether one answers, which one is in use |
//! | 2 | [`store`] | the only SQL: the ledger's writer and readers, the node's bytes, the lock |
//! | 2 | [`egress`] | guarded outgoing HTTP: every address checked, no redirect, bounded |
//! | 2 | [`secrets`] | seed words and master keys at rest |
//! | 2 | [`throttle`] | who asks too often, and who is too slow |
//! | 3 | [`backup`] | copies of the ledger that can be proved, and what must not follow from bringing one back |
//! | 3 | [`storefront`] | what is sold: keeps it, changes it, and puts it in force |
//! | 3 | [`node`] | the only LDK: build, mint, channels, events; what no chain source took |
//! | 3 | [`vault`] | the only direct BDK: cold storage that is watched, and addresses of it |
//! | 3 | [`rates`] | exchange rates: sources, the median of those who agree, no jump without confirmation |
//! | 4 | [`payments`] | the only consumer of node events; paying once for each hash |
//! | 4 | [`gate`] | verifies credentials; the only maker of a permit |
//! | 4 | [`rescue`] | the way back to the coins: recovery snapshot, generation of the channel state, recovery |
//! | 4 | [`webhooks`] | the log's events, signed and delivered to the operator's endpoints, until taken or parked |
//! | 5 | [`inbound`] | channels that others open to us: for one payment, or ordered |
//! | 4 | [`treasury`] | calls that move coins: each one recorded operation, whatever dies in between |
//! | 5 | [`metering`] | permit, hold, metered body: reserve, then settle or release |
//! | 5 | [`upkeep`] | keeping the shop able to be paid: payouts, the operator's rules, the forecast |
//! | 5 | [`watchman`] | alarms: what is the matter, since when, and what to do |
//! | 6 | [`checkout`] | verify and reserve, or quote and mint: one call |
//! | 6 | [`custody`] | holds that applications took and have not ended |
//! | 7 | [`web`] | the admin listener's walls: hosts, origins, sessions, keys, the claim, static files |
//! | 7 | [`proxy`] | the gateway: route, charge, forward |
//! | 7 | [`agent`] | the paying client: 402, one payment, the proof, the answer |
//! | 8 | [`api`] | the operator's JSON API |
//! | 8 | [`ui`] | the operator's pages |
//! | 8 | [`forward_auth`] | decides and debits for another proxy that forwards |
//! | 8 | [`wallet_face`] | a wallet with limits for other programs, in the words of LND's REST interface |
//! | 9 | [`config`] | the settings, each with its source |
//! | 10 | [`app`] | composition root: builds the parts, serves the listeners, ends in order |
//! | 11 | [`sandbox`] | regtest in the box: chain, shop, payer, sample API, customers |
//! | 12 | [`cli`] | the commands |

pub mod agent;
pub mod api;
pub mod app;
pub mod backup;
pub mod catalog;
pub mod chain;
pub mod checkout;
pub mod cli;
pub mod clock;
pub mod config;
pub mod custody;
pub mod egress;
pub mod event;
pub mod forward_auth;
pub mod gate;
pub mod inbound;
pub mod l402;
pub mod ledger;
pub mod metering;
pub mod moment;
pub mod node;
pub mod payment_auth;
pub mod payments;
pub mod ports;
pub mod pricing;
pub mod proxy;
pub mod qr;
pub mod rates;
pub mod request;
pub mod rescue;
pub mod sandbox;
pub mod secrets;
pub mod store;
pub mod storefront;
pub mod tally;
pub mod throttle;
pub mod treasury;
pub mod types;
pub mod ui;
pub mod upkeep;
pub mod vault;
pub mod wallet_face;
pub mod watchman;
pub mod web;
pub mod webhooks;
