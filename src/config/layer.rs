//! Where a setting comes from: flag > environment > file > default.
//!
//! Names follow from one another: `gateway.listen` is the flag `--gateway-listen` and the variable
//! `TOLLHOUSE_GATEWAY_LISTEN`. An empty variable counts as unset. Passwords have no flag: other users
//! can read a command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::alarm_flags::AlarmFlags;
use super::document::{Origin, Section, not_a};
use super::problem::{Bad, Problem, Source};

/// The flags that every command with settings takes. Each has a variable: `--gateway-listen` is
/// `TOLLHOUSE_GATEWAY_LISTEN`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Settings (flag > TOLLHOUSE_… variable > file > default)")]
pub struct Flags {
    /// The configuration file; default tollhouse.toml in the data directory [env: TOLLHOUSE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where keys, channels and the ledger live [env: TOLLHOUSE_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// regtest, signet, testnet or mainnet [env: TOLLHOUSE_NETWORK]
    #[arg(long)]
    pub network: Option<String>,
    /// What the log shows, such as info or debug [env: TOLLHOUSE_LOG]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// A file of services, read again on SIGHUP [env: TOLLHOUSE_SERVICES_FILE]
    #[arg(long, value_name = "FILE")]
    pub services_file: Option<String>,
    /// Where customers' requests arrive [env: TOLLHOUSE_GATEWAY_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub gateway_listen: Option<String>,
    /// The gateway's address as customers see it [env: TOLLHOUSE_GATEWAY_PUBLIC_URL]
    #[arg(long, value_name = "URL")]
    pub gateway_public_url: Option<String>,
    /// A proxy in front that may say who asks, or its network [env: TOLLHOUSE_GATEWAY_TRUSTED_PROXIES]
    #[arg(long, value_name = "NETWORK")]
    pub gateway_trusted_proxies: Vec<String>,
    /// What those proxies write: x-forwarded-for or forwarded [env: TOLLHOUSE_GATEWAY_FORWARDED_BY]
    #[arg(long, value_name = "HEADER")]
    pub gateway_forwarded_by: Option<String>,
    /// Whether their connections begin with a PROXY header: off, v1, v2, any [env: TOLLHOUSE_GATEWAY_PROXY_PROTOCOL]
    #[arg(long, value_name = "VERSION")]
    pub gateway_proxy_protocol: Option<String>,
    /// What to do with a token that has a condition which is not known: deny or skip [env: TOLLHOUSE_GATEWAY_UNKNOWN_CAVEATS]
    #[arg(long, value_name = "WORD")]
    pub gateway_unknown_caveats: Option<String>,
    /// Challenges for one network, such as "600 per minute" [env: TOLLHOUSE_GATEWAY_LIMITS_CHALLENGES]
    #[arg(long, value_name = "RATE")]
    pub gateway_limits_challenges: Option<String>,
    /// Challenges for all together [env: TOLLHOUSE_GATEWAY_LIMITS_ALL_CHALLENGES]
    #[arg(long, value_name = "RATE")]
    pub gateway_limits_all_challenges: Option<String>,
    /// Credentials that are not good, of one network [env: TOLLHOUSE_GATEWAY_LIMITS_FAILURES]
    #[arg(long, value_name = "RATE")]
    pub gateway_limits_failures: Option<String>,
    /// Credentials that are not good, of all together [env: TOLLHOUSE_GATEWAY_LIMITS_ALL_FAILURES]
    #[arg(long, value_name = "RATE")]
    pub gateway_limits_all_failures: Option<String>,
    /// The gateway's certificate and its chain, in PEM: it speaks TLS then [env: TOLLHOUSE_GATEWAY_TLS_CERT]
    #[arg(long, value_name = "FILE")]
    pub gateway_tls_cert: Option<String>,
    /// The certificate's key, in PEM [env: TOLLHOUSE_GATEWAY_TLS_KEY]
    #[arg(long, value_name = "FILE")]
    pub gateway_tls_key: Option<String>,
    /// Where the operator's page and API listen [env: TOLLHOUSE_ADMIN_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<String>,
    /// A further host name that the admin listener answers to [env: TOLLHOUSE_ADMIN_ALLOWED_HOSTS]
    #[arg(long, value_name = "HOST")]
    pub admin_allowed_hosts: Vec<String>,
    /// Where other proxies ask (Caddy's forward_auth and the like) [env: TOLLHOUSE_FORWARD_AUTH_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub forward_auth_listen: Option<String>,
    /// A file or descriptor whose first line is the seed's passphrase [env: TOLLHOUSE_UNLOCK_PASSPHRASE_FILE]
    #[arg(long, value_name = "FILE", visible_alias = "passphrase-file")]
    pub unlock_passphrase_file: Option<String>,
    /// A file with a key that opens the seed with nobody there [env: TOLLHOUSE_UNLOCK_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    pub unlock_key_file: Option<String>,
    /// Where Lightning peers connect [env: TOLLHOUSE_LIGHTNING_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub lightning_listen: Vec<String>,
    /// The node's name [env: TOLLHOUSE_LIGHTNING_ALIAS]
    #[arg(long, value_name = "NAME")]
    pub lightning_alias: Option<String>,
    /// A peer whose anchor channels need no reserve [env: TOLLHOUSE_LIGHTNING_TRUSTED_PEERS_NO_RESERVE]
    #[arg(long, value_name = "KEY")]
    pub lightning_trusted_peers_no_reserve: Vec<String>,
    /// The LSP that opens channels for payments [env: TOLLHOUSE_LIQUIDITY_LSPS2_NODE]
    #[arg(long, value_name = "KEY")]
    pub liquidity_lsps2_node: Option<String>,
    /// Its address; its token comes from the file or TOLLHOUSE_LIQUIDITY_LSPS2_TOKEN [env: TOLLHOUSE_LIQUIDITY_LSPS2_ADDRESS]
    #[arg(long, value_name = "ADDRESS")]
    pub liquidity_lsps2_address: Option<String>,
    /// What one opening may cost, in satoshi [env: TOLLHOUSE_LIQUIDITY_LSPS2_MAX_FEE_SAT]
    #[arg(long, value_name = "SATS")]
    pub liquidity_lsps2_max_fee_sat: Option<String>,
    /// What it may cost, in hundredths of the payment [env: TOLLHOUSE_LIQUIDITY_LSPS2_MAX_FEE_PERCENT]
    #[arg(long, value_name = "PERCENT")]
    pub liquidity_lsps2_max_fee_percent: Option<String>,
    /// How many such invoices are made in an hour [env: TOLLHOUSE_LIQUIDITY_LSPS2_MAX_PER_HOUR]
    #[arg(long, value_name = "COUNT")]
    pub liquidity_lsps2_max_per_hour: Option<String>,
    /// The LSP that sells channels [env: TOLLHOUSE_LIQUIDITY_LSPS1_NODE]
    #[arg(long, value_name = "KEY")]
    pub liquidity_lsps1_node: Option<String>,
    /// Its address; its token comes from the file or TOLLHOUSE_LIQUIDITY_LSPS1_TOKEN [env: TOLLHOUSE_LIQUIDITY_LSPS1_ADDRESS]
    #[arg(long, value_name = "ADDRESS")]
    pub liquidity_lsps1_address: Option<String>,
    /// Where a second copy of the recovery snapshot goes, best on another disk [env: TOLLHOUSE_SNAPSHOT_DIR]
    #[arg(long, value_name = "DIR")]
    pub snapshot_dir: Option<String>,
    /// A chain source, several in the order of preference, such as electrum+ssl://host:50002 [env: TOLLHOUSE_CHAIN_SOURCES]
    #[arg(long, value_name = "URL")]
    pub chain_sources: Vec<String>,
    /// A source that does not answer for so long is left for the next one [env: TOLLHOUSE_CHAIN_GIVE_UP_AFTER]
    #[arg(long, value_name = "TIME")]
    pub chain_give_up_after: Option<String>,
    /// A preferred source answers for so long before it is used again [env: TOLLHOUSE_CHAIN_RETURN_AFTER]
    #[arg(long, value_name = "TIME")]
    pub chain_return_after: Option<String>,
    /// Without news of the chain for so long, nothing is sold [env: TOLLHOUSE_CHAIN_STALE_AFTER]
    #[arg(long, value_name = "TIME")]
    pub chain_stale_after: Option<String>,
    /// bitcoind, esplora or electrum [env: TOLLHOUSE_CHAIN_SOURCE]
    #[arg(long, value_name = "SOURCE")]
    pub chain_source: Option<String>,
    /// bitcoind's host [env: TOLLHOUSE_CHAIN_HOST]
    #[arg(long, value_name = "HOST")]
    pub chain_host: Option<String>,
    /// bitcoind's RPC port [env: TOLLHOUSE_CHAIN_PORT]
    #[arg(long, value_name = "PORT")]
    pub chain_port: Option<String>,
    /// bitcoind's RPC user; the password comes from the file or TOLLHOUSE_CHAIN_PASSWORD [env: TOLLHOUSE_CHAIN_USER]
    #[arg(long, value_name = "USER")]
    pub chain_user: Option<String>,
    /// bitcoind's cookie file, in place of user and password [env: TOLLHOUSE_CHAIN_COOKIE_FILE]
    #[arg(long, value_name = "FILE")]
    pub chain_cookie_file: Option<String>,
    /// The Esplora or Electrum server [env: TOLLHOUSE_CHAIN_URL]
    #[arg(long, value_name = "URL")]
    pub chain_url: Option<String>,
    /// p2p or rapid_sync [env: TOLLHOUSE_GOSSIP_SOURCE]
    #[arg(long, value_name = "SOURCE")]
    pub gossip_source: Option<String>,
    /// The Rapid Gossip Sync server [env: TOLLHOUSE_GOSSIP_URL]
    #[arg(long, value_name = "URL")]
    pub gossip_url: Option<String>,
    /// Where backups of the ledger go; without it none are made [env: TOLLHOUSE_BACKUP_DIR]
    #[arg(long, value_name = "DIR")]
    pub backup_dir: Option<String>,
    /// How often one is made, such as 6h [env: TOLLHOUSE_BACKUP_EVERY]
    #[arg(long, value_name = "TIME")]
    pub backup_every: Option<String>,
    /// How many are kept [env: TOLLHOUSE_BACKUP_KEEP]
    #[arg(long, value_name = "COUNT")]
    pub backup_keep: Option<String>,
    /// How old an exchange rate may be that is sold at [env: TOLLHOUSE_RATES_MAX_AGE]
    #[arg(long, value_name = "TIME")]
    pub rates_max_age: Option<String>,
    /// How far a rate may move without being confirmed [env: TOLLHOUSE_RATES_MAX_STEP_PERCENT]
    #[arg(long, value_name = "PERCENT")]
    pub rates_max_step_percent: Option<String>,
    /// How often the sources of rates are asked [env: TOLLHOUSE_RATES_REFRESH]
    #[arg(long, value_name = "TIME")]
    pub rates_refresh: Option<String>,
    /// Whether payouts may ask servers on this machine and in private networks for invoices: true or false [env: TOLLHOUSE_PAYOUTS_ALLOW_PRIVATE]
    #[arg(long, value_name = "WORD")]
    pub payouts_allow_private: Option<String>,
    /// From when on something is an alarm.
    #[command(flatten)]
    pub alarms: AlarmFlags,
    /// Where earned sats are paid out to: an offer or a Lightning address [env: TOLLHOUSE_RULES_PAY_OUT_TO]
    #[arg(long, value_name = "TO")]
    pub rules_pay_out_to: Option<String>,
    /// Pay out when less than this can be received [env: TOLLHOUSE_RULES_PAY_OUT_BELOW_SAT]
    #[arg(long, value_name = "SATS")]
    pub rules_pay_out_below_sat: Option<String>,
    /// … until this can be received [env: TOLLHOUSE_RULES_PAY_OUT_UNTIL_SAT]
    #[arg(long, value_name = "SATS")]
    pub rules_pay_out_until_sat: Option<String>,
    /// … and at most this on one day, fees included [env: TOLLHOUSE_RULES_PAY_OUT_PER_DAY_SAT]
    #[arg(long, value_name = "SATS")]
    pub rules_pay_out_per_day_sat: Option<String>,
    /// The most that its routing may cost, in millionths; default 10000 [env: TOLLHOUSE_RULES_PAY_OUT_MAX_FEE_PPM]
    #[arg(long, value_name = "PPM")]
    pub rules_pay_out_max_fee_ppm: Option<String>,
    /// Where coins of channels go: vault, or an address [env: TOLLHOUSE_RULES_SPLICE_OUT_TO]
    #[arg(long, value_name = "TO")]
    pub rules_splice_out_to: Option<String>,
    /// Splice out when more than this is spendable [env: TOLLHOUSE_RULES_SPLICE_OUT_ABOVE_SAT]
    #[arg(long, value_name = "SATS")]
    pub rules_splice_out_above_sat: Option<String>,
    /// … and leave this much [env: TOLLHOUSE_RULES_SPLICE_OUT_KEEP_SAT]
    #[arg(long, value_name = "SATS")]
    pub rules_splice_out_keep_sat: Option<String>,
    /// … and take out at most this on one day [env: TOLLHOUSE_RULES_SPLICE_OUT_PER_DAY_SAT]
    #[arg(long, value_name = "SATS")]
    pub rules_splice_out_per_day_sat: Option<String>,
}

