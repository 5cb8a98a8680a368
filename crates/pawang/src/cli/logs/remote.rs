//! The server's log over its own connection, without superuser and without a shell: through one function that hands out pieces of
//! files of the log directory and nothing else. Its text is [`HELPER`]; an administrator creates it once.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use jiff::tz::TimeZone;
use pawang_core::{Kind, Report, Value};
use pawang_logs::choose::Wish;
use pawang_logs::input::Input;
use pawang_logs::tally::Options;
use pawang_postgres::{Session, Target};

use crate::cli::Global;
use crate::each::each;
use crate::estate::{Estate, Job, told};

/// Creates the function. `pg_read_binary_file` itself would let the role read every file of the data directory, password hashes
/// among them; this one takes the plain name of a file that `pg_ls_logdir()` lists.
const HELPER: &str = "\
CREATE FUNCTION public.pawang_read_log(name text, start bigint, most integer) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_ls_logdir() AS file WHERE file.name = pawang_read_log.name) THEN
        RAISE EXCEPTION 'no such file in the log directory';
    END IF;
    RETURN encode(pg_read_binary_file(current_setting('log_directory') || '/' || name, start, least(most, 1048576)), 'hex');
END $$;
REVOKE ALL ON FUNCTION public.pawang_read_log(text, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.pawang_read_log(text, bigint, integer) TO {role};
";
/// Bytes of one piece; larger ones are slower.
pub(super) const PIECE_BYTES: u64 = 1 << 20;
/// Pieces that wait for the parser.
const PIECES_MAX: usize = 4;
/// Files that are listed.
const FILES: &str = "\
SELECT name, size, modification FROM pg_catalog.pg_ls_logdir() ORDER BY modification, name";
/// What the lines look like, and whether the function is there and allowed.
const SETTINGS: &str = "\
SELECT pg_catalog.current_setting('log_line_prefix'), pg_catalog.current_setting('log_timezone'),
       coalesce(pg_catalog.has_function_privilege(
           pg_catalog.to_regprocedure('public.pawang_read_log(text, bigint, integer)'), 'EXECUTE'), false)";

/// A file of the server's log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Its plain name.
    pub name: String,
    /// Its size when it was listed.
    pub size: u64,
    /// When it was last written, in microseconds since 1970-01-01 UTC.
    pub modified: Option<i64>,
}

/// Returns the log of the one instance that is named, and learns its settings.
///
/// # Errors
/// There is not one such instance, it does not answer, or its role may not read the log.
pub(super) fn inputs(
    global: &Global,
    options: &Options,
    wish: &mut Wish,
) -> Result<Vec<Input>, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let job = job(&estate, global, "pawang logs report -i NAME")?;
    let asked = each(&estate, std::slice::from_ref(&job), async |job| {
        ask(&job.target).await
    })?;
    let Some(asked) = asked.and_then(|mut all| all.pop()) else {
        return Err(Report::new(
            Kind::Target,
            "the log was not listed before the signal",
        ));
    };
    let about = asked?;
    if wish.prefixes.is_empty() {
        wish.prefixes.push(about.prefix);
    }
    if wish.zone.is_none() {
        wish.zone = TimeZone::get(&about.zone).ok();
    }
    let wanted = about.files.into_iter().filter(|file| {
        // A file that was last written before the window holds nothing of it.
        options
            .since
            .is_none_or(|since| file.modified.is_none_or(|at| at >= since))
    });
    wanted
        .map(|file| {
            Ok(Input::reader(
                file.name.clone(),
                Box::new(RemoteRead::start(job.target.clone(), file)?),
            ))
        })
        .collect()
}

/// What a server says about its log.
struct About {
    prefix: String,
    zone: String,
    files: Vec<RemoteFile>,
}

async fn ask(target: &Target) -> Result<About, Report> {
    let session = Session::connect(target, "logs")
        .await
        .map_err(|error| error.report())?;
    let rows = session
        .read(SETTINGS)
        .await
        .map_err(|error| error.report())?;
    let text = |column: usize| {
        let value = rows.rows.first().and_then(|row| row.get(column));
        value
            .and_then(Value::as_text)
            .unwrap_or_default()
            .to_owned()
    };
    let files = list(&session).await.map_err(|report| {
        report.with_hint("GRANT pg_monitor TO the role: pg_ls_logdir() lists the log directory")
    })?;
    let allowed = matches!(
        rows.rows.first().and_then(|row| row.get(2)),
        Some(Value::Bool(true))
    );
    if !allowed {
        return Err(refused(&session));
    }
    Ok(About {
        prefix: text(0),
        zone: text(1),
        files,
    })
}

/// Returns the one instance that is meant, and how to connect.
///
/// # Errors
/// There is not one such instance.
pub(super) fn job(estate: &Estate, global: &Global, hint: &str) -> Result<Job, Report> {
    let mut jobs = estate.jobs(&global.instances, None)?;
    match jobs.pop() {
        Some(job) if jobs.is_empty() => Ok(job),
        _ => Err(
            Report::new(Kind::Usage, "one log is read of one server at a time")
                .with_detail(format!("{} instances are meant", jobs.len() + 1))
                .with_hint(hint),
        ),
    }
}

