//! What a scanner found, kept for comparison, and the promises of every scanner.

use std::io::Write;
use std::sync::Arc;

use pawang_logs::engine::{Chosen, Part, Settings, read_into};
use pawang_logs::format::Scanner;
use pawang_logs::input::Input;
use pawang_logs::record::{Odd, Record, Sink};

/// Bytes that texts of records may take for each byte that was read: bytes that are no UTF-8 become three.
const GROWTH_MAX: usize = 4;

/// Something that a scanner found: where, whether a record, and all of its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) is_record: bool,
    pub(crate) bytes: usize,
    pub(crate) shown: String,
}

/// Keeps all that a scanner finds.
#[derive(Debug, Default)]
pub(crate) struct Keep(pub(crate) Vec<Found>);

impl Sink for Keep {
    fn record(&mut self, offset: u64, record: &Record<'_>) {
        let texts = [
            record.user,
            record.database,
            record.application,
            record.host,
            record.backend,
            record.message,
            record.detail,
            record.hint,
            record.context,
            record.statement,
            record.internal_query,
            record.location,
        ];
        let mut shown = format!(
            "{:?} {} {} {} {} {:?} {} {} {} {} {:?}",
            record.at,
            record.pid,
            record.session_started,
            record.line,
            record.lines,
            record.severity,
            record.sqlstate.escape_ascii(),
            record.query_id,
            record.leader_pid,
            record.cut,
            record.origin,
        );
        for text in texts {
            shown.push('|');
            shown.push_str(&text.escape_ascii().to_string());
        }
        self.0.push(Found {
            offset,
            is_record: true,
            bytes: texts.iter().map(|text| text.len()).sum(),
            shown,
        });
    }

    fn odd(&mut self, offset: u64, odd: Odd<'_>) {
        let (sort, bytes) = match odd {
            Odd::Raw(bytes) => ("raw", bytes),
            Odd::Forged(bytes) => ("forged", bytes),
            Odd::Malformed(bytes) => ("malformed", bytes),
        };
        self.0.push(Found {
            offset,
            is_record: false,
            bytes: bytes.len(),
            shown: format!("{sort} {}", bytes.escape_ascii()),
        });
    }
}

impl Part for Keep {
    fn fresh(&self) -> Keep {
        Keep::default()
    }

    fn absorb(&mut self, later: Keep) {
        self.0.extend(later.0);
    }

    fn settle(&mut self) {}
}

/// Makes a scanner; each piece of a file has its own.
pub(crate) type Make = Arc<dyn Fn() -> Box<dyn Scanner> + Send + Sync>;

/// Which promises a scanner makes beyond those of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Every byte that is no white space belongs to something that is found, in order.
    All,
    /// Lines of other programs are left out, and records of several processes may end in another order than they began.
    Some,
}

/// Checks what a scanner promises for bytes: that all are accounted for, that what is found does not depend on how they arrive, and that
/// memory is bounded.
pub(crate) fn check(make: &Make, lines: Lines, body: &[u8], control: [u8; 3]) {
    let found = whole(make(), body);
    account(&found, lines, body);
    let mut cuts = [control[0], control[1]].map(|byte| super::place(body.len(), byte));
    cuts.sort_unstable();
    assert_same(&found, &pieces(make(), body, cuts), "in pieces");
    if control[2].is_multiple_of(4) && !body.is_empty() {
        let piece = 1 + super::place(body.len(), control[2]) as u64;
        if let Some(joined) = by_threads(make, body, piece) {
            assert_same(&found, &joined, "by threads");
        }
    }
}

fn assert_same(one: &[Found], other: &[Found], how: &str) {
    let different = (0..one.len().max(other.len())).find(|&at| one.get(at) != other.get(at));
    if let Some(at) = different {
        panic!("{how}: {:?} became {:?}", one.get(at), other.get(at));
    }
}

/// Checks that everything which was found lies in the bytes, and that nothing was lost.
fn account(found: &[Found], lines: Lines, body: &[u8]) {
    let size: usize = found.iter().map(|found| found.bytes).sum();
    assert!(
        size <= GROWTH_MAX * body.len(),
        "{size} bytes were made of {}",
        body.len()
    );
    for found in found {
        assert!(
            found.offset < body.len() as u64,
            "{found:?} lies behind the end"
        );
    }
    if lines == Lines::Some {
        return;
    }
    let text_from = |from: usize| {
        let rest = body.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| is_blank(**byte)).count()
    };
    let mut wanted = Some(text_from(0));
    let mut last = 0;
    for found in found {
        let offset = usize::try_from(found.offset).expect("it lies in the bytes");
        assert!(last <= offset, "{found:?} is before {last}");
        assert!(
            wanted.is_none_or(|wanted| offset <= wanted),
            "what is at {wanted:?} was lost before {found:?}"
        );
        // A record says only where it begins, and a forged line lies within one.
        let ends = !found.is_record && !found.shown.starts_with("forged");
        wanted = ends.then(|| text_from(offset + found.bytes));
        last = offset;
    }
    assert!(
        wanted.is_none_or(|wanted| wanted >= body.len()),
        "what is at {wanted:?} was lost at the end"
    );
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0
}

/// Scans all bytes at once.
pub(crate) fn whole(mut scanner: Box<dyn Scanner>, bytes: &[u8]) -> Vec<Found> {
    let mut keep = Keep::default();
    let done = scanner.scan(bytes, 0, bytes.len(), true, &mut keep);
    assert_eq!(done, bytes.len(), "not all was scanned");
    keep.0
}

/// Scans bytes that arrive in pieces, which end at the cuts.
fn pieces(mut scanner: Box<dyn Scanner>, bytes: &[u8], cuts: [usize; 2]) -> Vec<Found> {
    let mut keep = Keep::default();
    let mut done = 0;
    for cut in cuts {
        let piece = &bytes[done..cut.max(done)];
        done += scanner.scan(piece, done as u64, piece.len(), false, &mut keep);
    }
    let rest = &bytes[done..];
    let last = scanner.scan(rest, done as u64, rest.len(), true, &mut keep);
    assert_eq!(last, rest.len(), "not all was scanned in pieces");
    keep.0
}

/// Reads a file as the program does, cut into pieces, by two threads; none when it is refused, such as what is compressed.
fn by_threads(make: &Make, bytes: &[u8], piece_bytes: u64) -> Option<Vec<Found>> {
    let mut file = tempfile::NamedTempFile::new().expect("there is room for a file");
    file.write_all(bytes).expect("there is room in it");
    let settings = Settings {
        threads: 2,
        piece_bytes,
        choose: &|_| {
            let make = Arc::clone(make);
            Ok(Chosen {
                make: Box::new(move || make()),
                format: String::new(),
                prefixes: Vec::new(),
                match_rate: None,
            })
        },
    };
    let inputs = vec![Input::file(file.path())];
    let (keep, source) = read_into(inputs, &settings, Keep::default()).expect("there is an input");
    let whole = source.files.iter().all(|file| file.trouble.is_none());
    whole.then_some(keep.0)
}
