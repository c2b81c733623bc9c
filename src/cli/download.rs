//! Files that a command fetches from the appliance: whole or not at all, closed to others, and never over one that
//! is there.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::json;
use tempfile::NamedTempFile;

use super::operator::{Admin, Failure, Shown};

/// Fetches `path` of the API into the file `to`, which has its name once it is whole.
pub(super) async fn keep(admin: &Admin, path: &str, to: &Path) -> Result<Shown, Failure> {
    let failed = |why: String| Failure::refused("file", format!("{}: {why}; nothing was kept", to.display()));
    let taken = || {
        let text = format!("{} is there already: say another with --to", to.display());
        Failure::refused("file_exists", text)
    };
    if to.symlink_metadata().is_ok() {
        return Err(taken());
    }
    let answer = admin.open(path).await?;
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made with 0600 beside its place, so that it can be given its name in one step.
    let mut file = NamedTempFile::new_in(dir).map_err(|error| failed(error.to_string()))?;
    let bytes = write(answer, file.as_file_mut()).await.map_err(failed)?;
    file.persist_noclobber(to).map_err(|fault| match fault.error.kind() {
        std::io::ErrorKind::AlreadyExists => taken(),
        _ => failed(fault.error.to_string()),
    })?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| {
        Failure::refused("file", format!("{}: its folder could not be synced: {error}", to.display()))
    })?;
    let text = format!("{}, {bytes} bytes. It is sealed: only the seed opens it.", to.display());
    Ok(Shown::new(json!({ "file": to.display().to_string(), "bytes": bytes }), text))
}

async fn write(mut answer: reqwest::Response, file: &mut File) -> Result<u64, String> {
    let mut bytes = 0_u64;
    while let Some(chunk) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
        file.write_all(&chunk).map_err(|error| error.to_string())?;
        bytes = bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
    }
    file.sync_all().map_err(|error| error.to_string())?;
    Ok(bytes)
}
