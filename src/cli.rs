//! The commands: what a person types. Each prints, and returns what the process ends with.
//!
//! Nothing secret is taken on the command line, and nothing secret is printed unless it was asked for.

mod activity;
mod amounts;
mod audit;
mod backup;
mod chain;
mod channels;
mod check;
mod checklist;
mod copies;
mod demo;
mod doctor;
mod doubts;
mod download;
mod epochs;
mod fetch;
mod ground;
mod hardening;
mod inbound;
mod init;
mod keys;
mod log;
mod logging;
mod migrate;
mod moving;
mod next;
mod operations;
#[allow(dead_code, reason = "the commands that use all of it come with their features")]
mod operator;
mod password;
mod pay_out;
mod payment;
mod peers;
mod price;
mod rates;
mod recover;
mod revenue;
mod rules;
mod run;
mod seed;
mod services;
mod settings;
mod sources;
mod status;
mod terminal;
mod times;
mod token;
mod tokens;
mod trial;
mod unlock;
mod unlocking;
mod unsent;
mod vault;
mod wallet;
mod webhooks;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Environment;

/// Charge software for an API: a self-custodial L402 paywall with its own Lightning node.
#[derive(Debug, Parser)]
#[command(name = "tollhouse", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented configuration file
    Init(init::InitArgs),
    /// Read the configuration, and say what is in force or what is wrong
    Check(Box<check::CheckArgs>),
    /// Run the appliance
    Run(Box<run::RunArgs>),
    /// Make, bring back, prove and guard the seed
    Seed(Box<seed::SeedArgs>),
    /// Change the password of the operator's pages, or have a lost one forgotten
    Password(password::PasswordArgs),
    /// Say the seed's passphrase to an appliance that started locked
    Unlock(Box<unlock::UnlockArgs>),
    /// Say whether it earns, and can go on earning. Exits with 1 when nothing can be sold or nothing is on sale, so also
    /// while a new one starts and until something is sold there; 4 when it does not run
    Status(status::StatusArgs),
    /// What was earned, by hour or day and by route
    Revenue(revenue::RevenueArgs),
    /// What was paid, newest first, or one payment in full
    Payments(status::PaymentsArgs),
    /// The settings that the running appliance has in force, each with where it was said
    Config(settings::ConfigArgs),
    /// What the running appliance said lately, and a text for whoever helps
    Log(log::LogArgs),
    /// Look at everything, running or not, and say what to fix
    Doctor(Box<doctor::DoctorArgs>),
    /// Prove the books from every row of the ledger
    Audit(Box<audit::AuditArgs>),
    /// Keep copies of the ledger, prove them, and put one back
    Backup(Box<backup::BackupArgs>),
    /// Move everything, channels too, to another machine
    Migrate(Box<migrate::MigrateArgs>),
    /// Bring the coins home when channel state is lost, old or unreadable; while the appliance is stopped
    Recover(Box<recover::RecoverArgs>),
    /// Run a whole regtest world: a chain, a payer, an API to sell
    Demo(demo::DemoArgs),
    /// See how others can pay the node: who opens channels to it, and buy one
    Inbound(Box<inbound::InboundArgs>),
    /// See, open, close and resize channels
    Channels(Box<channels::ChannelsArgs>),
    /// See, connect and forget other nodes
    Peers(peers::PeersArgs),
    /// The on-chain wallet: what is in it, receiving, sending, history
    Wallet(Box<wallet::WalletArgs>),
    /// Every move of coins that was asked for, and what became of it
    Operations(operations::OperationsArgs),
    /// What happened, newest first
    Activity(Box<activity::ActivityArgs>),
    /// What came and went in payments over Lightning, and the difference
    Account(Box<activity::AccountArgs>),
    /// Make, list and revoke keys of the admin API
    Keys(keys::KeysArgs),
    /// Show where blocks come from, and whether that answers
    Chain(chain::ChainArgs),
    /// Show what a new operator has to see to first
    Steps(chain::StepsArgs),
    /// Show what bitcoin costs in other currencies, and who says so
    Rates(rates::RatesArgs),
    /// See what a token says, or make one that is good for less; offline, for tokens of any L402 server
    Token(token::TokenArgs),
    /// Give tokens away, find them, take them back; change the keys that they are minted under
    Tokens(Box<tokens::TokensArgs>),
    /// Have what happens sent to other programs, signed
    Webhooks(webhooks::WebhooksArgs),
    /// Pay earned sats out over Lightning, which makes room for new ones
    PayOut(Box<pay_out::PayOutArgs>),
    /// Watch cold storage, and have fresh addresses of it
    Vault(Box<vault::VaultArgs>),
    /// Show and set what the appliance keeps up by itself
    Rules(Box<rules::RulesArgs>),
    /// Say when receivable runs out at the rate of earning, and what cannot be sold first
    Forecast(rules::ForecastArgs),
    /// See and change what is sold
    Services(Box<services::ServicesArgs>),
    /// Say what a request would cost, and why
    Price(Box<price::PriceArgs>),
    /// Have the appliance ask its own gateway as a customer would, and pay in the demo
    Try(Box<trial::TrialArgs>),
    /// Get a URL, and pay for it when it must
    Fetch(Box<fetch::FetchArgs>),
}