impl Flags {
    fn values(&self, setting: &str) -> &[String] {
        match setting {
            "data_dir" => self.data_dir.as_slice(),
            "network" => self.network.as_slice(),
            "log" => self.log.as_slice(),
            "services_file" => self.services_file.as_slice(),
            "gateway.listen" => self.gateway_listen.as_slice(),
            "gateway.public_url" => self.gateway_public_url.as_slice(),
            "gateway.trusted_proxies" => &self.gateway_trusted_proxies,
            "gateway.forwarded_by" => self.gateway_forwarded_by.as_slice(),
            "gateway.proxy_protocol" => self.gateway_proxy_protocol.as_slice(),
            "gateway.unknown_caveats" => self.gateway_unknown_caveats.as_slice(),
            "gateway.limits.challenges" => self.gateway_limits_challenges.as_slice(),
            "gateway.limits.all_challenges" => self.gateway_limits_all_challenges.as_slice(),
            "gateway.limits.failures" => self.gateway_limits_failures.as_slice(),
            "gateway.limits.all_failures" => self.gateway_limits_all_failures.as_slice(),
            "gateway.tls.cert" => self.gateway_tls_cert.as_slice(),
            "gateway.tls.key" => self.gateway_tls_key.as_slice(),
            "admin.listen" => self.admin_listen.as_slice(),
            "admin.allowed_hosts" => &self.admin_allowed_hosts,
            "unlock.passphrase_file" => self.unlock_passphrase_file.as_slice(),
            "unlock.key_file" => self.unlock_key_file.as_slice(),
            "forward_auth.listen" => self.forward_auth_listen.as_slice(),
            "lightning.listen" => &self.lightning_listen,
            "lightning.alias" => self.lightning_alias.as_slice(),
            "lightning.trusted_peers_no_reserve" => &self.lightning_trusted_peers_no_reserve,
            "liquidity.lsps2.node" => self.liquidity_lsps2_node.as_slice(),
            "liquidity.lsps2.address" => self.liquidity_lsps2_address.as_slice(),
            "liquidity.lsps2.max_fee_sat" => self.liquidity_lsps2_max_fee_sat.as_slice(),
            "liquidity.lsps2.max_fee_percent" => self.liquidity_lsps2_max_fee_percent.as_slice(),
            "liquidity.lsps2.max_per_hour" => self.liquidity_lsps2_max_per_hour.as_slice(),
            "liquidity.lsps1.node" => self.liquidity_lsps1_node.as_slice(),
            "liquidity.lsps1.address" => self.liquidity_lsps1_address.as_slice(),
            "snapshot.dir" => self.snapshot_dir.as_slice(),
            "chain.sources" => &self.chain_sources,
            "chain.give_up_after" => self.chain_give_up_after.as_slice(),
            "chain.return_after" => self.chain_return_after.as_slice(),
            "chain.stale_after" => self.chain_stale_after.as_slice(),
            "chain.source" => self.chain_source.as_slice(),
            "chain.host" => self.chain_host.as_slice(),
            "chain.port" => self.chain_port.as_slice(),
            "chain.user" => self.chain_user.as_slice(),
            "chain.cookie_file" => self.chain_cookie_file.as_slice(),
            "chain.url" => self.chain_url.as_slice(),
            "gossip.source" => self.gossip_source.as_slice(),
            "gossip.url" => self.gossip_url.as_slice(),
            "backup.dir" => self.backup_dir.as_slice(),
            "backup.every" => self.backup_every.as_slice(),
            "backup.keep" => self.backup_keep.as_slice(),
            "rates.max_age" => self.rates_max_age.as_slice(),
            "rates.max_step_percent" => self.rates_max_step_percent.as_slice(),
            "rates.refresh" => self.rates_refresh.as_slice(),
            "payouts.allow_private" => self.payouts_allow_private.as_slice(),
            name if name.starts_with("alarms.") => self.alarms.values(name),
            "rules.pay_out.to" => self.rules_pay_out_to.as_slice(),
            "rules.pay_out.below_sat" => self.rules_pay_out_below_sat.as_slice(),
            "rules.pay_out.until_sat" => self.rules_pay_out_until_sat.as_slice(),
            "rules.pay_out.per_day_sat" => self.rules_pay_out_per_day_sat.as_slice(),
            "rules.pay_out.max_fee_ppm" => self.rules_pay_out_max_fee_ppm.as_slice(),
            "rules.splice_out.to" => self.rules_splice_out_to.as_slice(),
            "rules.splice_out.above_sat" => self.rules_splice_out_above_sat.as_slice(),
            "rules.splice_out.keep_sat" => self.rules_splice_out_keep_sat.as_slice(),
            "rules.splice_out.per_day_sat" => self.rules_splice_out_per_day_sat.as_slice(),
            _ => &[],
        }
    }
}

