//! The settings: read from flags, the environment and one TOML file, checked whole, each with its source.
//!
//! Only this module parses settings and only `app` hands them out. Every problem is found before any is
//! reported, and names the file, the line and the setting. Nothing here touches the network.

mod alarm_flags;
mod alarms;
mod backup;
mod chain;
mod document;
mod gateway;
mod layer;
mod liquidity;
mod location;
mod node;
mod payouts;
mod place;
mod problem;
mod rates;
mod rules;
mod service;
mod template;
mod tls;
mod unlock;
mod value;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use alarm_flags::AlarmFlags;
pub use gateway::{Entrance, Gateway, ProxyProtocol};
pub use layer::{Environment, Flags, Shown};
pub use location::{config_file, state_dir};
pub use place::{AdminPlace, data_dir_of};
pub use problem::{Problem, Problems, Source};
pub use service::FileServices;
pub use template::template;

use crate::backup::BackupConfig;
use crate::catalog::{RouteTable, Service};
use crate::egress::Reach;
use crate::node::config::NodeConfig;
use crate::rates::RatesConfig;
use crate::secrets::Unlock;
use crate::storefront::{OwnedServices, Variables};
use crate::upkeep::FileRules;
use crate::watchman::AlarmLimits;
use document::{Origin, Section};
use layer::Layers;
use problem::Bad;

/// Everything that the appliance is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Where keys, channels and the ledger live; each network has a directory in it.
    pub data_dir: PathBuf,
    /// The listener that customers use.
    pub gateway: Gateway,
    /// The listener that the operator uses.
    pub admin: Admin,
    /// The listener that other proxies ask, if there is one.
    pub forward_auth: Option<SocketAddr>,
    /// Where a second copy of the recovery snapshot goes, if anywhere.
    pub snapshot_dir: Option<PathBuf>,
    /// The Lightning node.
    pub node: NodeConfig,
    /// What the log shows: a level, or a filter as `tracing_subscriber::EnvFilter` reads it.
    pub log: String,
    /// What opens the seed at the start.
    pub unlock: Unlock,
    /// When copies of the ledger are made, and where they go.
    pub backup: BackupConfig,
    /// Where exchange rates come from.
    pub rates: RatesConfig,
    /// How far payouts may go for an invoice.
    pub payouts: Reach,
    /// From when on something is an alarm.
    pub alarms: AlarmLimits,
    /// What it keeps up by itself.
    pub rules: FileRules,
    /// What is sold, as it was compiled.
    pub services: Vec<Service>,
    /// The same as the files say it: this file's own, and those of `services_file`.
    pub service_files: Vec<FileServices>,
    /// Every setting that is in use, with its source, in the file's order.
    pub shown: Vec<Shown>,
    /// What is allowed but doubtful.
    pub warnings: Vec<Problem>,
    /// No file names a service. That is doubtful only where none was made otherwise: services live in the ledger.
    pub none_named: Option<Problem>,
    env: Environment,
}

/// The listener that the operator uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Host names that it answers to besides its own address.
    pub allowed_hosts: Vec<String>,
}

impl Settings {
    /// Where this network's keys, channels and ledger live.
    pub fn network_dir(&self) -> PathBuf {
        self.data_dir.join(self.node.network.to_string())
    }

    /// What each file that names services owns.
    pub fn owned_services(&self) -> Vec<OwnedServices> {
        let named = self.service_files.iter().filter(|file| !file.file.as_os_str().is_empty());
        let owned = |file: &FileServices| OwnedServices {
            file: std::path::absolute(&file.file).unwrap_or_else(|_| file.file.clone()),
            specs: file.specs.clone(),
        };
        named.map(owned).collect()
    }

