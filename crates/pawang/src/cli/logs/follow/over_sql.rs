//! Follows the log of a server over its own connection, where its files cannot be read.

use std::time::{Duration, Instant};

use pawang_core::Report;
use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::FileHead;
use pawang_logs::follow::{Listener, QUIET_MILLISECONDS, Tail};
use pawang_logs::format::detect::Form;
use pawang_postgres::{Session, Target};

use super::super::remote::{self, PIECE_BYTES, RemoteFile};
use super::show::Show;
use super::waiter::Waiter;

/// The directory is listed so often.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes that are fetched in one second.
const BYTES_MAX: u64 = 4 << 20;
/// Bytes of a file's beginning that tell its format.
const HEAD_BYTES: u64 = 64 << 10;
/// That it falls behind is said so often.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Follows until a signal comes or nobody reads any more.
///
/// # Errors
/// The first connection cannot be had.
pub(super) fn follow(
    target: &Target,
    wish: &Wish,
    waiter: &Waiter,
    back: u64,
    show: &mut Show<'_>,
) -> Result<(), Report> {
    let mut reading = Reading {
        wish,
        back,
        began: Instant::now(),
        current: None,
        behind_at: None,
        trouble: None,
    };
    let mut session: Option<Session> = None;
    let quiet = Duration::from_millis(QUIET_MILLISECONDS.unsigned_abs());
    while !waiter.stopped() && !show.out().borrow().ended() {
        let round = Instant::now();
        let Some(result) = waiter.run(reading.round(target, &mut session, show)) else {
            break;
        };
        reading.tell(result, show);
        waiter.pause(quiet);
        let now = reading.now();
        if let Some(tail) = reading
            .current
            .as_mut()
            .and_then(|current| current.tail.as_mut())
        {
            tail.tick(now, show);
        }
        show.out().borrow_mut().flush();
        waiter.pause(EVERY.saturating_sub(round.elapsed()));
    }
    reading.finish(show);
    Ok(())
}

/// How far a log was read.
struct Reading<'a> {
    wish: &'a Wish,
    back: u64,
    began: Instant,
    current: Option<Current>,
    behind_at: Option<Instant>,
    trouble: Option<String>,
}

/// The file that is read.
struct Current {
    name: String,
    position: u64,
    /// The position may be amid a record.
    amid: bool,
    tail: Option<Tail>,
}

impl Current {
    fn new(name: &str, position: u64) -> Current {
        Current {
            name: name.to_owned(),
            position,
            amid: position > 0,
            tail: None,
        }
    }

    fn finish(&mut self, show: &mut Show<'_>) {
        if let Some(tail) = &mut self.tail {
            tail.finish(show);
        }
    }
}

