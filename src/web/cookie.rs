//! The session's cookie: HttpOnly, SameSite=Strict, and named by port, because browsers share
//! cookies between the ports of one host and two appliances would log each other out.

use http::{HeaderMap, HeaderValue, header};

use super::WebConfig;
use super::session::{ABSOLUTE_LIFE, SessionId};

/// The session id that the request presents, if any.
pub fn presented(config: &WebConfig, headers: &HeaderMap) -> Option<SessionId> {
    let name = name(config);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| SessionId::parse(value))
}

/// The `Set-Cookie` that opens a session.
pub fn set(config: &WebConfig, id: &SessionId) -> HeaderValue {
    value(config, id.text(), ABSOLUTE_LIFE.as_secs())
}

/// The `Set-Cookie` that ends it.
pub fn clear(config: &WebConfig) -> HeaderValue {
    value(config, "", 0)
}

fn name(config: &WebConfig) -> String {
    format!("tollhouse-{}", config.listen.port())
}

fn value(config: &WebConfig, content: &str, max_age_secs: u64) -> HeaderValue {
    let secure = if config.origin.starts_with("https://") { "; Secure" } else { "" };
    let name = name(config);
    let text = format!("{name}={content}; Path=/; Max-Age={max_age_secs}; HttpOnly; SameSite=Strict{secure}");
    let mut value = HeaderValue::try_from(text).expect("name, base64url and digits are visible ASCII");
    value.set_sensitive(true);
    value
}
