//! The client of a running appliance's admin API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use reqwest::StatusCode;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::{Failure, NOBODY_THERE, OperatorArgs};
use crate::cli::demo::place_file;
use crate::config::{AdminPlace, Environment};
use crate::sandbox::place::DemoPlace;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a file may take to arrive.
const LONG_PATIENCE: Duration = Duration::from_secs(3_600);

/// A running appliance's admin API.
pub(in crate::cli) struct Admin {
    url: String,
    key: Zeroizing<String>,
    /// Where the key should be that is not there: a first start that is locked wrote none yet.
    keyless: Option<PathBuf>,
    http: reqwest::Client,
}

impl Admin {
    /// The appliance that `args` and the environment mean: an address, else a configuration, else the
    /// demo. A key goes only to the address that it belongs to.
    pub(in crate::cli) fn find(args: &OperatorArgs, env: &Environment) -> Result<Admin, Failure> {
        let demo = || place_file(env).ok().and_then(|file| DemoPlace::read(&file).ok());
        if args.demo {
            let demo =
                demo().ok_or_else(|| Failure::arguments("no demo runs: start one with `tollhouse demo`"))?;
            return Admin::at(&demo.admin, demo.admin_key);
        }
        let configured = args.config.is_some() || args.data_dir.is_some() || args.network.is_some();
        let usual = env.get("TOLLHOUSE_ADMIN_URL").filter(|_| !configured);
        if let Some(url) = args.admin.as_deref().or(usual) {
            return match args.key(url, usual, env)? {
                Some(key) => Admin::at(url, key),
                None => match demo().filter(|demo| same(url, &demo.admin)) {
                    Some(demo) => Admin::at(url, demo.admin_key),
                    None => Err(Failure::arguments(
                        "the key is missing: use --admin-key-file FILE or TOLLHOUSE_ADMIN_KEY",
                    )),
                },
            };
        }
        let place = AdminPlace::find(&args.flags(), env)
            .map_err(|problems| Failure::arguments(problems.to_string()))?;
        if let Some(place) = place {
            let url = place.url().ok_or_else(|| {
                Failure::arguments("admin.listen leaves the port to chance: say where it is with --admin URL")
            })?;
            let key = match args.key(&url, None, env)? {
                Some(key) => key,
                None if !place.key_file.exists() => {
                    let admin = Admin::at(&url, String::new())?;
                    return Ok(Admin { keyless: Some(place.key_file), ..admin });
                }
                None => read_key(&place.key_file)?,
            };
            return Admin::at(&url, key);
        }
        match demo() {
            Some(demo) => Admin::at(&demo.admin, demo.admin_key),
            None => Err(Failure::arguments(
                "no appliance to talk to: there is no configuration file and no running demo. Use --config \
                 FILE, --data-dir DIR or --admin URL",
            )),
        }
    }

    fn at(url: &str, key: String) -> Result<Admin, Failure> {
        let known =
            Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !known {
            return Err(Failure::arguments(format!("`{url}` does not begin with http:// or https://")));
        }
        // The operator's key goes to the appliance and nowhere else: no proxy, no redirect.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(PATIENCE)
            .build()
            .map_err(|error| Failure::unreachable(error.to_string()))?;
        let key = Zeroizing::new(key.trim().to_owned());
        Ok(Admin { url: url.trim_end_matches('/').to_owned(), key, keyless: None, http })
    }

    /// `GET`; `path` begins with a slash and may have a query.
    pub(in crate::cli) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, None).await
    }

    /// `GET` of a file, however long it takes to arrive.
    pub(in crate::cli) async fn open(&self, path: &str) -> Result<reqwest::Response, Failure> {
        let request =
            self.http.get(format!("{}{path}", self.url)).bearer_auth(&*self.key).timeout(LONG_PATIENCE);
        let lost = |error: reqwest::Error| {
            let text = format!("{}: {}: is the appliance running?", self.url, error.without_url());
            Failure::unreachable(text)
        };
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        Err(refusal(status, &answer.bytes().await.map_err(lost)?))
    }

    /// `GET` of what is no JSON.
    pub(in crate::cli) async fn text(&self, path: &str) -> Result<String, Failure> {
        let bytes = self.bytes(Method::GET, path, None, None).await.map_err(|refused| refused.0)?;
        String::from_utf8(bytes.into()).map_err(|_| Failure::unreachable("the answer is no text".to_owned()))
    }

    /// `POST` with a JSON body.
    pub(in crate::cli) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `PUT` with a JSON body.
    pub(in crate::cli) async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// `PATCH` with a JSON body.
    pub(in crate::cli) async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// `DELETE`.
    pub(in crate::cli) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::DELETE, path, None).await
    }

    /// `POST` with a JSON body; a refusal comes with the whole of the problem document.
    pub(in crate::cli) async fn post_or_problem(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<Value, Box<(Failure, Value)>> {
        self.exchange(Method::POST, path, Some(body), None).await
    }

    /// `POST` with a JSON body of what is done once for each `key`.
    pub(in crate::cli) async fn post_keyed(
        &self,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        self.exchange(Method::POST, path, Some(body), Some(key))
            .await
            .map_err(|refused| refused.0.of_move(key))
    }

    /// `DELETE` of what is done once for each `key`.
    pub(in crate::cli) async fn delete_keyed(&self, path: &str, key: &str) -> Result<Value, Failure> {
        self.exchange(Method::DELETE, path, None, Some(key)).await.map_err(|refused| refused.0.of_move(key))
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.exchange(method, path, body, None).await.map_err(|refused| refused.0)
    }

    /// An answer without a body is `null`.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Value, Box<(Failure, Value)>> {
        let bytes = self.bytes(method, path, body, key).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        let foreign = |_| {
            let text = format!("{}: it does not answer as a Tollhouse does", self.url);
            Box::new((Failure::unreachable(text), Value::Null))
        };
        serde_json::from_slice(&bytes).map_err(foreign)
    }

    async fn bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<bytes::Bytes, Box<(Failure, Value)>> {
        let alone = |failure| Box::new((failure, Value::Null));
        let lost = |error: reqwest::Error| {
            let why = if error.is_connect() {
                NOBODY_THERE.to_owned()
            } else if error.is_timeout() {
                "the answer did not come in time".to_owned()
            } else {
                error.without_url().to_string()
            };
            alone(Failure::unreachable(format!("{}: {why}", self.url)))
        };
        let request = self.http.request(method, format!("{}{path}", self.url));
        // Who has no key, because the appliance is locked, says whom they mean: a foreign page cannot.
        let mut request = match self.key.is_empty() {
            true => request.header("origin", &self.url),
            false => request.bearer_auth(&*self.key),
        };
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(lost)?;
        if !status.is_success() {
            let problem = serde_json::from_slice(&bytes).unwrap_or_default();
            let mut refused = refusal(status, &bytes);
            if let Some(file) = self.keyless.as_deref().filter(|_| status == StatusCode::UNAUTHORIZED) {
                refused = Failure { code: refused.code, ..no_key(file) };
            }
            return Err(Box::new((refused, problem)));
        }
        Ok(bytes)
    }
}