/// The tree of commands, for whoever checks that they are alike.
pub fn commands() -> clap::Command {
    Cli::command()
}

/// Runs the command that `args` spell, the program's own name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    hardening::keep_memory_private();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; the rest goes to stderr and ends with 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let env = Environment::of_process();
    match cli.command {
        Command::Init(args) => init::run(&args, &env),
        Command::Check(args) => check::run(&args, &env),
        Command::Run(args) => run::run(&args, &env),
        Command::Seed(args) => seed::run(&args, &env),
        Command::Password(args) => password::run(&args, &env),
        Command::Unlock(args) => unlock::run(&args, &env),
        Command::Status(args) => status::run(&args, &env),
        Command::Payments(args) => status::payments(&args, &env),
        Command::Revenue(args) => revenue::run(&args, &env),
        Command::Config(args) => settings::run(&args, &env),
        Command::Log(args) => log::run(&args, &env),
        Command::Doctor(args) => doctor::run(&args, &env),
        Command::Audit(args) => audit::run(&args, &env),
        Command::Backup(args) => backup::run(&args, &env),
        Command::Migrate(args) => migrate::run(&args, &env),
        Command::Recover(args) => recover::run(&args, &env),
        Command::Demo(args) => demo::run(&args, &env),
        Command::Inbound(args) => inbound::run(&args, &env),
        Command::Channels(args) => channels::run(&args, &env),
        Command::Peers(args) => peers::run(&args, &env),
        Command::Wallet(args) => wallet::run(&args, &env),
        Command::Operations(args) => operations::run(&args, &env),
        Command::Activity(args) => activity::run(&args, &env),
        Command::Account(args) => activity::account(&args, &env),
        Command::Keys(args) => keys::run(&args, &env),
        Command::Chain(args) => chain::run(&args, &env),
        Command::Steps(args) => chain::steps(&args, &env),
        Command::Rates(args) => rates::run(&args, &env),
        Command::Token(args) => token::run(&args),
        Command::Tokens(args) => tokens::run(&args, &env),
        Command::Webhooks(args) => webhooks::run(&args, &env),
        Command::PayOut(args) => pay_out::run(&args, &env),
        Command::Vault(args) => vault::run(&args, &env),
        Command::Rules(args) => rules::run(&args, &env),
        Command::Forecast(args) => rules::forecast(&args, &env),
        Command::Services(args) => services::run(&args, &env),
        Command::Price(args) => price::run(&args, &env),
        Command::Try(args) => trial::run(&args, &env),
        Command::Fetch(args) => fetch::run(&args, &env),
    }
}

/// Writes to stdout, where a closed pipe is no reason to panic.
fn say(text: impl std::fmt::Display) -> io::Result<()> {
    terminal::line(io::stdout().lock(), text)
}

/// Writes to stdout what is good to know: a reader that has gone is no reason to stop.
fn tell(text: impl std::fmt::Display) {
    if let Err(error) = say(text) {
        tracing::debug!(%error, "stdout is closed");
    }
}

/// Writes to stderr, where nothing can be done about a failure.
fn warn(text: impl std::fmt::Display) {
    let _ = terminal::line(io::stderr().lock(), text);
}
