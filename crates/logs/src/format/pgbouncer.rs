//! PgBouncer's log: a timestamp, a process, a level, and for most lines the socket that they are about.
//!
//! The message of a record is what follows the socket; `backend` tells whose socket it is, `client` or `server`.

use jiff::tz::TimeZone;
use memchr::{memchr, memchr_iter};

use super::{RECORD_BYTES_MAX, Remarks, Scanner};
use crate::record::{Odd, Origin, Record, Sink};
use crate::severity::Severity;
use crate::time::{Clock, Fraction, Stamp};

/// The levels of PgBouncer.
const LEVELS: [(&[u8], Severity); 7] = [
    (b"LOG ", Severity::Log),
    (b"WARNING ", Severity::Warning),
    (b"ERROR ", Severity::Error),
    (b"FATAL ", Severity::Fatal),
    (b"INFO ", Severity::Info),
    (b"DEBUG ", Severity::Debug),
    (b"NOISE ", Severity::Debug),
];

/// Reads PgBouncer's log.
#[derive(Debug, Default)]
pub struct PgBouncer {
    clock: Clock,
    /// The rest of a line, or of a record, that was too long is left out.
    skipping: bool,
    scratch: Vec<u8>,
}

impl PgBouncer {
    /// Returns a scanner; the zone tells what abbreviations of the log mean.
    pub fn new(zone: Option<TimeZone>) -> PgBouncer {
        PgBouncer {
            clock: Clock::new(zone),
            ..PgBouncer::default()
        }
    }

    /// Hands the lines of one record to the sink.
    fn emit(&mut self, lines: &[u8], offset: u64, cut: bool, sink: &mut dyn Sink) {
        let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
        let lines = lines.strip_suffix(b"\r").unwrap_or(lines);
        let Some(mut record) = read(&mut self.clock, lines) else {
            if memchr(0, lines).is_some() {
                sink.odd(offset, Odd::Malformed(lines));
            } else if !lines.is_empty() {
                sink.odd(offset, Odd::Raw(lines));
            }
            return;
        };
        self.clock.keep();
        record.cut = cut;
        if memchr(b'\n', record.message).is_some() {
            self.scratch.clear();
            for (index, line) in record.message.split(|byte| *byte == b'\n').enumerate() {
                if index > 0 {
                    self.scratch.push(b'\n');
                }
                let tab = usize::from(index > 0 && line.first() == Some(&b'\t'));
                self.scratch.extend_from_slice(&line[tab..]);
            }
            record.message = &self.scratch;
        }
        sink.record(offset, &record);
    }
}

impl Scanner for PgBouncer {
    fn sync(&self, bytes: &[u8]) -> Option<usize> {
        let mut clock = self.clock.clone();
        let starts = memchr_iter(b'\n', bytes).map(|end| end + 1);
        std::iter::once(0)
            .chain(starts)
            .find(|start| read(&mut clock, &bytes[*start..]).is_some())
    }

    fn scan(
        &mut self,
        bytes: &[u8],
        base: u64,
        until: usize,
        end: bool,
        sink: &mut dyn Sink,
    ) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if at >= until && !self.skipping {
                return at;
            }
            let rest = &bytes[at..];
            // A record goes on as long as its lines begin with a tab.
            let stop = memchr_iter(b'\n', rest)
                .map(|newline| newline + 1)
                .find(|next| rest.get(*next).map_or(end, |byte| *byte != b'\t'));
            let length = match stop {
                Some(length) => length,
                None if end || rest.len() >= RECORD_BYTES_MAX => rest.len(),
                None if self.skipping => {
                    // The last byte stays, so that what follows a line end can be told.
                    return bytes.len() - 1;
                }
                None => return at,
            };
            if self.skipping {
                self.skipping = stop.is_none() && !end;
            } else {
                let kept = length.min(RECORD_BYTES_MAX);
                let cut = stop.is_none() && !end || length > kept;
                self.emit(&rest[..kept], base + at as u64, cut, sink);
                self.skipping = stop.is_none() && !end;
                if self.skipping {
                    at += kept - 1;
                    continue;
                }
            }
            at += length;
        }
        at
    }

    fn splittable(&self) -> bool {
        true
    }

    fn remarks(&self) -> Remarks {
        Remarks::zones(self.clock.zones())
    }
}

/// Reads the first line of a record; its message goes on to the end of the text.
fn read<'t>(clock: &mut Clock, text: &'t [u8]) -> Option<Record<'t>> {
    let (at, bytes) = clock.log_time(Stamp::Written, text, Fraction::Any, false)?;
    let rest = text[bytes..].strip_prefix(b" ")?;
    let bracket = usize::from(rest.first() == Some(&b'['));
    let rest = &rest[bracket..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let pid = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let after: &[u8] = if bracket == 1 { b"] " } else { b" " };
    let rest = rest[digits..].strip_prefix(after)?;
    let (rest, severity) = LEVELS
        .iter()
        .find_map(|(level, severity)| Some((rest.strip_prefix(*level)?, *severity)))?;
    let mut record = Record {
        at: Some(at),
        pid,
        severity,
        lines: 1,
        message: rest,
        origin: Origin::PgBouncer,
        sqlstate: *b"00000",
        ..Record::default()
    };
    take_socket(&mut record);
    Some(record)
}

