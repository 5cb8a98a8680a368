//! What the store does with a request, and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::sign::hexadecimal;
use super::{Bucket, PartsOf, State, Stored};
use crate::request::Request;

/// All but the last part of a multipart upload have so many bytes at least.
const PART_BYTES_MIN: usize = 5 << 20;

pub(super) struct Answer {
    status: u16,
    headers: String,
    body: Arc<Vec<u8>>,
    /// So many bytes of the body are sent.
    sent: usize,
    /// Whether nothing at all is sent.
    silent: bool,
    pub(super) close: bool,
}

impl Answer {
    fn of(status: u16, headers: String, body: Arc<Vec<u8>>) -> Answer {
        Answer {
            status,
            headers,
            sent: body.len(),
            body,
            silent: false,
            close: false,
        }
    }

    fn xml(text: String) -> Answer {
        Answer::of(200, String::new(), Arc::new(text.into_bytes()))
    }

    fn empty(status: u16) -> Answer {
        Answer::of(status, String::new(), Arc::default())
    }

    pub(super) fn refused(status: u16, code: &str) -> Answer {
        let text =
            format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
        Answer {
            status,
            ..Answer::xml(text)
        }
    }

    pub(super) fn nothing() -> Answer {
        Answer {
            silent: true,
            close: true,
            ..Answer::empty(200)
        }
    }

    pub(super) fn cut(self, bytes: usize) -> Answer {
        Answer {
            sent: bytes.min(self.sent),
            close: true,
            ..self
        }
    }

    /// Returns it as it is sent; a HEAD gets no body, but its length.
    pub(super) fn bytes(&self, request: &Request) -> Vec<u8> {
        if self.silent {
            return Vec::new();
        }
        let length = self.body.len();
        let head = format!(
            "HTTP/1.1 {} Words\r\n{}Content-Length: {length}\r\n\r\n",
            self.status, self.headers
        );
        let mut bytes = head.into_bytes();
        if !request.line.starts_with("HEAD ") {
            bytes.extend_from_slice(&self.body[..self.sent]);
        }
        bytes
    }
}

pub(super) fn answer(request: &Request, state: &mut State) -> Answer {
    let (method, target) = request.line.split_once(' ').unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = decode(path);
    let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    if bucket != Bucket::NAME {
        return Answer::refused(404, "NoSuchBucket");
    }
    let query = Query(query);
    match (method, query.get("uploadId")) {
        ("GET", _) if key.is_empty() && query.get("uploads").is_some() => uploads(&query, state),
        ("GET", _) if key.is_empty() => list(&query, state),
        ("GET" | "HEAD", _) => get(request, key, state),
        ("PUT", Some(id)) => put_part(request, &id, &query, state),
        ("PUT", None) => put(request, key, state),
        ("POST", Some(id)) => complete(request, &id, state),
        ("POST", None) if query.get("uploads").is_some() => begin(key, state),
        ("DELETE", Some(id)) => {
            state.uploads.remove(&id);
            Answer::empty(204)
        }
        ("DELETE", None) if state.locked => Answer::refused(403, "AccessDenied"),
        ("DELETE", None) => {
            state.objects.remove(key);
            Answer::empty(204)
        }
        _ => Answer::refused(501, "NotImplemented"),
    }
}

/// What follows the question mark.
pub(super) struct Query<'a>(pub(super) &'a str);

impl Query<'_> {
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let mut pairs = self.0.split('&');
        pairs.find_map(|pair| {
            let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
            (found == name).then(|| decode(value))
        })
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        (rest, bytes) = match (first, value) {
            (b'%', Some(value)) => (&more[2..], [bytes, vec![value]].concat()),
            _ => (more, [bytes, vec![*first]].concat()),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", &hexadecimal(&Sha256::digest(bytes))[..32])
}

fn facts(stored: &Stored) -> String {
    let modified = stored.modified.strftime("%a, %d %b %Y %H:%M:%S GMT");
    let tag = tag(&stored.bytes);
    format!("ETag: {tag}\r\nLast-Modified: {modified}\r\n")
}

fn put(request: &Request, key: &str, state: &mut State) -> Answer {
    if request.header("if-none-match") == Some("*") && state.objects.contains_key(key) {
        return Answer::refused(412, "PreconditionFailed");
    }
    let stored = Stored {
        bytes: Arc::new(request.body.clone()),
        modified: state.now(),
    };
    let headers = facts(&stored);
    state.objects.insert(key.to_owned(), stored);
    Answer::of(200, headers, Arc::default())
}

fn get(request: &Request, key: &str, state: &State) -> Answer {
    let Some(stored) = state.objects.get(key) else {
        return Answer::refused(404, "NoSuchKey");
    };
    let length = stored.bytes.len();
    let range = request.header("range").and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        let from: usize = from.parse().ok()?;
        let to = to.parse().map_or(length, |to: usize| (to + 1).min(length));
        Some((from, to))
    });
    let headers = facts(stored);
    match range {
        None => Answer::of(200, headers, Arc::clone(&stored.bytes)),
        Some((from, to)) if from < to => {
            let last = to - 1;
            let headers = format!("{headers}Content-Range: bytes {from}-{last}/{length}\r\n");
            Answer::of(206, headers, Arc::new(stored.bytes[from..to].to_vec()))
        }
        Some(_) => Answer::refused(416, "InvalidRange"),
    }
}

