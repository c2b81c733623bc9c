//! What is fuzzed: each subject takes any bytes, and panics when something does not hold that has to.
//!
//! `targets/` drives them by coverage, and `tests/it/fuzz.rs` replays the corpora and draws at random.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use tokio::io::{AsyncRead, ReadBuf};
use tollhouse::clock::CountingEntropy;
use tollhouse::config::{Environment, FileServices, Flags, Settings};
use tollhouse::l402::{
    Identifier, MAX_CAVEATS, MasterKeys, Presented, Sold, Token, UnknownCaveats, Use, Verified,
    carries_credential, presented, verify,
};
use tollhouse::payment_auth::{self, ChallengeKey};
use tollhouse::proxy::Framed;
use tollhouse::request::{CanonicalRequest, METHODS, admit};
use tollhouse::types::path::canonical_path;
use tollhouse::types::{Msat, Preimage, Timestamp};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A subject.
pub(crate) type Subject = fn(&[u8]);

/// Every subject by its name, which is also its corpus's and its target's.
#[allow(dead_code, reason = "each target takes one subject by its own name")]
pub(crate) const SUBJECTS: [(&str, Subject); 7] = [
    ("credential", credential),
    ("macaroon", macaroon),
    ("caveat", caveat),
    ("payment", payment),
    ("canonical", canonical),
    ("framing", framing),
    ("configuration", configuration),
];

/// A token that was sold, and its keys.
struct World {
    keys: MasterKeys,
    preimage: Preimage,
    identifier: Identifier,
    sold: Sold,
    token: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let keys = MasterKeys::new(3, [(3, [0x4d; 32])]).expect("keys");
    let preimage = Preimage::from_bytes([0x70; 32]);
    let token_id = keys.new_token_id(&CountingEntropy::default());
    let identifier = Identifier { payment_hash: preimage.payment_hash(), token_id };
    let name = |text: &str| text.parse().expect("a name");
    let price = Msat::from_sat(21).expect("in range");
    let sold = Sold::request(name("rates"), name("fx"), price, 4, Timestamp::from_secs(1_800_000_000));
    let token = Token::mint(&keys, "127.0.0.1:8402", &identifier, &sold).expect("the epoch is there");
    World { keys, preimage, identifier, sold, token: token.bytes().to_vec() }
});

impl World {
    /// What the gate would say to `credential`.
    fn verdict(&self, credential: &Presented, unknown: UnknownCaveats) -> Option<Verified> {
        let now = Timestamp::from_secs(1_799_990_000);
        let how = Use { service: &self.sold.service, method: "GET", path: "/v1/fx", now };
        let verified = verify(&self.keys, credential, &how, unknown).ok()?;
        assert_eq!(verified.identifier, self.identifier, "only what was minted is believed");
        assert_eq!(verified.sold, self.sold, "it sells what it sold");
        assert_eq!(verified.preimage, self.preimage, "it was paid for");
        assert!(verified.expires_at <= self.sold.valid_until, "nobody gains time");
        Some(verified)
    }

    /// The token with `caveats` appended, as any holder may do: the chain by hand.
    fn narrowed(&self, caveats: &[&[u8]]) -> Vec<u8> {
        let (signed, signature) = self.token.split_at(self.token.len() - 32);
        let mut bytes = signed[..signed.len() - 3].to_vec();
        let mut signature = signature.to_vec();
        for caveat in caveats {
            bytes.push(2);
            let mut length = caveat.len();
            while length >= 0x80 {
                bytes.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
                length >>= 7;
            }
            bytes.push(u8::try_from(length).expect("seven bits"));
            bytes.extend_from_slice(caveat);
            bytes.push(0);
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &signature);
            signature = ring::hmac::sign(&key, caveat).as_ref().to_vec();
        }
        [bytes.as_slice(), &[0, 6, 32], &signature].concat()
    }
}

/// Lines of credentials: `M:` and `G:` for the macaroon headers, anything else for `Authorization`.
pub(crate) fn credential(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n') {
        let (name, value) = match line {
            [b'M', b':', rest @ ..] => (HeaderName::from_static("macaroon"), rest),
            [b'G', b':', rest @ ..] => (HeaderName::from_static("grpc-metadata-macaroon"), rest),
            rest => (AUTHORIZATION, rest),
        };
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        let alone = HeaderMap::from_iter([(name.clone(), value.clone())]);
        if presented(&alone) != Ok(Vec::new()) {
            assert!(carries_credential(&name, &value), "what is read as a credential is known as one");
        }
        headers.append(name, value);
    }
    if let Ok(found) = presented(&headers) {
        assert!(found.len() <= 8, "each costs a chain of HMACs");
        for (index, credential) in found.iter().enumerate() {
            assert!(!found[..index].contains(credential), "none is tried twice");
            for unknown in [UnknownCaveats::Refuse, UnknownCaveats::Skip] {
                let _ = WORLD.verdict(credential, unknown);
            }
        }
    }
    headers.insert(HOST, HeaderValue::from_static("a"));
    let mut request = Request::new(());
    *request.headers_mut() = headers;
    if let Ok(admitted) = admit(&request.into_parts().0, PEER) {
        assert_eq!(presented(admitted.headers()), Ok(Vec::new()), "no credential goes upstream");
        assert!(payment_auth::presented(admitted.headers()).is_empty(), "no credential goes upstream");
    }
}