    /// The environment that services name variables of.
    pub fn variables(&self) -> Variables {
        let env = self.env.clone();
        Box::new(move |name| env.get(name).map(str::to_owned))
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// All problems at once, each with its place.
    pub fn load(flags: &Flags, env: &Environment) -> Result<Settings, Problems> {
        let (path, asked_for) = config_file(flags, env)?;
        match std::fs::read(&path) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).map_err(|e| {
                    let valid = e.utf8_error().valid_up_to();
                    let lines = document::Lines::of(&String::from_utf8_lossy(&e.as_bytes()[..valid]));
                    let bad = Bad::new("this is not UTF-8 text", "Save the file as UTF-8.");
                    let origin = Origin { path: Some(path.clone()), lines };
                    Problems(vec![origin.problem(&(valid..valid), "", bad)])
                })?;
                Settings::read(&path, &text, flags, env)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !asked_for => {
                Settings::from_layers(Origin::default(), None, flags, env).map_err(|mut problems| {
                    let what = "there is no configuration file";
                    problems.0.insert(0, of_file(&path, Bad::new(what, "`tollhouse init` writes one.")));
                    problems
                })
            }
            Err(e) => {
                let bad = Bad::new(format!("cannot be read: {e}"), "`tollhouse init` writes a new one.");
                Err(Problems(vec![of_file(&path, bad)]))
            }
        }
    }

    /// Like [`Settings::load`], with the file's text at hand.
    ///
    /// # Errors
    /// All problems at once, each with its place.
    pub fn read(path: &Path, text: &str, flags: &Flags, env: &Environment) -> Result<Settings, Problems> {
        let (origin, table, syntax) = document::parse(path, text);
        if !syntax.is_empty() {
            // What could be recovered would only add problems that the first ones cause.
            return Err(Problems(syntax));
        }
        Settings::from_layers(origin, Some(&table), flags, env)
    }

    fn from_layers(
        origin: Origin,
        table: Option<&toml::Spanned<toml::de::DeTable<'_>>>,
        flags: &Flags,
        env: &Environment,
    ) -> Result<Settings, Problems> {
        let empty = toml::Spanned::new(0..0, toml::de::DeTable::new());
        let mut top = Section::top(&origin, table.unwrap_or(&empty));
        let mut layers = Layers { flags, env, origin: &origin, problems: Vec::new(), shown: Vec::new() };
        let base = origin.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));

        let data_dir = data_dir(&mut layers, &mut top, base);
        let before = layers.problems.len();
        let network = layers.one(&mut top, "network", value::network);
        if network.is_none() && layers.problems.len() == before {
            let help = "Add a line such as network = \"signet\".";
            missing(&mut layers, "network", Bad::new("it is missing", help));
        }
        let network = network.map(|(network, source)| {
            layers.show("network", network.to_string(), source);
            network
        });
        let (log, source) = or_default(layers.one(&mut top, "log", value::log), || "info".to_owned());
        layers.show("log", &log, source);

        let services_file = layers.one(&mut top, "services_file", value::filled).map(|(text, source)| {
            let base = if matches!(source, Source::File(_)) { base } else { Path::new("") };
            let path = location::expand(&text, base, layers.env);
            layers.show("services_file", path.display().to_string(), source);
            path
        });

        let mut warnings = Vec::new();
        let gateway = gateway::read(&mut layers, &mut top, base, &mut warnings);

        let mut section = top.section("admin");
        let listen = layers.one(&mut section, "listen", value::listen);
        let (admin_listen, admin_source) = or_default(listen, || SocketAddr::from(([127, 0, 0, 1], 8403)));
        layers.show("admin.listen", admin_listen.to_string(), admin_source.clone());
        let hosts = layers.list(&mut section, "allowed_hosts", value::host);
        let (allowed_hosts, source) = or_default(hosts, Vec::new);
        layers.show("admin.allowed_hosts", listed(&allowed_hosts), source);
        layers.problems.extend(section.finish());

        if same_listener(gateway.listen, admin_listen) {
            let what = format!("{admin_listen} is the gateway's listener too");
            let help = "The operator's page never shares a listener with customers: give it another port.";
            layers.problems.push(origin.problem_from(admin_source, "admin.listen", Bad::new(what, help)));
        } else if !admin_listen.ip().is_loopback() {
            let what = format!("{admin_listen} can be reached from other machines, without encryption");
            let help = "Prefer 127.0.0.1 and an SSH tunnel, or a TLS proxy in front.";
            warnings.push(origin.problem_from(admin_source, "admin.listen", Bad::new(what, help)));
        }

        let mut section = top.section("forward_auth");
        let asked = layers.one(&mut section, "listen", value::listen);
        layers.problems.extend(section.finish());
        let forward_auth = asked.map(|(listen, source)| {
            layers.show("forward_auth.listen", listen.to_string(), source.clone());
            if same_listener(listen, gateway.listen) || same_listener(listen, admin_listen) {
                let what = format!("{listen} is another listener's");
                let help = "Other proxies ask on a listener of their own: give it another port.";
                layers.problems.push(origin.problem_from(
                    source,
                    "forward_auth.listen",
                    Bad::new(what, help),
                ));
            } else if !listen.ip().is_loopback() {
                let what =
                    format!("{listen} can be reached from other machines, and keys go there unencrypted");
                let help = "Prefer 127.0.0.1, or a network that only the proxy is in.";
                warnings.push(origin.problem_from(source, "forward_auth.listen", Bad::new(what, help)));
            }
            listen
        });

        let unlock = unlock::read(&mut layers, &mut top, base, &mut warnings);
        let node = node::read(&mut layers, &mut top, network, base);
        let backup = backup::read(&mut layers, &mut top, base);
        let mut section = top.section("snapshot");
        let snapshot_dir = layers.one(&mut section, "dir", value::filled).map(|(text, source)| {
            let base = if matches!(source, Source::File(_)) { base } else { Path::new("") };
            let path = location::expand(&text, base, layers.env);
            layers.show("snapshot.dir", path.display().to_string(), source);
            path
        });
        layers.problems.extend(section.finish());

        let rates = rates::read(&mut layers, &mut top);
        let payouts = payouts::read(&mut layers, &mut top);
        let alarms = alarms::read(&mut layers, &mut top);
        let rules = rules::read(&mut layers, &mut top, payouts);
        let mut problems = std::mem::take(&mut layers.problems);
        let path = services_file.as_deref();
        let (service_files, services) = service::read_all(&mut top, &origin, path, env, &mut problems);
        let shown = layers.shown;
        if problems.is_empty() {
            // The table has the last word; what it refuses should have been found above, with its line.
            if let Err(refused) = RouteTable::new(services.clone()) {
                let bad = Bad::new(refused.to_string(), "");
                problems.push(Problem {
                    file: origin.path.clone(),
                    ..origin.problem_from(Source::Default, "service", bad)
                });
            }
        }
        warnings.extend(service_files.iter().flat_map(FileServices::doubts));
        problems.extend(top.finish());
        let none_named = services.is_empty().then(|| {
            let what = "no file names a service, and none was made yet: nothing is sold";
            let help = "Sell an API under Services, by `tollhouse services apply`, or with a [[service]].";
            let bad = Bad::new(what, help);
            Problem { file: origin.path.clone(), ..origin.problem_from(Source::Default, "", bad) }
        });
        match (data_dir, node) {
            (Some(data_dir), Some(node)) if problems.is_empty() => Ok(Settings {
                file: origin.path,
                data_dir,
                gateway,
                admin: Admin { listen: admin_listen, allowed_hosts },
                forward_auth,
                snapshot_dir,
                node,
                log,
                unlock,
                backup,
                rates,
                payouts,
                alarms,
                rules,
                services,
                service_files,
                shown,
                warnings,
                none_named,
                env: env.clone(),
            }),
            _ => {
                problems.sort_by_key(|p| match p.source {
                    Source::File(line) => line,
                    _ => 0,
                });
                Err(Problems(problems))
            }
        }
    }
}

