//! Compression of answers, for browsers that ask for it.

use std::io::Write;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Shorter answers fit into one packet anyway.
const BYTES_MIN: usize = 1_024;
/// Longer ones cost more time than they save: that is `/metrics` of many tables, for a scraper next door.
const BYTES_MAX: usize = 8 << 20;

/// Returns the text compressed by gzip, when that is asked for and worth it.
pub(crate) fn gzip(body: &[u8], headers: &HeaderMap) -> Option<Vec<u8>> {
    match accepts_gzip(headers) {
        true => compressed(body),
        false => None,
    }
}

/// Returns the text compressed by gzip, when that is worth it.
pub(crate) fn compressed(body: &[u8]) -> Option<Vec<u8>> {
    if !(BYTES_MIN..=BYTES_MAX).contains(&body.len()) {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::new(5));
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// Says whether whoever asks can read gzip.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter();
    let mut codings = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = quality
            .trim()
            .strip_prefix("q=")
            .is_some_and(|quality| quality.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compresses_only_when_asked() {
        let text = "wal ".repeat(1_000);
        for (accept, compressed) in [
            (None, false),
            (Some("gzip, deflate, br"), true),
            (Some("br;q=1.0, GZIP;q=0.5"), true),
            (Some("gzip;q=0"), false),
            (Some("identity"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT_ENCODING, accept.parse().unwrap());
            }
            assert_eq!(
                gzip(text.as_bytes(), &headers).is_some(),
                compressed,
                "{accept:?}"
            );
            assert!(gzip(b"short", &headers).is_none());
        }
    }
}