/// Says that the role may not read the log, and how it may.
pub(super) fn refused(session: &Session) -> Report {
    let helper = HELPER.replace(
        "{role}",
        &format!("\"{}\"", session.server.user.replace('"', "\"\"")),
    );
    Report::new(Kind::Target, "the role may not read the server's log")
            .with_detail("a superuser creates the function public.pawang_read_log in this database once; it hands out files of the log directory and nothing else")
            .with_hint(helper)
}

/// Lists the files of the log that one destination writes, the oldest first: csvlog and jsonlog tell most.
///
/// # Errors
/// The server does not answer, or the role may not.
pub(super) async fn list(session: &Session) -> Result<Vec<RemoteFile>, Report> {
    let rows = session.read(FILES).await.map_err(|error| error.report())?;
    let file = |row: &Vec<Value>| {
        let size = match row.get(1) {
            Some(Value::Int(size)) => u64::try_from(*size).ok()?,
            _ => return None,
        };
        let modified = match row.get(2) {
            Some(Value::Time(at)) => Some(at.as_microsecond()),
            _ => None,
        };
        Some(RemoteFile {
            name: row.first()?.as_text()?.to_owned(),
            size,
            modified,
        })
    };
    let all: Vec<RemoteFile> = rows.rows.iter().filter_map(file).collect();
    let of = |ending: &str| -> Vec<RemoteFile> {
        all.iter()
            .filter(|file| file.name.ends_with(ending))
            .cloned()
            .collect()
    };
    let best = [".json", ".csv"]
        .into_iter()
        .map(of)
        .find(|files| !files.is_empty());
    Ok(best.unwrap_or(all))
}

/// The bytes of one file, fetched piece by piece in a thread while they are read; never more than the size that was listed.
struct RemoteRead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    position: usize,
    thread: Option<JoinHandle<()>>,
}

impl RemoteRead {
    /// Begins to fetch.
    ///
    /// # Errors
    /// The operating system gives no thread.
    fn start(target: Target, file: RemoteFile) -> Result<RemoteRead, Report> {
        let (sender, pieces) = sync_channel(PIECES_MAX);
        let thread = std::thread::Builder::new()
            .name("remote log".to_owned())
            .spawn(move || fetch_all(&target, &file, &sender))
            .map_err(|error| {
                Report::new(Kind::Refused, "could not start to fetch the log")
                    .with_detail(error.to_string())
            })?;
        Ok(RemoteRead {
            pieces,
            piece: Vec::new(),
            position: 0,
            thread: Some(thread),
        })
    }
}

impl Read for RemoteRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.piece.len() {
            match self.pieces.recv() {
                Ok(piece) => self.piece = piece?,
                Err(_) => return Ok(0),
            }
            self.position = 0;
        }
        let rest = &self.piece[self.position..];
        let taken = rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&rest[..taken]);
        self.position += taken;
        Ok(taken)
    }
}

impl Drop for RemoteRead {
    fn drop(&mut self) {
        // Whoever fetches notices at its next piece that nobody takes it.
        let (_, nobody) = sync_channel(1);
        self.pieces = nobody;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn fetch_all(target: &Target, file: &RemoteFile, sender: &SyncSender<io::Result<Vec<u8>>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(fetch(target, file, sender)),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = result {
        // A reader that went away needs no reason.
        let _ = sender.send(Err(io::Error::other(why)));
    }
}

async fn fetch(
    target: &Target,
    file: &RemoteFile,
    sender: &SyncSender<io::Result<Vec<u8>>>,
) -> Result<(), String> {
    let session = Session::connect(target, "logs")
        .await
        .map_err(|error| error.line())?;
    let mut position = 0;
    while position < file.size {
        let most = PIECE_BYTES.min(file.size - position);
        let bytes = piece(&session, &file.name, position, most).await?;
        if bytes.is_empty() {
            return Err(format!(
                "\"{}\" became shorter while it was read",
                file.name
            ));
        }
        position += bytes.len() as u64;
        if sender.send(Ok(bytes)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Returns a piece of a file.
///
/// # Errors
/// The server does not answer, or the role may not.
pub(super) async fn piece(
    session: &Session,
    name: &str,
    position: u64,
    most: u64,
) -> Result<Vec<u8>, String> {
    let name = name.replace('\'', "''");
    let sql = format!("SELECT public.pawang_read_log('{name}', {position}, {most})");
    let rows = session.read(&sql).await.map_err(|error| error.line())?;
    let text = rows
        .rows
        .first()
        .and_then(|row| row.first())
        .and_then(Value::as_text);
    let bytes = decoded(text.unwrap_or_default());
    bytes.ok_or_else(|| "the server sent no hexadecimal digits".to_owned())
}

/// Returns the bytes of hexadecimal digits.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_bytes() {
        assert_eq!(decoded("00ff0a"), Some(vec![0, 255, 10]));
        assert_eq!(decoded(""), Some(Vec::new()));
        assert_eq!(decoded("0"), None);
        assert_eq!(decoded("0g"), None);
    }
}
