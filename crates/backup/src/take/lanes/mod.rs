//! Files that are read over SQL, by several ordinary connections side by side: neither access to the machine nor REPLICATION is needed.
//!
//! What belongs into a backup, and in which order it comes, is decided as with files that are here.

mod find;
mod tree;
mod wal;

use std::fmt::Write;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pawang_core::{Kind, Report};
use pawang_postgres::{Rows, Session, Target};
use tokio::runtime::{Builder, Runtime};

pub use self::find::missing_grants;
pub(super) use self::find::{find, lacking};
pub(super) use self::tree::ServerTree;
pub(super) use self::wal::{WAL_READ_BYTES, WalFiles};
use super::source::{Piece, Source};
use crate::Error;

/// Connections that read files unless told otherwise.
pub const LANES: NonZeroUsize = NonZeroUsize::new(4).expect("four is not zero");
/// The server reads at most a mebibyte in one statement, also from a disk that hardly answers.
const STATEMENT_MAX: Duration = Duration::from_secs(60);
/// Names of files come as they are, whatever the encoding of the database is; nothing helps one lane, or ends it while others work.
const SETTINGS: &str = "\
SELECT pg_catalog.count(pg_catalog.set_config(s.name, s.value, false))
  FROM (VALUES ('client_encoding', 'SQL_ASCII'), ('max_parallel_workers_per_gather', '0'), ('idle_session_timeout', '0'))
    AS s (name, value)";
/// What tells a backend from all others, also from those of another server.
const BACKEND: &str = "\
SELECT a.pid, a.backend_start::pg_catalog.text
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.pid = pg_catalog.pg_backend_pid()";

/// A connection of its own, which the thread that uses it also drives.
pub(crate) struct Lane {
    // Dropped in this order: the connection says goodbye first.
    session: Session,
    runtime: Background,
    /// Whether nobody waits any more.
    stop: Arc<AtomicBool>,
}

/// A runtime of one thread that may be dropped anywhere.
struct Background(Option<Runtime>);

/// The lanes of a backup.
pub(super) struct Lanes {
    /// Lists folders and reads what is small.
    pub(super) front: Lane,
    /// Read files.
    pub(super) all: Vec<Lane>,
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Background {
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = self.0.as_ref().expect("it is there until the end");
        runtime.block_on(work)
    }
}

impl Lanes {
    /// Opens lanes to the server of a session, and to no other one. It blocks.
    pub(super) fn open(
        target: &Target,
        count: NonZeroUsize,
        backend: &Backend,
        stop: &Arc<AtomicBool>,
    ) -> Result<Lanes, Error> {
        let target = Target {
            statement_timeout: STATEMENT_MAX,
            ..target.clone()
        };
        let open = || Lane::open(&target, backend, stop);
        Ok(Lanes {
            front: open()?,
            all: (0..count.get()).map(|_| open()).collect::<Result<_, _>>()?,
        })
    }
}

/// A backend of the server.
pub(super) struct Backend {
    pid: i64,
    started_at: String,
}

impl Backend {
    /// Returns the backend of a session.
    pub(super) async fn of(session: &Session) -> Result<Backend, Error> {
        let rows = session.read(BACKEND).await?;
        let row = rows.rows.first().map(Vec::as_slice).unwrap_or_default();
        match (
            row.first().and_then(pawang_core::Value::as_int),
            row.get(1).and_then(pawang_core::Value::as_text),
        ) {
            (Some(pid), Some(started_at)) => Ok(Backend {
                pid,
                started_at: started_at.to_owned(),
            }),
            _ => Err(Error::Incomplete {
                address: session.address().to_owned(),
                problem: "it does not know its own backend".to_owned(),
            }),
        }
    }
}