fn data_dir(layers: &mut Layers<'_>, top: &mut Section<'_, '_>, base: &Path) -> Option<PathBuf> {
    let (path, source) = match layers.one(top, "data_dir", value::filled) {
        Some((text, source)) => {
            let base = if matches!(source, Source::File(_)) { base } else { Path::new("") };
            (location::expand(&text, base, layers.env), source)
        }
        None => match location::data_dir(layers.env) {
            Some(path) => (path, Source::Default),
            None => {
                missing(
                    layers,
                    "data_dir",
                    Bad::new("there is no home directory to put it in", "Say data_dir."),
                );
                return None;
            }
        },
    };
    layers.show("data_dir", path.display().to_string(), source);
    Some(path)
}

/// A value and its source, or the built-in one.
fn or_default<T>(said: Option<(T, Source)>, default: impl FnOnce() -> T) -> (T, Source) {
    said.unwrap_or_else(|| (default(), Source::Default))
}

fn missing(layers: &mut Layers<'_>, setting: &str, bad: Bad) {
    let problem = layers.origin.problem_from(Source::Default, setting, bad);
    layers.problems.push(Problem { file: layers.origin.path.clone(), ..problem });
}

fn of_file(path: &Path, bad: Bad) -> Problem {
    Problem {
        file: Some(path.to_owned()),
        source: Source::Default,
        setting: String::new(),
        what: bad.what,
        help: bad.help,
    }
}

fn listed(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// Whether one bind would take the other's port; port 0 is never taken twice.
fn same_listener(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}
