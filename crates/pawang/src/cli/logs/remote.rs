//! The server's log over its own connection, without superuser and without a shell: through one function that hands out pieces of
//! files of the log directory and nothing else. Its text is [`HELPER`]; an administrator creates it once.

use std::io::{self, Read};

use jiff::tz::TimeZone;
use pawang_core::{Kind, Report, Value};
use pawang_logs::choose::Wish;
use pawang_logs::input::Input;
use pawang_logs::tally::Options;
use pawang_postgres::{Session, Target};
use tokio::runtime::Runtime;

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
        // It may have been another one when older files were written.
        wish.prefixes.push(about.prefix);
        wish.certain = false;
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
    let input = |file: RemoteFile| {
        let name = file.name.clone();
        Input::reader(name, Box::new(RemoteRead::new(job.target.clone(), file)))
    };
    Ok(wanted.map(input).collect())
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

/// The bytes of one file, fetched piece by piece while they are read; never more than the size that was listed.
///
/// It connects at its first piece and lets go after the last, so that a directory of many files is one connection at a time.
struct RemoteRead {
    target: Target,
    file: RemoteFile,
    /// Bytes of the file that were fetched.
    fetched: u64,
    piece: Vec<u8>,
    /// Bytes of the piece that were read.
    taken: usize,
    open: Option<(Runtime, Session)>,
}

impl RemoteRead {
    fn new(target: Target, file: RemoteFile) -> RemoteRead {
        RemoteRead {
            target,
            file,
            fetched: 0,
            piece: Vec::new(),
            taken: 0,
            open: None,
        }
    }

    /// Fetches the next piece.
    fn fetch(&mut self) -> Result<Vec<u8>, String> {
        let (runtime, session) = match self.open.take() {
            Some(open) => open,
            None => connect(&self.target)?,
        };
        let most = PIECE_BYTES.min(self.file.size - self.fetched);
        let bytes = runtime.block_on(piece(&session, &self.file.name, self.fetched, most))?;
        if bytes.is_empty() {
            return Err("it became shorter while it was read".to_owned());
        }
        self.fetched += bytes.len() as u64;
        self.open = (self.fetched < self.file.size).then_some((runtime, session));
        Ok(bytes)
    }
}

impl Read for RemoteRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            if self.fetched >= self.file.size {
                return Ok(0);
            }
            self.piece = self.fetch().map_err(io::Error::other)?;
            self.taken = 0;
        }
        let rest = &self.piece[self.taken..];
        let taken = rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&rest[..taken]);
        self.taken += taken;
        Ok(taken)
    }
}

fn connect(target: &Target) -> Result<(Runtime, Session), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let session = runtime.block_on(Session::connect(target, "logs"));
    session
        .map(|session| (runtime, session))
        .map_err(|error| error.line())
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
