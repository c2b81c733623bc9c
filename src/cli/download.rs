//! Files that a command fetches from the appliance: whole or not at all, closed to others, and never over one that
//! is there.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::json;

use super::operator::{Admin, Failure, Shown};

/// Fetches `path` of the API into the file `to`.
pub(super) async fn keep(admin: &Admin, path: &str, to: &Path) -> Result<Shown, Failure> {
    let refused = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::refused(
            "file_exists",
            format!("{} is there already: say another with --to", to.display()),
        ),
        _ => Failure::refused("file", format!("{}: {error}", to.display())),
    };
    let answer = admin.open(path).await?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(refused)?;
    match write(answer, &mut file).await {
        Ok(bytes) => {
            let text = format!("{}, {bytes} bytes. It is sealed: only the seed opens it.", to.display());
            Ok(Shown::new(json!({ "file": to.display().to_string(), "bytes": bytes }), text))
        }
        Err(why) => {
            // A part of it is nothing to keep.
            let _ = std::fs::remove_file(to);
            Err(Failure::refused("file", format!("{}: {why}; nothing was kept", to.display())))
        }
    }
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
