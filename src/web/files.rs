//! The static files, built into the binary: the style sheet, the script, the mark, the typeface.

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rust_embed::RustEmbed;

use super::Problem;

#[derive(RustEmbed)]
#[folder = "static/"]
#[exclude = "pictures/*"]
struct Files;

/// Serves `/static/…`.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/static/{*path}", get(read))
}

/// The browser keeps the file and asks whether it changed: an upgrade shows at once.
async fn read(Path(path): Path<String>, headers: HeaderMap) -> Response {
    let Some(file) = Files::get(&path) else {
        return Problem::new(StatusCode::NOT_FOUND, "not_found", "There is no such file.").into_response();
    };
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let unchanged = known.flat_map(|line| line.split(',')).any(|tag| tag.trim() == etag);
    let etag = HeaderValue::try_from(etag).expect("quoted hexadecimal is visible ASCII");
    let caching = [(header::ETAG, etag), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if unchanged {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let kind = mime_guess::from_path(&path).first_or_octet_stream();
    let kind = HeaderValue::try_from(kind.essence_str()).expect("a media type is visible ASCII");
    (caching, [(header::CONTENT_TYPE, kind)], file.data).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

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
