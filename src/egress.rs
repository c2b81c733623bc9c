//! Guarded outgoing HTTP: what the appliance asks on the word of a setting or of the admin API, such as
//! a webhook's address or a source of exchange rates (THREATS 15).
//!
//! Invariants: every address that a name has is checked, and one that may not be reached refuses the whole
//! name; the connection goes to an address of that very answer, so a name that changes its mind between
//! check and use gains nothing; addresses written out are checked too, in whatever spelling. No redirect is
//! followed, no proxy of the environment used, no connection kept. Time and size are bounded. Loopback and
//! private addresses, and plain http, only with [`Reach::Private`]; link-local addresses, with the clouds'
//! metadata services, never.

mod range;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use url::{Host, Url};

use crate::ports::BoxFuture;

pub use range::Range;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(10);
/// What is sent as `User-Agent`.
const AGENT: &str = concat!("tollhouse/", env!("CARGO_PKG_VERSION"));

/// How far a call may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reach {
    /// The public internet, by https.
    #[default]
    Public,
    /// This machine and private networks too, and plain http: the operator said so, for this address.
    Private,
}

impl Reach {
    /// What the operator's word allows.
    pub const fn allowing(private: bool) -> Reach {
        if private { Reach::Private } else { Reach::Public }
    }

    const fn covers(self, range: Range) -> bool {
        match range {
            Range::Public => true,
            Range::Loopback | Range::Private => matches!(self, Reach::Private),
            Range::Never(_) => false,
        }
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// GET, POST, …
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// How far it may go.
    pub reach: Reach,
    /// What to send along.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// How much of an answer is read.
    pub take: Take,
    /// How long all of it may last.
    pub patience: Duration,
}

/// How much of an answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The head only.
    Status,
    /// The whole body; more bytes than this are a fault.
    Body(usize),
}

/// An answer. Redirects are none.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it was asked for.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EgressFault {
    /// The address cannot be called; the text says why.
    #[error("the address cannot be used: {0}")]
    BadUrl(&'static str),
    /// It leads where it may not.
    #[error("{ip} may not be called: it is {}", .range.word())]
    Forbidden {
        /// The address.
        ip: IpAddr,
        /// What it is.
        range: Range,
    },
    /// The name has no address.
    #[error("the name cannot be resolved")]
    NoAddress,
    /// The answer sends elsewhere.
    #[error("it answers with a redirect ({0}), and none is followed")]
    Redirected(StatusCode),
    /// No connection, or it broke.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The time was over.
    #[error("it did not answer in time")]
    TimedOut,
    /// The answer has more bytes than were allowed.
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
}

impl EgressFault {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            EgressFault::BadUrl(_) => "bad_url",
            EgressFault::Forbidden { .. } => "forbidden_address",
            EgressFault::NoAddress => "no_address",
            EgressFault::Redirected(_) => "redirected",
            EgressFault::Unreachable(_) => "unreachable",
            EgressFault::TimedOut => "timed_out",
            EgressFault::TooLarge(_) => "too_large",
        }
    }
}

/// Turns names into addresses.
pub trait Resolver: Send + Sync {
    /// Every address of `name`.
    ///
    /// # Errors
    /// When there is none, or nobody can be asked.
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// The one door for guarded calls.
pub struct Egress {
    resolver: Arc<dyn Resolver>,
    public: reqwest::Client,
    private: reqwest::Client,
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Egress")
    }
}

impl Egress {
    /// A door whose names are resolved by `resolver`.
    ///
    /// # Errors
    /// When no TLS client can be made.
    pub fn new(resolver: Arc<dyn Resolver>) -> Result<Egress, EgressFault> {
        let client = |reach| {
            reqwest::Client::builder()
                .dns_resolver(Arc::new(Guard { resolver: Arc::clone(&resolver), reach }))
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .http1_only()
                .pool_max_idle_per_host(0)
                .connect_timeout(CONNECT)
                .user_agent(AGENT)
                .build()
                .map_err(|error| EgressFault::Unreachable(error.to_string()))
        };
        let (public, private) = (client(Reach::Public)?, client(Reach::Private)?);
        Ok(Egress { resolver, public, private })
    }

    /// Whether `url` may be called as things stand: what is learnt at saving time saves a surprise later,
    /// and every call checks anew.
    ///
    /// # Errors
    /// As a call would give before it connects.
    pub async fn check(&self, url: &Url, reach: Reach) -> Result<(), EgressFault> {
        match written_out(url, reach)? {
            None => Ok(()),
            Some(name) => {
                let looked_up = tokio::time::timeout(CONNECT, checked(&*self.resolver, name, reach));
                looked_up.await.map_err(|_| EgressFault::TimedOut)?.map(drop)
            }
        }
    }

