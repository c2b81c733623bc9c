//! Where the appliance of some settings is reached: just that much of them, for the commands that talk to
//! it. What else is wrong with the settings is no reason not to reach it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::document::{self, Origin, Section};
use super::layer::{Environment, Flags, Layers};
use super::problem::{Bad, Problems};
use super::{config_file, data_dir, missing, of_file, or_default, unlock, value};
use crate::secrets::Unlock;

/// Where an appliance of these settings keeps its things, whatever else they say: also where no network is said yet.
/// `None` when nothing says it and there is no home directory.
///
/// # Errors
/// When a file that was asked for cannot be read, or what says the directory is wrong.
pub fn data_dir_of(flags: &Flags, env: &Environment) -> Result<Option<PathBuf>, Problems> {
    let Ok((path, asked_for)) = config_file(flags, env) else { return Ok(None) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => String::new(),
        Err(error) => {
            return Err(Problems(vec![of_file(&path, Bad::new(format!("cannot be read: {error}"), ""))]));
        }
    };
    let (origin, table, _) = document::parse(&path, &text);
    let mut top = Section::top(&origin, &table);
    let mut layers = Layers { flags, env, origin: &origin, problems: Vec::new(), shown: Vec::new() };
    let found = data_dir(&mut layers, &mut top, path.parent().unwrap_or(Path::new("")));
    if layers.problems.is_empty() { Ok(found) } else { Err(Problems(layers.problems)) }
}

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
    fn the_data_directory_of_a_configuration_is_found_without_a_network() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("shop2.toml");
        std::fs::write(&file, "data_dir = \"there\"\n").expect("written");
        let flags = Flags { config: Some(file.clone()), ..Flags::default() };
        let home = Environment::from_iter([("HOME", "/home/somebody")]);
        assert_eq!(data_dir_of(&flags, &home).expect("in order"), Some(folder.path().join("there")));
        let named = Environment::from_iter([("TOLLHOUSE_CONFIG", file.to_str().expect("a path"))]);
        assert_eq!(
            data_dir_of(&Flags::default(), &named).expect("in order"),
            Some(folder.path().join("there"))
        );
        // What is said on the line counts before the file, and without either there is the usual place.
        let said = Flags { data_dir: Some("/elsewhere".to_owned()), ..flags };
        assert_eq!(data_dir_of(&said, &home).expect("in order"), Some("/elsewhere".into()));
        let usual = data_dir_of(&Flags::default(), &home).expect("in order");
        assert_eq!(usual, Some("/home/somebody/.local/share/tollhouse".into()));
        let gone = Flags { config: Some(folder.path().join("gone.toml")), ..Flags::default() };
        assert!(data_dir_of(&gone, &home).is_err());
    }

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
