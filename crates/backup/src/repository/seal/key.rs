//! Keys: recipients, for whom objects are sealed, and identities, which open them; both spelled as `age-keygen` does.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use jiff::Timestamp;
use pawang_core::{Kind, Report, Secret};
use x25519_dalek::{PublicKey, StaticSecret};

use super::{SealError, random};

const RECIPIENT: Hrp = Hrp::parse_unchecked("age");
const IDENTITY: Hrp = Hrp::parse_unchecked("age-secret-key-");
/// An identity file holds a few lines.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Bits of a mode that let others than the owner read or write.
const OTHERS: u32 = 0o077;

/// Somebody for whom objects are sealed: a public key, `age1...`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recipient(pub(super) [u8; 32]);

/// Somebody who opens them: a secret key, `AGE-SECRET-KEY-1...`.
#[derive(Clone)]
pub struct Identity {
    secret: StaticSecret,
    recipient: Recipient,
}

/// The text is no key. It is not shown: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseKeyError(pub &'static str);

/// The keys of a repository: for whom new objects are sealed, and who reads what is sealed.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// For whom; without any, objects are not sealed.
    pub recipients: Vec<Recipient>,
    /// Who reads; a server that only takes backups needs none.
    pub identities: Vec<Identity>,
    /// Where the identities are from, for errors.
    pub identity_file: Option<PathBuf>,
    /// Why the file gave none, if so: whoever only writes needs none.
    pub problem: Option<String>,
}

impl Identity {
    /// Makes a new one.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn generate() -> io::Result<Identity> {
        random().map(Identity::of)
    }

    /// Returns the recipient whose objects it opens.
    pub fn recipient(&self) -> Recipient {
        self.recipient
    }

    /// Returns its text, `AGE-SECRET-KEY-1...`.
    pub fn text(&self) -> Secret<String> {
        let text = bech32::encode_upper::<Bech32>(IDENTITY, self.secret.as_bytes());
        Secret::new(text.expect("32 bytes are short enough"))
    }

    /// Returns the text of its file, as `age-keygen` writes it.
    pub fn file_text(&self, now: Timestamp) -> Secret<String> {
        let text = self.text();
        Secret::new(format!(
            "# created: {now}\n# public key: {}\n{}\n",
            self.recipient,
            text.reveal()
        ))
    }

    pub(super) fn of(secret: [u8; 32]) -> Identity {
        let secret = StaticSecret::from(secret);
        let recipient = Recipient(PublicKey::from(&secret).to_bytes());
        Identity { secret, recipient }
    }

    /// Returns the secret that it shares with the sender of an ephemeral key; `None` for a key that was made to give zeros.
    pub(super) fn shared(&self, share: [u8; 32]) -> Option<[u8; 32]> {
        shared(&self.secret, share)
    }
}

/// Makes an ephemeral key for a recipient; returns its public half and the secret that both share.
pub(super) fn ephemeral(recipient: &Recipient) -> io::Result<([u8; 32], [u8; 32])> {
    let secret = StaticSecret::from(random()?);
    let share = PublicKey::from(&secret).to_bytes();
    let shared = shared(&secret, recipient.0);
    let weak = || io::Error::other(format!("\"{recipient}\" is no usable public key"));
    Ok((share, shared.ok_or_else(weak)?))
}

fn shared(secret: &StaticSecret, public: [u8; 32]) -> Option<[u8; 32]> {
    let shared = secret.diffie_hellman(&PublicKey::from(public));
    shared.was_contributory().then(|| shared.to_bytes())
}

impl FromStr for Recipient {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Recipient, ParseKeyError> {
        let wrong = ParseKeyError("it is no public key of age (age1..., with its checksum)");
        let key = Recipient(decode(text, &RECIPIENT).ok_or(wrong)?);
        (key.to_string() == text).then_some(key).ok_or(wrong_case())
    }
}

fn wrong_case() -> ParseKeyError {
    ParseKeyError("a public key of age is written in small letters")
}

