//! Where the appliance of some settings is reached: just that much of them, for the commands that talk to
//! it. What else is wrong with the settings is no reason not to reach it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::document::{self, Origin, Section};
use super::layer::{Environment, Flags, Layers};
use super::problem::{Bad, Problems};
use super::{config_file, data_dir, missing, of_file, or_default, unlock, value};
use crate::secrets::Unlock;

/// The operator's door of one appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPlace {
    /// Where its admin listener is, by the settings.
    pub listen: SocketAddr,
    /// The file with the key that its first start wrote.
    pub key_file: PathBuf,
    /// The file that says so, when there is one.
    pub file: Option<PathBuf>,
    /// Where each network has a directory.
    pub data_dir: PathBuf,
    /// Which network it is.
    pub network: bitcoin::Network,
    /// What opens its seed.
    pub unlock: Unlock,
}

impl AdminPlace {
    /// Reads `data_dir`, `network`, `admin.listen` and `unlock`. `Ok(None)` when no file was asked for, and there is
    /// none where it is looked for by default, and nothing else says the network.
    ///
    /// # Errors
    /// When a file that was asked for cannot be read, or one of the four is wrong.
    pub fn find(flags: &Flags, env: &Environment) -> Result<Option<AdminPlace>, Problems> {
        let (path, asked_for) = config_file(flags, env)?;
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => None,
            Err(error) => {
                return Err(Problems(vec![of_file(&path, Bad::new(format!("cannot be read: {error}"), ""))]));
            }
        };
        if text.is_none() && flags.network.is_none() && env.get("TOLLHOUSE_NETWORK").is_none() {
            return Ok(None);
        }
        let (origin, table, _) = document::parse(&path, text.as_deref().unwrap_or_default());
        let origin = if text.is_some() { origin } else { Origin::default() };
        let mut top = Section::top(&origin, &table);
        let mut layers = Layers { flags, env, origin: &origin, problems: Vec::new(), shown: Vec::new() };
        let base = origin.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let data_dir = data_dir(&mut layers, &mut top, base);
        let network = layers.one(&mut top, "network", value::network);
        if network.is_none() && layers.problems.is_empty() {
            missing(&mut layers, "network", Bad::new("it is missing", "Say --network."));
        }
        let listen = layers.one(&mut top.section("admin"), "listen", value::listen);
        let (listen, _) = or_default(listen, || SocketAddr::from(([127, 0, 0, 1], 8403)));
        let unlock = unlock::read(&mut layers, &mut top, base, &mut Vec::new());
        match (data_dir, network) {
            (Some(data_dir), Some((network, _))) if layers.problems.is_empty() => Ok(Some(AdminPlace {
                listen,
                key_file: data_dir.join(network.to_string()).join("admin.key"),
                file: origin.path.clone(),
                data_dir,
                network,
                unlock,
            })),
            _ => Err(Problems(layers.problems)),
        }
    }

    /// The admin API's root, as reached from this machine; `None` when the port was left to chance.
    pub fn url(&self) -> Option<String> {
        let (ip, port) = (self.listen.ip(), self.listen.port());
        let local = match ip {
            std::net::IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        (port != 0).then(|| format!("http://{}", SocketAddr::new(local, port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_to_the_door_has_to_be_right() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.toml");
        let text = "network = \"regtest\"\ndata_dir = \"data\"\n[admin]\nlisten = \"0.0.0.0:9000\"\n\
                    [[service]]\nprice = { nonsense = true }\n[unknown]\na = 5\n";
        std::fs::write(&file, text).unwrap();
        let flags = Flags { config: Some(file.clone()), ..Flags::default() };
        let env = Environment::from_iter([("HOME", "/nowhere")]);
        let place = AdminPlace::find(&flags, &env).unwrap().unwrap();
        assert_eq!(place.url().as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(place.key_file, dir.path().join("data/regtest/admin.key"));

        std::fs::write(&file, text.replacen("regtest", "retgest", 1)).unwrap();
        assert!(AdminPlace::find(&flags, &env).unwrap_err().to_string().contains("retgest"));
        std::fs::remove_file(&file).unwrap();
        assert!(AdminPlace::find(&flags, &env).is_err(), "it was asked for");
        assert_eq!(AdminPlace::find(&Flags::default(), &env), Ok(None));
    }
}