fn begin(key: &str, state: &mut State) -> Answer {
    state.uploads_begun += 1;
    let id = format!("upload-{}", state.uploads_begun);
    let upload = PartsOf {
        key: key.to_owned(),
        began_at: state.now(),
        parts: BTreeMap::new(),
    };
    state.uploads.insert(id.clone(), upload);
    Answer::xml(format!(
        "<InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
        Bucket::NAME
    ))
}

fn put_part(request: &Request, id: &str, query: &Query<'_>, state: &mut State) -> Answer {
    let number = query.get("partNumber").and_then(|it| it.parse().ok());
    let (Some(upload), Some(number)) = (state.uploads.get_mut(id), number) else {
        return Answer::refused(404, "NoSuchUpload");
    };
    let headers = format!("ETag: {}\r\n", tag(&request.body));
    upload.parts.insert(number, Arc::new(request.body.clone()));
    Answer::of(200, headers, Arc::default())
}

fn complete(request: &Request, id: &str, state: &mut State) -> Answer {
    let Some(upload) = state.uploads.get(id) else {
        return Answer::refused(404, "NoSuchUpload");
    };
    let wanted = String::from_utf8_lossy(&request.body).into_owned();
    let field = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split('<').next()?.replace("&quot;", "\""))
    };
    let mut bytes = Vec::new();
    let parts: Vec<&str> = wanted
        .split("</Part>")
        .filter(|it| it.contains("<Part>"))
        .collect();
    for (place, text) in parts.iter().enumerate() {
        let number = field(text, "PartNumber").and_then(|number| number.parse().ok());
        let part = number.and_then(|number: u32| upload.parts.get(&number));
        match (part, field(text, "ETag")) {
            (Some(part), Some(expected)) if tag(part) == expected => {
                if place + 1 < parts.len() && part.len() < PART_BYTES_MIN {
                    return Answer::refused(400, "EntityTooSmall");
                }
                bytes.extend_from_slice(part);
            }
            _ => return Answer::refused(400, "InvalidPart"),
        }
    }
    let key = upload.key.clone();
    let tag = tag(&bytes).replace('"', "&quot;");
    let modified = state.now();
    let bytes = Arc::new(bytes);
    state.uploads.remove(id);
    state
        .objects
        .insert(key.clone(), Stored { bytes, modified });
    Answer::xml(format!(
        "<CompleteMultipartUploadResult><Bucket>{}</Bucket><Key>{key}</Key><ETag>{tag}</ETag></CompleteMultipartUploadResult>",
        Bucket::NAME
    ))
}

fn list(query: &Query<'_>, state: &State) -> Answer {
    let prefix = query.get("prefix").unwrap_or_default();
    let delimiter = query.get("delimiter");
    let after = query.get("continuation-token").or(query.get("start-after"));
    let mut contents = String::new();
    let mut folders = BTreeSet::new();
    let mut last = None;
    let mut count = 0;
    let mut truncated = false;
    for (key, stored) in &state.objects {
        let Some(rest) = key.strip_prefix(&prefix) else {
            continue;
        };
        if after.as_ref().is_some_and(|after| key <= after) {
            continue;
        }
        if count == state.page {
            truncated = true;
            break;
        }
        count += 1;
        last = Some(key);
        let folder = delimiter
            .as_ref()
            .and_then(|delimiter| rest.split_once(delimiter.as_str()));
        if let Some((folder, _)) = folder {
            folders.insert(format!("{prefix}{folder}/"));
            continue;
        }
        let _ = write!(
            contents,
            "<Contents><Key>{key}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
            stored.modified.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            tag(&stored.bytes).replace('"', "&quot;"),
            stored.bytes.len()
        );
    }
    for folder in folders {
        let _ = write!(
            contents,
            "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"
        );
    }
    let next = last.filter(|_| truncated).map_or_else(String::new, |last| {
        format!("<NextContinuationToken>{last}</NextContinuationToken>")
    });
    Answer::xml(format!(
        "<ListBucketResult><Name>{}</Name><Prefix>{prefix}</Prefix><KeyCount>{count}</KeyCount><IsTruncated>{truncated}</IsTruncated>{next}{contents}</ListBucketResult>",
        Bucket::NAME
    ))
}

fn uploads(query: &Query<'_>, state: &State) -> Answer {
    let prefix = query.get("prefix").unwrap_or_default();
    let after = query.get("key-marker").zip(query.get("upload-id-marker"));
    let mut open: Vec<((String, String), Timestamp)> = state
        .uploads
        .iter()
        .map(|(id, upload)| ((upload.key.clone(), id.clone()), upload.began_at))
        .filter(|(name, _)| name.0.starts_with(&prefix))
        .filter(|(name, _)| after.as_ref().is_none_or(|after| name > after))
        .collect();
    open.sort();
    let truncated = open.len() > state.page;
    open.truncate(state.page);
    let mut contents = String::new();
    for ((key, id), began_at) in &open {
        let began_at = began_at.strftime("%Y-%m-%dT%H:%M:%S.000Z");
        let _ = write!(
            contents,
            "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{began_at}</Initiated></Upload>"
        );
    }
    let next = open
        .last()
        .filter(|_| truncated)
        .map_or_else(String::new, |((key, id), _)| {
            format!(
                "<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>"
            )
        });
    Answer::xml(format!(
        "<ListMultipartUploadsResult><Bucket>{}</Bucket>{next}<IsTruncated>{truncated}</IsTruncated>{contents}</ListMultipartUploadsResult>",
        Bucket::NAME
    ))
}
