//! The header of a sealed object: for whom it is, which object it is, and the authentication of both.

use std::io::{self, BufRead, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use ring::hmac;

use super::stream::Cipher;
use super::{
    FILE_KEY_BYTES, HEADER_BYTES_MAX, Keys, Recipient, SealError, Stamp, Sums, derive, key,
};

const INTRODUCTION: &str = "age-encryption.org/v1";
const FAMILY: &str = "age-encryption.org/";
const X25519: &str = "X25519";
const X25519_INFO: &str = "age-encryption.org/v1/X25519";
/// Our own stanza: the object's path, and [`Sums`] where it was sealed at once.
const OBJECT: &str = "pawang-object";
/// A line of a body; a shorter one ends it.
const LINE_LETTERS: usize = 64;

/// A header as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    stanzas: Vec<Stanza>,
    mac: Vec<u8>,
    /// The bytes that are authenticated: all up to the three dashes, and these.
    text: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stanza {
    arguments: Vec<String>,
    body: Vec<u8>,
}

impl Header {
    /// Writes the header of an object that is sealed with a key for some.
    ///
    /// # Errors
    /// The operating system gives no random numbers, a recipient is no usable key, or the path has letters that no header takes.
    pub(super) fn write(
        recipients: &[Recipient],
        stamp: &Stamp,
        file_key: &[u8; FILE_KEY_BYTES],
    ) -> io::Result<Vec<u8>> {
        let mut text = format!("{INTRODUCTION}\n").into_bytes();
        for recipient in recipients {
            let (share, shared) = key::ephemeral(recipient)?;
            let wrap = derive(&[share, recipient.0].concat(), &shared, X25519_INFO);
            let mut body = file_key.to_vec();
            Cipher::new(&wrap).seal_once(&mut body);
            let encoded = BASE64.encode(share);
            Stanza::write(&mut text, &[X25519, encoded.as_str()], &body)?;
        }
        let mut arguments = vec![OBJECT, stamp.path.as_str()];
        if let Some(sums) = &stamp.sums {
            arguments.extend([sums.fingerprint.as_str(), sums.payload.as_str()]);
        }
        Stanza::write(&mut text, &arguments, &[])?;
        text.extend_from_slice(b"---");
        let tag = hmac::sign(&mac_key(file_key), &text);
        writeln!(text, " {}", BASE64.encode(tag))?;
        Ok(text)
    }

    /// Reads a header, and leaves the reader at what follows it.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Header> {
        let mut lines = Lines {
            from,
            text: Vec::new(),
        };
        let introduction = lines.next()?;
        if introduction != INTRODUCTION {
            return Err(match introduction.starts_with(FAMILY) {
                true => SealError::Version(introduction.escape_debug().to_string()).into(),
                false => SealError::Header("it is no file of age").into(),
            });
        }
        let mut stanzas = Vec::new();
        loop {
            let before = lines.text.len();
            let line = lines.next()?;
            if let Some(mac) = line.strip_prefix("---") {
                let mac = mac
                    .strip_prefix(' ')
                    .and_then(|mac| BASE64.decode(mac).ok());
                let mac = mac.filter(|mac| mac.len() == 32);
                let mut text = lines.text;
                text.truncate(before + 3);
                return Ok(Header {
                    stanzas,
                    mac: mac.ok_or(SealError::Header("its authentication is none"))?,
                    text,
                });
            }
            let arguments = arguments(&line).ok_or(SealError::Header("a stanza is none"))?;
            let body = body(&mut lines)?;
            stanzas.push(Stanza { arguments, body });
        }
    }

    /// Opens the key of the file, and checks that all of the header is what was written with it.
    ///
    /// # Errors
    /// No identity opens it, or it was changed.
    pub(super) fn open(&self, keys: &Keys) -> Result<[u8; FILE_KEY_BYTES], SealError> {
        if let Some(locked) = keys.locked() {
            return Err(locked);
        }
        for stanza in self.of_kind(X25519) {
            if let Some(file_key) = stanza.unwrap(keys)? {
                let right = hmac::verify(&mac_key(&file_key), &self.text, &self.mac);
                let changed = |_| SealError::Header("it was changed after it was sealed");
                return right.map(|()| file_key).map_err(changed);
            }
        }
        let own: Vec<String> = keys.own().collect();
        Err(SealError::OtherRecipients(own.join(", ")))
    }

    /// Returns which object it says it is; `None` when something else than Pawang sealed it.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let mut stanzas = self.of_kind(OBJECT);
        let arguments = stanzas.next().map(|stanza| &stanza.arguments[1..])?;
        let (path, sums) = match arguments {
            [path] => (path, None),
            [path, fingerprint, payload] => {
                let sums = Sums {
                    fingerprint: fingerprint.clone(),
                    payload: payload.clone(),
                };
                (path, Some(sums))
            }
            _ => return None,
        };
        let path = path.clone();
        stanzas.next().is_none().then_some(Stamp { path, sums })
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Stanza> {
        let same = move |stanza: &&Stanza| stanza.arguments[0] == kind;
        self.stanzas.iter().filter(same)
    }
}

