//! Tables for spreadsheets: CSV (RFC 4180), sent as they are read.
//!
//! Invariant: no text of anybody's becomes a formula. A cell that begins with `=`, `+`, `-`, `@`, a tab or a
//! carriage return gets an apostrophe before it (OWASP, CSV injection); numbers are ours and stay numbers.

use std::future::Future;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::types::Timestamp;

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Anybody's text.
    Text(String),
    /// A number of ours.
    Number(i64),
    /// Millisatoshi as satoshi, exact: `-1500` is `-1.5`.
    Satoshi(i64),
    /// An instant, as RFC 3339 in UTC.
    Time(Timestamp),
    /// Nothing.
    Empty,
}

impl Cell {
    /// A text, or nothing.
    pub fn text(text: Option<impl ToString>) -> Cell {
        text.map_or(Cell::Empty, |text| Cell::Text(text.to_string()))
    }

    fn written(&self) -> String {
        match self {
            Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) => {
                format!("'{text}")
            }
            Cell::Text(text) => text.clone(),
            Cell::Number(number) => number.to_string(),
            Cell::Satoshi(msat) => {
                let sign = if *msat < 0 { "-" } else { "" };
                let (whole, rest) = (msat.unsigned_abs() / 1_000, msat.unsigned_abs() % 1_000);
                match format!("{rest:03}").trim_end_matches('0') {
                    "" => format!("{sign}{whole}"),
                    rest => format!("{sign}{whole}.{rest}"),
                }
            }
            Cell::Time(at) => {
                let nanos = i128::from(at.millis()) * 1_000_000;
                let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
                moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
            }
            Cell::Empty => String::new(),
        }
    }
}

/// Rows as CSV.
pub fn lines(rows: &[Vec<Cell>]) -> Bytes {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row.iter().map(Cell::written)).expect("memory takes every row of one length");
    }
    writer.into_inner().expect("memory takes everything").into()
}

/// A file for the browser to keep: `head`, then what `next` gives until it gives no row. It is read as it is
/// sent; when reading fails, the connection breaks off, so that nobody takes a part for the whole.
pub fn download<S, N, F>(file: &'static str, head: &[&str], state: S, next: N) -> Response
where
    S: Send + 'static,
    N: Fn(S) -> F + Send + 'static,
    F: Future<Output = Result<(Vec<Vec<Cell>>, S), std::io::Error>> + Send,
{
    let head = lines(&[head.iter().map(|name| Cell::Text((*name).to_owned())).collect()]);
    let rest = stream::unfold((Some(state), next), async |(state, next)| match next(state?).await {
        Ok((rows, _)) if rows.is_empty() => None,
        Ok((rows, state)) => Some((Ok(lines(&rows)), (Some(state), next))),
        Err(error) => Some((Err(error), (None, next))),
    });
    let body = futures_util::StreamExt::chain(stream::iter([Ok::<Bytes, std::io::Error>(head)]), rest);
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{file}\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, Body::from_stream(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn satoshi_are_exact() {
        let told = [0, 1_000, -1_500, 7, -20_000].map(|msat| Cell::Satoshi(msat).written());
        assert_eq!(told, ["0", "1", "-1.5", "0.007", "-20"]);
    }

    #[test]
    fn no_text_becomes_a_formula_and_numbers_stay_numbers() {
        let text = |text: &str| Cell::Text(text.to_owned());
        let rows = [
            vec![
                text("=HYPERLINK(\"http://x\")"),
                text("+1"),
                text("-1"),
                text("@SUM(A1)"),
                Cell::Number(-5_000),
            ],
            vec![
                text("\tx"),
                text("\rx"),
                text("a,\"b\"\nc"),
                Cell::Empty,
                Cell::Time(Timestamp::from_secs(0)),
            ],
        ];
        let told = lines(&rows);
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&told[..]);
        let read: Vec<Vec<String>> =
            reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect();
        assert_eq!(read[0], ["'=HYPERLINK(\"http://x\")", "'+1", "'-1", "'@SUM(A1)", "-5000"]);
        assert_eq!(read[1], ["'\tx", "'\rx", "a,\"b\"\nc", "", "1970-01-01T00:00:00Z"]);
    }
}