impl FromStr for Identity {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Identity, ParseKeyError> {
        let wrong =
            ParseKeyError("it is no secret key of age (AGE-SECRET-KEY-1..., with its checksum)");
        let identity = Identity::of(decode(text, &IDENTITY).ok_or(wrong.clone())?);
        let same = identity.text().reveal() == text;
        same.then_some(identity).ok_or(wrong)
    }
}

fn decode(text: &str, prefix: &Hrp) -> Option<[u8; 32]> {
    let checked = CheckedHrpstring::new::<Bech32>(text).ok()?;
    if checked.hrp() != *prefix {
        return None;
    }
    let bytes: Vec<u8> = checked.byte_iter().collect();
    bytes.try_into().ok()
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode_lower::<Bech32>(RECIPIENT, &self.0);
        f.pad(&text.expect("32 bytes are short enough"))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity of {}", self.recipient)
    }
}

impl Keys {
    /// Reads keys: recipients from their texts, identities from a file. A file that cannot be used is told only when something
    /// has to be opened, since whoever writes does not need it.
    ///
    /// # Errors
    /// A text is no recipient.
    pub fn load(recipients: &[String], identity_file: Option<&Path>) -> Result<Keys, Report> {
        let parse = |text: &String| {
            text.parse::<Recipient>().map_err(|error| {
                let shown = text.escape_debug();
                let what = format!("cannot read \"{shown}\" as a recipient of age");
                let report = Report::new(Kind::Usage, what).with_detail(error.to_string());
                report.with_hint("age-keygen -y tells the recipient of an identity file")
            })
        };
        let mut keys = Keys {
            recipients: recipients.iter().map(parse).collect::<Result<_, _>>()?,
            identity_file: identity_file.map(Path::to_owned),
            ..Keys::default()
        };
        keys.recipients.sort_unstable();
        keys.recipients.dedup();
        if let Some(path) = identity_file {
            match identities(path) {
                Ok(identities) => keys.identities = identities,
                Err(problem) => keys.problem = Some(problem),
            }
        }
        Ok(keys)
    }

    /// Says why nothing can be opened here; `None` when there is an identity.
    pub fn locked(&self) -> Option<SealError> {
        if !self.identities.is_empty() {
            return None;
        }
        let why = match (&self.identity_file, &self.problem) {
            (Some(path), Some(problem)) => {
                format!("identity file \"{}\": {problem}", path.display())
            }
            _ => "no identity_file is named for the repository".to_owned(),
        };
        Some(SealError::NoIdentity(why))
    }

    /// Says why what was sealed for some cannot be opened here, by the names of these; `None` when it can.
    pub fn locked_for(&self, recipients: &[String]) -> Option<SealError> {
        let ours: Vec<String> = self.own().collect();
        let other = || {
            let listed = format!(
                "here {}; sealed for {}",
                ours.join(", "),
                recipients.join(", ")
            );
            Some(SealError::OtherRecipients(listed))
        };
        let known = recipients.iter().any(|recipient| ours.contains(recipient));
        self.locked().or_else(|| if known { None } else { other() })
    }

    /// Returns the recipients of the identities that are here.
    pub(super) fn own(&self) -> impl Iterator<Item = String> {
        self.identities
            .iter()
            .map(|identity| identity.recipient.to_string())
    }
}

/// Reads the identities of a file; the text says what is wrong, without a secret.
fn identities(path: &Path) -> Result<Vec<Identity>, String> {
    let failed = |error: io::Error| format!("could not read it: {error}");
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(format!(
            "others than its owner may use it (mode {mode:03o}); chmod 600"
        ));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let text = Secret::new(text);
    let mut identities = Vec::new();
    for (number, line) in text.reveal().lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            let identity = line.parse::<Identity>();
            identities.push(identity.map_err(|error| format!("line {}: {error}", number + 1))?);
        }
    }
    if identities.is_empty() {
        return Err("it holds no identity".to_owned());
    }
    Ok(identities)
}