/// Takes `C-0x55d0: database/user@host:port ` off a message.
fn take_socket(record: &mut Record<'_>) {
    let message = record.message;
    let backend: &[u8] = if message.starts_with(b"C-0x") {
        b"client"
    } else if message.starts_with(b"S-0x") {
        b"server"
    } else {
        return;
    };
    let line = memchr(b'\n', message).unwrap_or(message.len());
    let Some(colon) = memchr(b':', &message[..line]) else {
        return;
    };
    let Some(socket) = message[colon..line].strip_prefix(b": ") else {
        return;
    };
    let Some(slash) = memchr(b'/', socket) else {
        return;
    };
    // A user may be called anything: the host is what has a port and then a blank.
    for at in memchr_iter(b'@', socket).filter(|at| *at > slash) {
        let host = &socket[at + 1..];
        let length = memchr(b' ', host).unwrap_or(host.len());
        let Some(port) = memchr::memrchr(b':', &host[..length]) else {
            continue;
        };
        let digits = &host[port + 1..length];
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            continue;
        }
        record.backend = backend;
        record.database = known(&socket[..slash]);
        record.user = known(&socket[slash + 1..at]);
        record.host = &host[..port];
        let start = colon + 2 + at + 1 + length;
        record.message = message[start..].strip_prefix(b" ").unwrap_or_default();
        return;
    }
}

fn known(name: &[u8]) -> &[u8] {
    match name {
        b"(nodb)" | b"(nouser)" => b"",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<String>);

    impl Sink for Seen {
        fn record(&mut self, offset: u64, record: &Record<'_>) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            self.0.push(format!(
                "{offset} {} {} {} {}/{}@{} {:?}",
                record.pid,
                record.severity.as_str(),
                text(record.backend),
                text(record.database),
                text(record.user),
                text(record.host),
                text(record.message)
            ));
        }

        fn odd(&mut self, offset: u64, odd: Odd<'_>) {
            self.0.push(format!("{offset} {odd:?}"));
        }
    }

    const LOG: &str = "\
2026-11-22 04:23:06.226 WIB [123] LOG kernel file descriptor limit: 1024 (hard: 524288)
2026-11-22 04:23:06.300 WIB [123] LOG C-0x55d0c8: sales/budi@itera.ac.id@10.0.0.7:51234 login attempt: db=sales user=budi@itera.ac.id tls=no
2026-11-22 04:23:06.301 WIB [123] WARNING C-0x55d0c8: (nodb)/(nouser)@unix(991):6432 pooler error: no such user
not of PgBouncer
2026-11-22 04:23:07.000 UTC 123 ERROR S-0x55d100: sales/app@::1:5432 closing because: server says:
\tsecond line (age=3s)
";

    fn scan(scanner: &mut PgBouncer, pieces: usize) -> Vec<String> {
        let mut seen = Seen::default();
        let bytes = LOG.as_bytes();
        let (mut done, mut have) = (0, 0);
        while have < bytes.len() {
            have = bytes.len().min(have + pieces);
            let end = have == bytes.len();
            let piece = &bytes[done..have];
            done += scanner.scan(piece, done as u64, piece.len(), end, &mut seen);
        }
        assert_eq!(done, bytes.len());
        seen.0
    }

    #[test]
    fn sockets_tell_database_user_and_host() {
        let whole = scan(&mut PgBouncer::default(), LOG.len());
        assert_eq!(
            whole,
            [
                "0 123 LOG  /@ \"kernel file descriptor limit: 1024 (hard: 524288)\"",
                "88 123 LOG client sales/budi@itera.ac.id@10.0.0.7 \"login attempt: db=sales user=budi@itera.ac.id tls=no\"",
                "229 123 WARNING client /@unix(991) \"pooler error: no such user\"",
                "341 Raw([110, 111, 116, 32, 111, 102, 32, 80, 103, 66, 111, 117, 110, 99, 101, 114])",
                "358 123 ERROR server sales/app@::1 \"closing because: server says:\\nsecond line (age=3s)\"",
            ]
        );
        for pieces in [1, 7, 64, 100] {
            assert_eq!(scan(&mut PgBouncer::default(), pieces), whole, "{pieces}");
        }
    }

    #[test]
    fn a_piece_begins_with_a_record() {
        let scanner = PgBouncer::default();
        assert_eq!(scanner.sync(LOG.as_bytes()), Some(0));
        assert_eq!(scanner.sync(&LOG.as_bytes()[5..]), Some(83));
        assert_eq!(scanner.sync(b"nothing\nhere"), None);
    }
}
