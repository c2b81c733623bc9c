//! What an appliance is told at its start, with its directory taken and its sockets bound.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use url::Url;

use crate::backup::BackupConfig;
use crate::catalog::spec::Spec;
use crate::config::{Entrance, Settings, Shown, Source};
use crate::egress::Reach;
use crate::node::config::NodeConfig;
use crate::ports::Customer;
use crate::proxy::Certificate;
use crate::rates::RatesConfig;
use crate::secrets;
use crate::store::DirLock;
use crate::storefront::{OwnedServices, Variables};
use crate::upkeep::FileRules;
use crate::watchman::AlarmLimits;
use crate::web::claim::ClaimToken;
use crate::web::{Configuration, LogTail, SettingLine};

/// Everything that an appliance is told at its start.
pub struct Blueprint {
    /// Where keys, channels and the ledger live; each network has a directory in it.
    pub data_dir: PathBuf,
    /// The right to that directory, from [`take_dir`].
    pub lock: DirLock,
    /// Where a second copy of the recovery snapshot goes, if anywhere.
    pub snapshot_dir: Option<PathBuf>,
    /// The Lightning node.
    pub node: NodeConfig,
    /// The gateway's socket, bound.
    pub gateway: TcpListener,
    /// The admin socket, bound.
    pub admin: TcpListener,
    /// The socket where other proxies ask, bound, if there is one.
    pub forward_auth: Option<TcpListener>,
    /// Host names that the admin side answers to besides its own address.
    pub allowed_hosts: Vec<String>,
    /// The gateway's address as customers see it, when something stands in front.
    pub public_url: Option<Url>,
    /// Whose word is taken for who asks at the gateway, and how often one may.
    pub entrance: Entrance,
    /// The gateway's certificate, where it speaks TLS itself.
    pub tls: Option<Certificate>,
    /// When copies of the ledger are made, and where they go.
    pub backup: BackupConfig,
    /// Where exchange rates come from.
    pub rates: RatesConfig,
    /// How far payouts may go for an invoice.
    pub payouts: Reach,
    /// From when on something is an alarm.
    pub alarms: AlarmLimits,
    /// What files say is kept up.
    pub rules: FileRules,
    /// What files say is sold.
    pub services: Vec<OwnedServices>,
    /// What is put on sale at every start and belongs to no file.
    pub stock: Vec<Spec>,
    /// Gives the variables that services name.
    pub variables: Variables,
    /// A wallet that pays for whoever tries the shop out: in the sandbox only.
    pub customer: Option<Arc<dyn Customer>>,
    /// The settings, for a reader.
    pub configuration: Configuration,
    /// The end of the log, which whoever started the log feeds.
    pub log: LogTail,
    /// What the claim link carries, where somebody followed it already to make the seed.
    pub claim: Option<ClaimToken>,
}

impl Blueprint {
    /// Binds the listeners that the settings name. The directory comes first, from [`take_dir`], so that a
    /// second start of the same appliance hears of the first one and not of a port.
    ///
    /// # Errors
    /// When an address cannot be bound; the text names the setting.
    pub async fn of(settings: Settings, lock: DirLock, log: LogTail) -> Result<Blueprint> {
        let gateway = bind("gateway.listen", settings.gateway.listen).await?;
        let admin = bind("admin.listen", settings.admin.listen).await?;
        let forward_auth = match settings.forward_auth {
            Some(listen) => Some(bind("forward_auth.listen", listen).await?),
            None => None,
        };
        let (services, variables) = (settings.owned_services(), settings.variables());
        let configuration = configuration(&settings);
        Ok(Blueprint {
            data_dir: settings.data_dir,
            lock,
            snapshot_dir: settings.snapshot_dir,
            node: settings.node,
            gateway,
            admin,
            forward_auth,
            allowed_hosts: settings.admin.allowed_hosts,
            public_url: settings.gateway.public_url,
            entrance: settings.gateway.entrance,
            tls: settings.gateway.tls.map(|files| files.certificate),
            backup: settings.backup,
            rates: settings.rates,
            payouts: settings.payouts,
            alarms: settings.alarms,
            rules: settings.rules,
            services,
            stock: Vec::new(),
            variables,
            customer: None,
            configuration,
            log,
            claim: None,
        })
    }
}

/// What a reader is told of the settings: what `tollhouse check` says.
fn configuration(settings: &Settings) -> Configuration {
    let line = |shown: &Shown| {
        let (source, place) = match &shown.source {
            Source::Flag(name) => ("flag", Some(name.clone())),
            Source::Env(name) => ("env", Some(name.clone())),
            Source::File(line) => ("file", Some(format!("line {line}"))),
            Source::Default => ("default", None),
        };
        SettingLine { setting: shown.setting.clone(), value: shown.value.clone(), source, place }
    };
    Configuration {
        file: settings.file.as_ref().map(|file| file.display().to_string()),
        settings: settings.shown.iter().map(line).collect(),
        warnings: settings.warnings.iter().map(ToString::to_string).collect(),
    }
}

/// Makes the data directory, closed to others, and takes it for this process.
///
/// # Errors
/// When another process has it, or it cannot be made.
pub fn take_dir(data_dir: &Path) -> Result<DirLock> {
    secrets::private_dir(data_dir)?;
    Ok(DirLock::take(data_dir)?)
}

async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{setting}: {address} cannot be listened on: stop what uses it, or choose another port")
    })
}