/// The environment, taken once so that a test can give its own.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl std::fmt::Debug for Environment {
    /// Leaves everything out: it holds keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

impl Environment {
    /// This process's variables, those that are not Unicode left out.
    pub fn of_process() -> Environment {
        let text = |s: std::ffi::OsString| s.into_string().ok();
        Environment(std::env::vars_os().filter_map(|(k, v)| Some((text(k)?, text(v)?))).collect())
    }

    /// A variable, unless it is unset or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Environment {
        Environment(pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

/// The flag of a setting.
pub(crate) fn flag_of(setting: &str) -> String {
    format!("--{}", setting.replace(['.', '_'], "-"))
}

/// The variable of a setting.
pub(crate) fn variable_of(setting: &str) -> String {
    format!("TOLLHOUSE_{}", setting.replace('.', "_").to_ascii_uppercase())
}

/// One setting as it will be used, for a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its full name, such as `gateway.listen`.
    pub setting: String,
    /// Its value; a secret's is hidden.
    pub value: String,
    /// Where it was said.
    pub source: Source,
}

/// Finds each setting's text in the highest layer that has it.
pub(crate) struct Layers<'a> {
    pub(crate) flags: &'a Flags,
    pub(crate) env: &'a Environment,
    pub(crate) origin: &'a Origin,
    pub(crate) problems: Vec<Problem>,
    pub(crate) shown: Vec<Shown>,
}