impl Lane {
    fn open(target: &Target, backend: &Backend, stop: &Arc<AtomicBool>) -> Result<Lane, Error> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = Background(Some(runtime.map_err(|source| Error::File {
            doing: "start a connection for",
            path: "a lane".into(),
            source,
        })?));
        let session = runtime.wait(Session::connect(target, "backup-lane"))?;
        let lane = Lane {
            session,
            runtime,
            stop: Arc::clone(stop),
        };
        if !lane.session.pooled() {
            lane.runtime.wait(lane.session.read(SETTINGS))?;
            let sql = format!(
                "SELECT a.pid FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = {} AND a.backend_start = '{}'",
                backend.pid, backend.started_at
            );
            if !lane.runtime.wait(lane.session.read(&sql))?.rows.is_empty() {
                return Ok(lane);
            }
        }
        let report = Report::new(
            Kind::Refused,
            format!(
                "\"{}\" leads to several servers, or to a pooler",
                lane.session.address()
            ),
        )
        .with_detail("all connections of a backup have to reach the server that is in backup mode")
        .with_hint("name one server in its url, or take the backup with --mode protocol");
        Err(Error::Refused(Box::new(report)))
    }

    /// Runs one statement. It blocks.
    pub(super) fn ask(&self, sql: &str) -> io::Result<Rows> {
        self.go_on()?;
        let rows = self.runtime.wait(self.session.read(sql));
        rows.map_err(io::Error::other)
    }

    /// Reads pieces of files by one statement. It blocks.
    pub(super) fn read(&self, pieces: &mut [&mut Piece<'_>]) -> io::Result<()> {
        self.go_on()?;
        let mut sql = "SELECT v.number, pg_catalog.pg_read_binary_file(v.path, v.begin, v.length, true) FROM (VALUES ".to_owned();
        for (number, piece) in pieces.iter().enumerate() {
            let Source::Server(path) = piece.source else {
                return Err(io::Error::other("only files of the server are asked for"));
            };
            let comma = if number == 0 { "" } else { ", " };
            let _ = write!(
                sql,
                "{comma}({number}, {}, {}::pg_catalog.int8, {}::pg_catalog.int8)",
                sql_of_path(path),
                piece.from,
                piece.into.len()
            );
        }
        sql.push_str(") AS v (number, path, begin, length)");
        let mut answers = 0;
        let mut each = |number, bytes: Option<&[u8]>| {
            let piece = usize::try_from(number)
                .ok()
                .and_then(|number| pieces.get_mut(number));
            if let Some(piece) = piece {
                piece.put(bytes);
                answers += 1;
            }
        };
        let read = self.session.read_bytes(&sql, &mut each);
        self.runtime.wait(read).map_err(io::Error::other)?;
        if answers != pieces.len() {
            return Err(io::Error::other("the server did not answer for each file"));
        }
        Ok(())
    }

    /// Reads a whole small file; none when it is not there any more. It blocks.
    pub(super) fn whole(&self, path: &[u8], bytes: usize) -> io::Result<Option<Vec<u8>>> {
        let source = Source::Server(path.to_vec());
        let mut content = vec![0; bytes];
        let mut piece = Piece {
            source: &source,
            from: 0,
            into: &mut content,
            read: None,
        };
        self.read(&mut [&mut piece])?;
        let read = piece.read;
        Ok(read.map(|bytes| {
            content.truncate(bytes);
            content
        }))
    }

    fn go_on(&self) -> io::Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(io::Error::other("nobody waits for it any more")),
            false => Ok(()),
        }
    }
}

/// Returns an expression for a path, whatever bytes it has and however strings are written in the session.
///
/// Names that the encoding of the database may not have are those that the server itself lists.
fn sql_of_path(path: &[u8]) -> String {
    if path.is_ascii() {
        return format!(
            "pg_catalog.convert_from(pg_catalog.decode('{}', 'hex'), 'SQL_ASCII')",
            super::manifest::hexadecimal(path)
        );
    }
    let slash = path.iter().rposition(|byte| *byte == b'/');
    let (folder, name) = match slash {
        Some(slash) => (sql_of_path(&path[..slash]), &path[slash + 1..]),
        None => ("'.'".to_owned(), path),
    };
    if name.is_ascii() {
        return format!("{folder} || '/' || {}", sql_of_path(name));
    }
    format!(
        "{folder} || '/' || (SELECT f.name FROM pg_catalog.pg_ls_dir({folder}, true, false) AS f (name)
          WHERE pg_catalog.textsend(f.name) = pg_catalog.decode('{}', 'hex'))",
        super::manifest::hexadecimal(name)
    )
}

#[cfg(test)]
mod tests {
    use super::sql_of_path;

    #[test]
    fn a_path_is_written_without_its_bytes() {
        let plain = "pg_catalog.convert_from(pg_catalog.decode('622f27', 'hex'), 'SQL_ASCII')";
        assert_eq!(sql_of_path(b"b/'"), plain);
        let odd = sql_of_path(b"b/\xff/'");
        assert!(
            odd.contains("pg_ls_dir(pg_catalog.convert_from(pg_catalog.decode('62',"),
            "{odd}"
        );
        assert!(odd.contains("decode('ff', 'hex')"), "{odd}");
        assert!(
            odd.is_ascii() && odd.ends_with("decode('27', 'hex'), 'SQL_ASCII')"),
            "{odd}"
        );
    }
}