impl Reading<'_> {
    fn now(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn finish(&mut self, show: &mut Show<'_>) {
        if let Some(current) = &mut self.current {
            current.finish(show);
        }
    }

    /// Says when trouble begins and ends.
    fn tell(&mut self, result: Result<(), String>, show: &mut Show<'_>) {
        let name = self
            .current
            .as_ref()
            .map_or("log", |current| &current.name)
            .to_owned();
        match result {
            Ok(()) if self.trouble.take().is_some() => {
                show.notice(&name, "the server answers again")
            }
            Err(why) if self.trouble.as_ref() != Some(&why) => {
                show.notice(&name, &format!("could not read on: {why}"));
                self.trouble = Some(why);
            }
            _ => {}
        }
    }

    async fn round(
        &mut self,
        target: &Target,
        session: &mut Option<Session>,
        show: &mut Show<'_>,
    ) -> Result<(), String> {
        let open = match session.take().filter(Session::alive) {
            Some(open) => open,
            None => Session::connect(target, "logs")
                .await
                .map_err(|error| error.line())?,
        };
        let read = self.read(&open, show).await;
        *session = Some(open);
        read
    }

    async fn read(&mut self, session: &Session, show: &mut Show<'_>) -> Result<(), String> {
        let files = remote::list(session)
            .await
            .map_err(|report| report.primary)?;
        let Some(newest) = files.last() else {
            return Ok(());
        };
        let first = match &mut self.current {
            None => {
                let position = newest.size.saturating_sub(self.back);
                self.current = Some(Current::new(&newest.name, position));
                files.len() - 1
            }
            Some(current) => match files.iter().position(|file| file.name == current.name) {
                Some(index) => index,
                None => {
                    current.finish(show);
                    show.notice(
                        &current.name,
                        &format!("gone, goes on in \"{}\"", newest.name),
                    );
                    *current = Current::new(&newest.name, 0);
                    files.len() - 1
                }
            },
        };
        let mut budget = BYTES_MAX;
        for file in &files[first..] {
            if !self.read_file(session, file, &mut budget, show).await? {
                let left: u64 = files[first..].iter().map(|file| file.size).sum();
                let done = self.current.as_ref().map_or(0, |current| current.position);
                self.say_behind(&file.name, left.saturating_sub(done), show);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads a file to its end, and says whether there was time for it.
    async fn read_file(
        &mut self,
        session: &Session,
        file: &RemoteFile,
        budget: &mut u64,
        show: &mut Show<'_>,
    ) -> Result<bool, String> {
        let now = self.now();
        let Some(current) = &mut self.current else {
            return Ok(true);
        };
        if current.name != file.name {
            current.finish(show);
            show.notice(
                &current.name,
                &format!("rotated, goes on in \"{}\"", file.name),
            );
            *current = Current::new(&file.name, 0);
        }
        if file.size < current.position {
            current.finish(show);
            show.notice(&current.name, "truncated, read again from its beginning");
            *current = Current::new(&file.name, 0);
        }
        show.turn(&file.name);
        while current.position < file.size {
            if *budget == 0 {
                return Ok(false);
            }
            let most = PIECE_BYTES.min(file.size - current.position).min(*budget);
            let bytes = remote::piece(session, &file.name, current.position, most).await?;
            if bytes.is_empty() {
                return Ok(true);
            }
            *budget = budget.saturating_sub(bytes.len() as u64);
            feed(current, session, &bytes, self.wish, now, show).await?;
        }
        Ok(true)
    }

    fn say_behind(&mut self, name: &str, bytes: u64, show: &mut Show<'_>) {
        if self.behind_at.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            self.behind_at = Some(Instant::now());
            let size = pawang_core::ByteSize(bytes);
            show.notice(
                name,
                &format!("{size} behind: the server writes faster than is fetched"),
            );
        }
    }
}

/// Hands bytes to the scanner of their file, which their beginning tells.
async fn feed(
    current: &mut Current,
    session: &Session,
    bytes: &[u8],
    wish: &Wish,
    now: i64,
    show: &mut Show<'_>,
) -> Result<(), String> {
    let begin = current.position;
    if let Some(tail) = &mut current.tail {
        tail.feed(bytes, now, show);
        current.position += bytes.len() as u64;
        return Ok(());
    }
    let head = if begin == 0 {
        bytes.to_vec()
    } else {
        remote::piece(session, &current.name, 0, HEAD_BYTES).await?
    };
    let form = match current.name.rsplit_once('.') {
        Some((_, "csv")) => Some(Form::Csv),
        Some((_, "json")) => Some(Form::Json),
        _ => None,
    };
    let wish = Wish {
        form,
        ..wish.clone()
    };
    let facts = FileHead {
        name: &current.name,
        bytes: &head,
        modified: None,
        known: None,
    };
    let chosen = choose(&facts, &wish).map_err(|error| error.to_string())?;
    let skipped = if std::mem::take(&mut current.amid) {
        (chosen.make)().sync(bytes).unwrap_or(bytes.len())
    } else {
        0
    };
    let mut tail = Tail::new(chosen.make, begin + skipped as u64);
    tail.feed(&bytes[skipped..], now, show);
    current.tail = Some(tail);
    current.position += bytes.len() as u64;
    Ok(())
}
