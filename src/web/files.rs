//! The static files, built into the binary: the style sheet, the script, the mark, the typeface.
//!
//! What gets smaller by it goes as gzip to who takes that. Only these: nothing in them is secret, so that a length tells
//! nobody anything, as that of a page could.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rust_embed::RustEmbed;

use super::Problem;

#[derive(RustEmbed)]
#[folder = "static/"]
#[exclude = "pictures/*"]
struct Files;

/// The files that are smaller so, as gzip, by their names.
type Smaller = HashMap<String, Bytes>;

/// Serves `/static/…`.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let smaller = Arc::new(smaller());
    let read = move |path: Path<String>, headers: HeaderMap| async move { read(&path, &headers, &smaller) };
    Router::new().route("/static/{*path}", get(read))
}

fn smaller() -> Smaller {
    let one = |name: Cow<'static, str>| {
        let whole = Files::get(&name)?.data;
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        let packed = packed.write_all(&whole).and_then(|()| packed.finish()).ok()?;
        // A typeface is packed already.
        (packed.len() < whole.len() / 4 * 3).then(|| (name.into_owned(), packed.into()))
    };
    Files::iter().filter_map(one).collect()
}

/// Whether the client reads gzip.
fn reads_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|one| {
        let (coding, weight) = one.split_once(';').unwrap_or((one, ""));
        let never = matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        coding.trim().eq_ignore_ascii_case("gzip") && !never
    })
}

/// The browser keeps the file and asks whether it changed: an upgrade shows at once.
fn read(path: &str, headers: &HeaderMap, smaller: &Smaller) -> Response {
    let Some(file) = Files::get(path) else {
        return Problem::new(StatusCode::NOT_FOUND, "not_found", "There is no such file.").into_response();
    };
    let packed = smaller.get(path);
    let gzip = packed.filter(|_| reads_gzip(headers));
    let suffix = if gzip.is_some() { "-gz" } else { "" };
    let etag = format!("\"{}{suffix}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let unchanged = known.flat_map(|line| line.split(',')).any(|tag| tag.trim() == etag);
    let etag = HeaderValue::try_from(etag).expect("quoted hexadecimal is visible ASCII");
    let caching = [(header::ETAG, etag), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    let varies = packed.is_some().then(|| [(header::VARY, HeaderValue::from_static("accept-encoding"))]);
    if unchanged {
        return (StatusCode::NOT_MODIFIED, caching, varies, ()).into_response();
    }
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let kind = HeaderValue::try_from(kind.essence_str()).expect("a media type is visible ASCII");
    let kind = [(header::CONTENT_TYPE, kind)];
    match gzip {
        Some(bytes) => {
            let coding = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
            (caching, varies, kind, coding, bytes.clone()).into_response()
        }
        None => (caching, varies, kind, file.data).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gets_smaller_goes_as_gzip_to_who_reads_it() {
        let smaller = smaller();
        let asked = |path: &str, accept: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::try_from(accept).unwrap());
            }
            let told = read(path, &headers, &smaller);
            let text = |name| told.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            (text(header::CONTENT_ENCODING), text(header::VARY), text(header::ETAG))
        };
        let (gzip, varies) = (Some("gzip".to_owned()), Some("accept-encoding".to_owned()));
        let packed = asked("tollhouse.css", Some("br, gzip;q=0.8, deflate"));
        assert_eq!((&packed.0, &packed.1), (&gzip, &varies));
        for plain in [None, Some("identity"), Some("gzip;q=0"), Some("br")] {
            let whole = asked("tollhouse.css", plain);
            assert_eq!((&whole.0, &whole.1), (&None, &varies), "{plain:?}");
            assert_ne!(whole.2, packed.2, "one mark is of one body");
        }
        let typeface = "vendor/ibm-plex-sans/ibm-plex-sans-latin-wght-normal.woff2";
        assert_eq!(asked(typeface, Some("gzip")).0, None, "it is packed already");
        let mut whole = Vec::new();
        let bytes = smaller["tollhouse.css"].as_ref();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut whole).unwrap();
        assert_eq!(whole, Files::get("tollhouse.css").unwrap().data.as_ref());
    }

    #[test]
    fn the_program_holds_what_pages_load_and_no_picture_of_the_readme() {
        let names: Vec<String> = Files::iter().map(|name| name.into_owned()).collect();
        assert!(names.iter().any(|name| name == "tollhouse.css"), "{names:?}");
        assert!(!names.iter().any(|name| name.ends_with(".png")), "{names:?}");
        let bytes: usize = names.iter().filter_map(|name| Files::get(name)).map(|file| file.data.len()).sum();
        assert!(bytes < 90_000, "{bytes} bytes");
        let readme = include_str!("../../README.md");
        let pictures = readme.split("](static/").skip(1).filter_map(|rest| rest.split(')').next());
        let pictures: Vec<&str> = pictures.collect();
        assert!(pictures.len() >= 4, "the README shows some");
        for picture in pictures {
            assert!(Files::get(picture).is_none(), "{picture}");
        }
    }
}