impl Layers<'_> {
    /// What is said for a setting: one text, or the items of a list, each with its source.
    fn said(&mut self, section: &mut Section<'_, '_>, key: &'static str) -> Option<Vec<(String, Source)>> {
        let name = section.name_of(key);
        let in_file = section.value(key);
        let flags = self.flags.values(&name);
        if !flags.is_empty() {
            return Some(flags.iter().map(|v| (v.clone(), Source::Flag(flag_of(&name)))).collect());
        }
        let variable = variable_of(&name);
        if let Some(text) = self.env.get(&variable) {
            return Some(vec![(text.to_owned(), Source::Env(variable))]);
        }
        let value = in_file?;
        let source = section.source_of(&value.span());
        let found = value.get_ref();
        if let Some(items) = found.as_array() {
            let mut texts = Vec::new();
            for item in items {
                match item.get_ref().as_str() {
                    Some(text) => texts.push((text.to_owned(), section.source_of(&item.span()))),
                    None => section.complain(
                        key,
                        Some(item.span()),
                        not_a("a string", "Put it in quotes.", item.get_ref()),
                    ),
                }
            }
            return Some(texts);
        }
        let text = found.as_str().map(str::to_owned);
        let number = found.as_integer().filter(|i| i.radix() == 10).map(|i| i.as_str().to_owned());
        match text.or(number) {
            Some(text) => Some(vec![(text, source)]),
            None => {
                section.complain(key, Some(value.span()), not_a("a string", "Put it in quotes.", found));
                None
            }
        }
    }

    /// One setting. `None` when nothing says it and there is no default, or what is said is wrong.
    pub(crate) fn one<T>(
        &mut self,
        section: &mut Section<'_, '_>,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Bad>,
    ) -> Option<(T, Source)> {
        let name = section.name_of(key);
        let said = self.said(section, key)?;
        let [(text, source)] = said.as_slice() else {
            let source = said.first().map_or(Source::Default, |(_, source)| source.clone());
            let bad = Bad::new("expected one value, found a list", "Write one value in quotes.");
            self.problems.push(self.origin.problem_from(source, &name, bad));
            return None;
        };
        match parse(text) {
            Ok(value) => Some((value, source.clone())),
            Err(bad) => {
                self.problems.push(self.origin.problem_from(source.clone(), &name, bad));
                None
            }
        }
    }

    /// A yes or a no: a boolean in the file, a word elsewhere.
    pub(crate) fn answer(
        &mut self,
        section: &mut Section<'_, '_>,
        key: &'static str,
    ) -> Option<(bool, Source)> {
        let name = section.name_of(key);
        let elsewhere = !self.flags.values(&name).is_empty() || self.env.get(&variable_of(&name)).is_some();
        if let Some(value) = section.value(key).filter(|_| !elsewhere)
            && let Some(yes) = value.get_ref().as_bool()
        {
            return Some((yes, section.source_of(&value.span())));
        }
        self.one(section, key, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Bad::new(format!("\"{text}\" is neither true nor false"), "Write true or false.")),
        })
    }

    /// A list of settings; a variable holds them with commas between.
    pub(crate) fn list<T>(
        &mut self,
        section: &mut Section<'_, '_>,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Bad>,
    ) -> Option<(Vec<T>, Source)> {
        let name = section.name_of(key);
        let said = self.said(section, key)?;
        let whole = said.first().map_or(Source::Default, |(_, source)| source.clone());
        let mut values = Vec::new();
        for (text, source) in said {
            let items: Vec<&str> = match source {
                Source::File(_) => vec![text.as_str()],
                _ => text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
            };
            for item in items {
                match parse(item) {
                    Ok(value) => values.push(value),
                    Err(bad) => self.problems.push(self.origin.problem_from(source.clone(), &name, bad)),
                }
            }
        }
        Some((values, whole))
    }

    /// Notes the setting for the reader.
    pub(crate) fn show(&mut self, setting: impl Into<String>, value: impl Into<String>, source: Source) {
        self.shown.push(Shown { setting: setting.into(), value: value.into(), source });
    }
}