/// A macaroon in binary.
pub(crate) fn macaroon(data: &[u8]) {
    let world = &*WORLD;
    // The minted part, but for the location, which nobody signs.
    let identifier = world.identifier.to_bytes();
    for unknown in [UnknownCaveats::Refuse, UnknownCaveats::Skip] {
        for preimage in [None, Some(world.preimage), Some(Preimage::from_bytes([1; 32]))] {
            let paid = preimage == Some(world.preimage);
            let said = data.windows(9).any(|window| window == b"preimage=");
            if world.verdict(&Presented::new(data.to_vec(), preimage), unknown).is_some() {
                assert!(paid || (said && preimage.is_none()), "nothing is open to who did not pay");
                assert!(data.windows(identifier.len()).any(|window| window == identifier));
            }
        }
    }
}

/// Caveats, one a line, appended to a token that was sold.
pub(crate) fn caveat(data: &[u8]) {
    let world = &*WORLD;
    let caveats: Vec<&[u8]> = data.split(|b| *b == b'\n').collect();
    let fewer = &caveats[..caveats.len() - 1];
    let good = |caveats: &[&[u8]], unknown| {
        world.verdict(&Presented::new(world.narrowed(caveats), Some(world.preimage)), unknown)
    };
    assert!(good(&[], UnknownCaveats::Refuse).is_some(), "what was sold is good");
    for unknown in [UnknownCaveats::Refuse, UnknownCaveats::Skip] {
        let Some(verified) = good(&caveats, unknown) else { continue };
        assert!(caveats.len() <= MAX_CAVEATS);
        let wider = good(fewer, unknown).expect("a caveat only takes away");
        assert!(verified.expires_at <= wider.expires_at, "a caveat only takes away");
        assert!(good(&caveats, UnknownCaveats::Skip).is_some(), "to skip is to forgive more");
    }
}

/// A credential of the `Payment` scheme: its JSON, and the same bytes as what follows the scheme.
pub(crate) fn payment(data: &[u8]) {
    let key = || ChallengeKey::new(b"a key");
    let (preimage, amount) = (WORLD.preimage, Msat::from_sat(10).expect("in range"));
    let encoded = URL_SAFE_NO_PAD.encode(data);
    for value in
        [[b"Payment ".as_slice(), encoded.as_bytes()].concat(), [b"Payment ".as_slice(), data].concat()]
    {
        let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
        assert!(payment_auth::carries_credential(&AUTHORIZATION, &value), "it is kept from upstreams");
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let found = payment_auth::presented(&headers);
        assert!(found.len() <= 8, "each costs an HMAC for every epoch");
        for credential in found.into_iter().flatten() {
            let (late, now) = (Duration::from_secs(60), Timestamp::from_secs(1_773_576_300));
            if let Ok(paid) = payment_auth::verify([(1, key())], &credential, late, now) {
                assert_eq!((paid.payment_hash, paid.preimage), (preimage.payment_hash(), preimage));
                assert_eq!((paid.amount, paid.epoch), (amount, 1), "it is worth what was paid");
            }
        }
    }
}

/// A request: `METHOD TARGET`, with ` 2` behind it for HTTP/2, then header lines.
pub(crate) fn canonical(data: &[u8]) {
    let Some(request) = parsed(data) else { return };
    let raw_path = request.uri().path().as_bytes().to_vec();
    let Ok(admitted) = admit(&request.into_parts().0, PEER) else { return };
    let (path, host) = (admitted.path(), admitted.host());
    assert!(METHODS.contains(admitted.method()));
    assert_eq!(canonical_path(path).as_deref(), Ok(path), "one spelling");
    assert_eq!(unescaped(path.as_bytes()), unescaped(&raw_path), "the same resource");
    assert!(path.starts_with('/') && !path.contains("//") && !path.contains(['\\', ';', '?', '#']), "{path}");
    assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{path}");
    for byte in path.as_bytes().split(|b| *b == b'%').skip(1) {
        let octet = byte
            .first_chunk::<2>()
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        let octet = octet.expect("a whole escape");
        assert!(octet >= 0x20 && octet != 0x7f && !b"/.\\;".contains(&octet), "{path}");
    }
    assert!(
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()),
        "{host}"
    );
    assert!(!host.contains(['@', '/', ',', '\\', '?', '#']), "{host}");
    if let Some(query) = admitted.query() {
        assert!(query.bytes().all(|b| b.is_ascii_graphic()), "{query}");
    }
    clean(&admitted);

    // What goes on would be let in as what it is.
    let target = admitted.query().map_or(path.to_owned(), |query| format!("{path}?{query}"));
    let mut again = Request::new(());
    *again.method_mut() = admitted.method().clone();
    *again.uri_mut() = Uri::try_from(target).expect("a canonical request has a target");
    *again.headers_mut() = admitted.headers().clone();
    again.headers_mut().insert(HOST, HeaderValue::from_str(host).expect("a canonical host"));
    let again = admit(&again.into_parts().0, admitted.peer()).expect("what was let in is let in");
    assert_eq!((again.path(), again.query(), again.host()), (path, admitted.query(), host));
    assert_eq!(again.headers(), admitted.headers());
}