pub(super) fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

pub(super) fn read_key(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => no_key(file),
        _ => Failure::arguments(format!("the key at {} cannot be read: {error}", file.display())),
    })
}

fn no_key(file: &Path) -> Failure {
    let at = file.display();
    Failure::arguments(format!("there is no key at {at}: the appliance writes it at its first start"))
}

/// problem+json in words.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let word = |name: &str| problem[name].as_str().map(str::to_owned);
    let code = word("code").unwrap_or_else(|| format!("http_{}", status.as_u16()));
    Failure::new(&code, 1, word("detail").unwrap_or_else(|| format!("the appliance answers {status}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn args() -> OperatorArgs {
        OperatorArgs::default()
    }

    fn found(args: &OperatorArgs, env: &[(&str, &str)]) -> Result<(String, String), String> {
        let env = Environment::from_iter(env.iter().copied());
        Admin::find(args, &env).map(|admin| (admin.url.clone(), admin.key.to_string())).map_err(|f| f.text)
    }

    #[test]
    fn the_appliance_is_found_and_its_key_goes_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().display().to_string();
        let own = ("HOME", home.as_str());
        assert!(found(&args(), &[own]).unwrap_err().contains("no appliance to talk to"));

        let demo_file = dir.path().join("demo.json").display().to_string();
        let place = json!({ "gateway": "", "admin": "http://127.0.0.1:1", "admin_key": "demo", "payer": "",
            "payer_key": "", "pid": 1 });
        std::fs::write(&demo_file, place.to_string()).unwrap();
        let demo = ("TOLLHOUSE_DEMO_FILE", demo_file.as_str());
        let pair = |url: &str, key: &str| Ok((url.to_owned(), key.to_owned()));
        assert_eq!(found(&args(), &[own, demo]), pair("http://127.0.0.1:1", "demo"));

        let data = dir.path().join(".local/share/tollhouse");
        std::fs::create_dir_all(data.join("signet")).unwrap();
        std::fs::write(data.join("tollhouse.toml"), "network = \"signet\"\n").unwrap();
        assert_eq!(found(&args(), &[own, demo]), pair("http://127.0.0.1:8403", ""), "it may be locked");
        std::fs::write(data.join("signet/admin.key"), "file\n").unwrap();
        assert_eq!(found(&args(), &[own, demo]), pair("http://127.0.0.1:8403", "file"));
        let asked = OperatorArgs { demo: true, ..args() };
        assert_eq!(found(&asked, &[own, demo]), pair("http://127.0.0.1:1", "demo"));

        let there = |url: &str| OperatorArgs { admin: Some(url.to_owned()), ..args() };
        assert!(found(&there("http://a"), &[own, demo]).unwrap_err().contains("the key is missing"));
        assert_eq!(found(&there("http://127.0.0.1:1/"), &[own, demo]), pair("http://127.0.0.1:1", "demo"));
        let key = ("TOLLHOUSE_ADMIN_KEY", "secret");
        assert_eq!(found(&there("http://a"), &[own, key]), pair("http://a", "secret"));
        let url = ("TOLLHOUSE_ADMIN_URL", "http://b/");
        assert_eq!(found(&args(), &[own, key, url]), pair("http://b", "secret"));
        assert!(found(&there("http://a"), &[own, key, url]).unwrap_err().contains("another address"));
        assert!(found(&there("ftp://a"), &[own, key]).is_err());
    }

    #[test]
    fn problems_become_words() {
        let body = br#"{"status":404,"code":"unknown_webhook","detail":"No such webhook."}"#;
        let failure = refusal(StatusCode::NOT_FOUND, body);
        assert_eq!((failure.code.as_str(), failure.text.as_str()), ("unknown_webhook", "No such webhook."));
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, b"<html>").code, "http_502");
    }
}
