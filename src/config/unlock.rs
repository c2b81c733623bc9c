//! Reads `[unlock]`: what opens the seed when nobody sits there.

use std::path::Path;

use super::document::Section;
use super::layer::Layers;
use super::location;
use super::problem::{Bad, Problem, Source};
use crate::secrets::Unlock;

/// The name under which systemd hands a passphrase over (`LoadCredential=`, `LoadCredentialEncrypted=`).
const CREDENTIAL: &str = "tollhouse-passphrase";

pub(crate) fn read(
    layers: &mut Layers<'_>,
    top: &mut Section<'_, '_>,
    base: &Path,
    warnings: &mut Vec<Problem>,
) -> Unlock {
    let mut section = top.section("unlock");
    let passphrase_file = location::said(layers, &mut section, "passphrase_file", base);
    let key_file = location::said(layers, &mut section, "key_file", base);
    layers.problems.extend(section.finish());
    if let Some((key, source)) = &key_file {
        let what = format!("whoever copies {} and the seed's file has the coins", key.display());
        let help = "The price of a start with nobody there: keep it on another disk than the backups of the data \
                    directory. A passphrase, or systemd's encrypted credentials, do without it.";
        warnings.push(layers.origin.problem_from(source.clone(), "unlock.key_file", Bad::new(what, help)));
    }
    let credential = || {
        let dir = layers.env.get("CREDENTIALS_DIRECTORY")?;
        let file = Path::new(dir).join(CREDENTIAL);
        file.exists().then(|| (file, Source::Env("CREDENTIALS_DIRECTORY".to_owned())))
    };
    let passphrase_file = passphrase_file.or_else(credential);
    for (name, said) in [("unlock.passphrase_file", &passphrase_file), ("unlock.key_file", &key_file)] {
        if let Some((path, source)) = said {
            layers.show(name, path.display().to_string(), source.clone());
        }
    }
    Unlock { passphrase_file: passphrase_file.map(|said| said.0), key_file: key_file.map(|said| said.0) }
}