impl Stanza {
    fn write(text: &mut Vec<u8>, arguments: &[&str], body: &[u8]) -> io::Result<()> {
        let plain = |argument: &&str| {
            !argument.is_empty() && argument.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !arguments.iter().all(plain) {
            let told = format!("{arguments:?} cannot stand in a header of age");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
        }
        writeln!(text, "-> {}", arguments.join(" "))?;
        let encoded = BASE64.encode(body);
        let mut rest = encoded.as_str();
        while rest.len() >= LINE_LETTERS {
            let (line, more) = rest.split_at(LINE_LETTERS);
            writeln!(text, "{line}")?;
            rest = more;
        }
        writeln!(text, "{rest}")
    }

    /// Opens the key of the file with whichever identity it is for.
    fn unwrap(&self, keys: &Keys) -> Result<Option<[u8; FILE_KEY_BYTES]>, SealError> {
        let [_, share] = &self.arguments[..] else {
            return Err(SealError::Header("a recipient has not one argument"));
        };
        let share = BASE64.decode(share).ok();
        let share: Option<[u8; 32]> = share.and_then(|share| share.try_into().ok());
        let share = share.ok_or(SealError::Header("a recipient's key has not 32 bytes"))?;
        if self.body.len() != FILE_KEY_BYTES + Cipher::TAG_BYTES {
            return Err(SealError::Header("a recipient's part has not 32 bytes"));
        }
        for identity in &keys.identities {
            let shared = identity.shared(share);
            let shared = shared.ok_or(SealError::Header("a recipient's key is none"))?;
            let wrap = derive(
                &[share, identity.recipient().0].concat(),
                &shared,
                X25519_INFO,
            );
            let mut body = self.body.clone();
            if let Some(file_key) = Cipher::new(&wrap).open_once(&mut body) {
                return Ok(file_key.try_into().ok());
            }
        }
        Ok(None)
    }
}

fn mac_key(file_key: &[u8; FILE_KEY_BYTES]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &derive(&[], file_key, "header"))
}

fn arguments(line: &str) -> Option<Vec<String>> {
    let plain = |argument: &str| {
        !argument.is_empty() && argument.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let arguments = line.strip_prefix("-> ")?.split(' ');
    arguments
        .map(|argument| plain(argument).then(|| argument.to_owned()))
        .collect()
}

fn body<R: BufRead>(lines: &mut Lines<'_, R>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = lines.next()?;
        let wrong = SealError::Header("the body of a stanza is none");
        if line.len() > LINE_LETTERS {
            return Err(wrong.into());
        }
        let decoded = BASE64.decode(&line).map_err(|_| wrong)?;
        body.extend_from_slice(&decoded);
        if line.len() < LINE_LETTERS {
            return Ok(body);
        }
    }
}

/// Lines of a header, and all of their bytes.
struct Lines<'a, R> {
    from: &'a mut R,
    text: Vec<u8>,
}

impl<R: BufRead> Lines<'_, R> {
    fn next(&mut self) -> io::Result<String> {
        let before = self.text.len();
        let room = (HEADER_BYTES_MAX - before) as u64;
        io::Read::take(&mut *self.from, room).read_until(b'\n', &mut self.text)?;
        let line = &self.text[before..];
        let line = line
            .strip_suffix(b"\n")
            .and_then(|line| std::str::from_utf8(line).ok());
        let line = line.ok_or(SealError::Header("it does not end, or is no text"))?;
        Ok(line.to_owned())
    }
}