    /// Makes the call.
    ///
    /// # Errors
    /// When it may not be made, or no whole answer came of it.
    pub async fn call(&self, call: Call) -> Result<Reply, EgressFault> {
        written_out(&call.url, call.reach)?;
        let client = match call.reach {
            Reach::Public => &self.public,
            Reach::Private => &self.private,
        };
        let request = client
            .request(call.method, call.url)
            .headers(call.headers)
            .body(call.body)
            .timeout(call.patience);
        let mut answer = request.send().await.map_err(|error| fault(&error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        if status.is_redirection() {
            return Err(EgressFault::Redirected(status));
        }
        let mut body = Vec::new();
        if let Take::Body(most) = call.take {
            while let Some(chunk) = answer.chunk().await.map_err(|error| fault(&error))? {
                if chunk.len() > most - body.len() {
                    return Err(EgressFault::TooLarge(most));
                }
                body.extend_from_slice(&chunk);
            }
        }
        Ok(Reply { status, headers, body })
    }
}

/// Checks what the URL itself says; gives the name that is still to be resolved, if it has one.
fn written_out(url: &Url, reach: Reach) -> Result<Option<&str>, EgressFault> {
    match (url.scheme(), reach) {
        ("https", _) | ("http", Reach::Private) => {}
        ("http", Reach::Public) => {
            return Err(EgressFault::BadUrl("use https: plain http is only for private addresses"));
        }
        _ => return Err(EgressFault::BadUrl("it is not an https URL")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EgressFault::BadUrl("it holds a user or password"));
    }
    // The URL's own grammar has turned every spelling of an address, such as 0x7f.1, into one of these.
    let ip: IpAddr = match url.host() {
        None => return Err(EgressFault::BadUrl("it names no host")),
        Some(Host::Ipv4(ip)) => ip.into(),
        Some(Host::Ipv6(ip)) => ip.into(),
        Some(Host::Domain(name)) => match name.parse() {
            Ok(ip) => ip,
            Err(_) => return Ok(Some(name)),
        },
    };
    admit(ip, reach).map(|()| None)
}

fn admit(ip: IpAddr, reach: Reach) -> Result<(), EgressFault> {
    let range = Range::of(ip);
    if reach.covers(range) { Ok(()) } else { Err(EgressFault::Forbidden { ip, range }) }
}

/// Every address of a name, each of which may be reached.
async fn checked(resolver: &dyn Resolver, name: &str, reach: Reach) -> Result<Vec<IpAddr>, EgressFault> {
    let found = resolver.addresses(name).await.map_err(|_| EgressFault::NoAddress)?;
    if found.is_empty() {
        return Err(EgressFault::NoAddress);
    }
    // One that is forbidden spoils the rest: an honest name does not point inside and outside at once.
    found.iter().try_for_each(|ip| admit(*ip, reach))?;
    Ok(found)
}

/// Gives the client nothing but checked addresses; what it connects to is one of them.
struct Guard {
    resolver: Arc<dyn Resolver>,
    reach: Reach,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, reach) = (Arc::clone(&self.resolver), self.reach);
        Box::pin(async move {
            let found = checked(&*resolver, name.as_str(), reach).await?;
            // The client puts the URL's port in place of 0.
            let addresses: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}

/// What went wrong: our own refusal where it was one, else the client's words.
fn fault(error: &reqwest::Error) -> EgressFault {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(inner) = cause {
        if let Some(ours) = inner.downcast_ref::<EgressFault>() {
            return ours.clone();
        }
        last = inner.to_string();
        cause = inner.source();
    }
    // The innermost cause says what happened; the outer ones repeat the address, whose query may be secret.
    if error.is_timeout() { EgressFault::TimedOut } else { EgressFault::Unreachable(last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, reach: Reach) -> Option<EgressFault> {
        written_out(&url.parse().expect("a URL"), reach).err()
    }

    #[test]
    fn no_spelling_of_an_address_gets_by() {
        for here in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.0.0.1./",
            "https://%31%32%37.0.0.1/",
            "https://\u{ff11}27.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[64:ff9b::127.0.0.1]/",
        ] {
            let range = Range::Loopback;
            assert!(
                matches!(refused(here, Reach::Public), Some(EgressFault::Forbidden { range: r, .. }) if r == range),
                "{here}"
            );
            assert_eq!(refused(here, Reach::Private), None, "{here}");
        }
        for never in [
            "http://169.254.169.254/latest",
            "http://[::ffff:169.254.169.254]/",
            "http://0/",
            "http://[fe80::1]/",
        ] {
            assert!(matches!(refused(never, Reach::Private), Some(EgressFault::Forbidden { .. })), "{never}");
        }
    }

    #[test]
    fn only_https_goes_out_and_nobody_logs_in() {
        assert_eq!(refused("https://example.com/hook?a=b", Reach::Public), None);
        assert_eq!(refused("http://localhost:9000/", Reach::Private), None);
        for bad in
            ["http://example.com/", "ftp://example.com/", "https://user:pass@example.com/", "https://u@a.b/"]
        {
            assert!(matches!(refused(bad, Reach::Public), Some(EgressFault::BadUrl(_))), "{bad}");
        }
        assert!(matches!(refused("file:///etc/passwd", Reach::Private), Some(EgressFault::BadUrl(_))));
    }
}
