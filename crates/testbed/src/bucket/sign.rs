//! Signatures of requests, version 4.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::answer::Query;
use crate::request::Request;

const SKEW_MAX: SignedDuration = SignedDuration::from_mins(15);
const BLOCK_BYTES: usize = 64;
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const WRONG: &str = "SignatureDoesNotMatch";

/// What a request says of its signature.
struct Signature {
    credential: String,
    signed: String,
    signature: String,
    at: String,
    hash: String,
}

/// Says whether a request is signed with the keys; otherwise with which code it is refused.
pub(super) fn verify(
    request: &Request,
    keys: &(String, String),
    now: Timestamp,
) -> Result<(), &'static str> {
    let found = match request.header("authorization") {
        Some(authorization) => of_header(request, authorization),
        None if request.line.contains("X-Amz-Signature=") => of_address(request),
        None => return Err("AccessDenied"),
    };
    let Signature {
        credential,
        signed,
        signature,
        at,
        hash,
    } = found.ok_or(WRONG)?;
    let (key, scope) = credential.split_once('/').ok_or(WRONG)?;
    if key != keys.0 {
        return Err("InvalidAccessKeyId");
    }
    let time = DateTime::strptime("%Y%m%dT%H%M%SZ", &at).map_err(|_| WRONG)?;
    let time = time.to_zoned(TimeZone::UTC).map_err(|_| WRONG)?.timestamp();
    if now.duration_since(time).abs() > SKEW_MAX {
        return Err("RequestTimeTooSkewed");
    }
    if hash != UNSIGNED && hash != hexadecimal(&Sha256::digest(&request.body)) {
        return Err("XAmzContentSHA256Mismatch");
    }
    let canonical = canonical(request, &signed, &hash).ok_or(WRONG)?;
    let digest = hexadecimal(&Sha256::digest(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{digest}");
    let mut secret = format!("AWS4{}", keys.1).into_bytes();
    for word in scope.split('/') {
        secret = hmac(&secret, word.as_bytes());
    }
    let expected = hexadecimal(&hmac(&secret, text.as_bytes()));
    (expected == signature).then_some(()).ok_or(WRONG)
}

fn of_header(request: &Request, authorization: &str) -> Option<Signature> {
    let field = |name: &str| {
        let (_, rest) = authorization.split_once(name)?;
        Some(rest.split([',', ' ']).next().unwrap_or_default().to_owned())
    };
    Some(Signature {
        credential: field("Credential=")?,
        signed: field("SignedHeaders=")?,
        signature: field("Signature=")?,
        at: request.header("x-amz-date")?.to_owned(),
        hash: request.header("x-amz-content-sha256")?.to_owned(),
    })
}

/// Reads the signature of an address that was signed beforehand.
fn of_address(request: &Request) -> Option<Signature> {
    let (_, query) = request.line.split_once('?')?;
    let query = Query(query);
    Some(Signature {
        credential: query.get("X-Amz-Credential")?,
        signed: query.get("X-Amz-SignedHeaders")?,
        signature: query.get("X-Amz-Signature")?,
        at: query.get("X-Amz-Date")?,
        hash: UNSIGNED.to_owned(),
    })
}

fn canonical(request: &Request, signed: &str, hash: &str) -> Option<String> {
    let (method, target) = request.line.split_once(' ')?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("X-Amz-Signature="))
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            format!("{name}={value}")
        })
        .collect();
    pairs.sort();
    let mut headers = String::new();
    for name in signed.split(';') {
        headers.push_str(&format!("{name}:{}\n", request.header(name)?.trim()));
    }
    let query = pairs.join("&");
    Some(format!(
        "{method}\n{path}\n{query}\n{headers}\n{signed}\n{hash}"
    ))
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        let short = Sha256::digest(key);
        block[..short.len()].copy_from_slice(&short);
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = block.map(|byte| byte ^ 0x36);
    let outer = block.map(|byte| byte ^ 0x5c);
    let inner = Sha256::new().chain_update(inner).chain_update(text);
    let outer = Sha256::new()
        .chain_update(outer)
        .chain_update(inner.finalize());
    outer.finalize().to_vec()
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