/// Nothing of a hop, of a credential or of a claim is left.
fn clean(admitted: &CanonicalRequest) {
    const GONE: [&str; 16] = [
        "host",
        "connection",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
        "proxy-authorization",
        "proxy-connection",
        "trailer",
        "forwarded",
        "x-real-ip",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "macaroon",
        "grpc-metadata-macaroon",
    ];
    for name in admitted.headers().keys().map(HeaderName::as_str) {
        assert!(!GONE.contains(&name) && !name.contains('_'), "{name}");
        assert!(!name.starts_with("x-forwarded-") && !name.starts_with("x-tollhouse-"), "{name}");
    }
    assert_eq!(presented(admitted.headers()), Ok(Vec::new()), "no credential goes upstream");
}

fn parsed(data: &[u8]) -> Option<Request<()>> {
    let mut lines = data.split(|b| *b == b'\n');
    let mut words = lines.next()?.split(|b| *b == b' ');
    let (method, target) = (Method::from_bytes(words.next()?).ok()?, Uri::try_from(words.next()?).ok()?);
    let mut request = Request::new(());
    *request.version_mut() = if words.next() == Some(b"2") { Version::HTTP_2 } else { Version::HTTP_11 };
    (*request.method_mut(), *request.uri_mut()) = (method, target);
    for line in lines.take(64) {
        let colon = line.iter().position(|b| *b == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some(request)
}

/// The octets that a path names.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.first_chunk::<2>().and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(octet) => {
                octets.push(octet);
                rest = &tail[2..];
            }
            None => {
                octets.push(*first);
                rest = tail;
            }
        }
    }
    octets
}

/// Bytes of a connection: what the HTTP library gets to read is what came, or a refusal, however it came.
pub(crate) fn framing(data: &[u8]) {
    let at_once = guarded(data, usize::MAX);
    assert_eq!(at_once, guarded(data, 1), "what is read does not depend on packets");
    assert_eq!(at_once, guarded(data, 7), "what is read does not depend on packets");
    if data.starts_with(&at_once) {
        return;
    }
    let refusal = b"GET / HTTP/1.1\r\nHost: refused\r\n";
    let begin = at_once.windows(refusal.len()).rposition(|window| window == refusal);
    let kept =
        begin.map_or_else(|| at_once.strip_suffix(b"!\r\n".as_slice()), |begin| Some(&at_once[..begin]));
    assert!(data.starts_with(kept.expect("a refusal")), "nothing is repaired");
}

/// What comes out of the guard when `data` arrives in parts of `part` bytes.
fn guarded(data: &[u8], part: usize) -> Vec<u8> {
    let mut framed = Framed::new(Parts { data, part });
    let mut out = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        let mut read = ReadBuf::new(&mut buffer);
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(())) = Pin::new(&mut framed).poll_read(&mut context, &mut read) else {
            panic!("bytes in memory are there")
        };
        if read.filled().is_empty() {
            return out;
        }
        out.extend_from_slice(read.filled());
    }
}

struct Parts<'a> {
    data: &'a [u8],
    part: usize,
}

impl AsyncRead for Parts<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = self.part.min(self.data.len()).min(buffer.remaining());
        let (now, later) = self.data.split_at(length);
        buffer.put_slice(now);
        self.data = later;
        Poll::Ready(Ok(()))
    }
}

/// A configuration file, and the same as a file of services.
pub(crate) fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // It would be opened, and might be any device.
    if text.contains("services_file") {
        return;
    }
    let file = Path::new("tollhouse.toml");
    let env = Environment::from_iter([("HOME", "/nowhere"), ("UPSTREAM_KEY", "a key")]);
    match Settings::read(file, text, &Flags::default(), &env) {
        Ok(settings) => settings.service_files.iter().for_each(written_and_read),
        Err(problems) => assert!(!problems.0.is_empty() && !problems.to_string().is_empty()),
    }
    if let Ok(services) = FileServices::read(file, text) {
        written_and_read(&services);
    }
}

/// What was read, written and read again, is the same.
fn written_and_read(services: &FileServices) {
    for spec in &services.specs {
        let text = spec.to_toml();
        let again = FileServices::read(Path::new("again.toml"), &text);
        let again = again.unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        assert_eq!(again.specs.as_slice(), std::slice::from_ref(spec), "{text}");
    }
}
