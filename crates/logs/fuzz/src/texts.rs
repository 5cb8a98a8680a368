//! Targets of the readers of texts: plans, statements, and the removal of secrets.

use pawang_logs::plan;
use pawang_logs::render::without_secrets;
use pawang_logs::statement::{
    Normaliser, fingerprint, has_parameters, normalise, normalise_message, split, tags, told, verb,
};

use super::{control, place};

/// What must never be shown.
const MARKER: &str = "Zq7xKw3vMarker9";

/// Forms in which a secret stands in a log; `@` stands for it.
const SECRETS: [&str; 10] = [
    "password=@",
    "alter role a password '@' valid",
    "create user a encrypted PASSWORD E'@'",
    "postgres://u:@@h/d?x=1",
    "{\"api_key\": \"@\", \"b\": 1}",
    "Authorization: Bearer @",
    "host=h password='@' user=u",
    "token => '@'",
    "secret_access_key: @,",
    "-----BEGIN RSA PRIVATE KEY-----\n@\n-----END RSA PRIVATE KEY-----",
];

/// Bytes of a shape for each byte of its statement: an operator gets spaces around it, bytes that are no UTF-8 become three.
const SHAPE_GROWTH_MAX: usize = 4;

/// Explained plans: text, JSON, YAML, XML.
pub(crate) fn plan(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(plan) = plan::read(&text) {
        let _ = plan::fingerprint(&plan);
        let _ = plan::outline(&plan);
        let _ = plan.to_string();
        for time in plan::spent(&plan) {
            assert!(
                time.exclusive >= 0.0 && time.exclusive <= time.inclusive,
                "{time:?}"
            );
        }
        let _ = plan::review(&plan);
    }
    let _ = plan::mask(&text);
    let (before, after) = around(data);
    let planted = format!("{before}\n  Filter: (note = '{MARKER}'::text)\n{after}");
    let masked = plan::mask(&planted);
    assert!(!masked.contains(MARKER), "a constant stays: {masked}");
}

/// The normaliser and everything else that reads statements.
pub(crate) fn statement(data: &[u8]) {
    let normal = normalise(data);
    assert_eq!(normalise(normal.as_bytes()), normal, "normalising twice");
    let bound = SHAPE_GROWTH_MAX * data.len() + 16;
    assert!(normal.len() <= bound, "{} of {}", normal.len(), data.len());
    let mut normaliser = Normaliser::default();
    for _ in 0..2 {
        assert_eq!(normaliser.normalise(data), normal, "with what was before");
        let _ = normaliser.normalise(&data[data.len() / 2..]);
    }
    let _ = (fingerprint(&normal), verb(&normal), tags(data));
    if let Some(told) = told(data) {
        assert!(told.text.len() <= data.len());
    }
    let mut message = String::new();
    normalise_message(data, &mut message);
    let text = String::from_utf8_lossy(data);
    let parts: usize = split(&text).iter().map(|part| part.len()).sum();
    assert!(parts <= text.len(), "parts are larger than the whole");
    let _ = has_parameters(&text);
    let (before, after) = around(data);
    let hidden = normalise(format!("{before}\n '{MARKER}' {after}").as_bytes());
    assert!(!hidden.contains(MARKER), "a constant stays: {hidden}");
}

/// Secrets in texts that are shown.
pub(crate) fn redaction(data: &[u8]) {
    let (body, [which]) = control(data);
    let text = String::from_utf8_lossy(body);
    let (before, after) = around(body);
    let secret = SECRETS[usize::from(which) % SECRETS.len()].replacen('@', MARKER, 1);
    let planted = format!("{before}\n{secret}\n{after}");
    let once = without_secrets(&text);
    assert_eq!(without_secrets(&once), once, "removing secrets twice");
    let safe = without_secrets(&planted);
    assert!(!safe.contains(MARKER), "a secret stays: {safe}");
}

/// Returns texts to put before and after something that must be found: what is before opens nothing that swallows it.
fn around(data: &[u8]) -> (String, String) {
    let (body, [cut]) = control(data);
    let (before, after) = body.split_at(place(body.len(), cut));
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b" \n,;()+*<>&|%.".contains(byte);
    let before = before.iter().copied().filter(|byte| harmless(byte));
    let before = before.map(char::from).collect::<String>();
    let after = String::from_utf8_lossy(after).replace(MARKER, "");
    (before.replace(MARKER, ""), after)
}
