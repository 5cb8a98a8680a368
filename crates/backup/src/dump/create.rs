//! A dump is taken: each program's output is compressed and stored while it comes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use pawang_core::{Kind, Report};
use pawang_postgres::{Session, Target};

use super::client::{Client, hinted, quoted};
use super::{COMMIT, Dump, Dumped, GLOBALS, LEASE, object};
use crate::Error;
use crate::repository::{
    BackupId, ClusterId, FORMAT, Held, Lease, LeaseFacts, Object, ObjectWriter, Repository,
};
use crate::take::Owner;

const PURPOSE: &str = "dump";
const LEASE_SECONDS: u32 = 600;
const RENEW_EVERY: Duration = Duration::from_secs(200);
/// The level of compression, as for backups.
const LEVEL: i32 = 1;
const BUFFER_BYTES: usize = 256 << 10;
const DATABASES: &str =
    "SELECT d.datname, pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype
FROM pg_catalog.pg_database AS d
WHERE d.datallowconn AND NOT d.datistemplate
ORDER BY d.datname";

/// What is dumped.
#[derive(Clone, Debug)]
pub struct DumpRequest {
    /// The server.
    pub target: Target,
    /// What people call it.
    pub instance: String,
    /// Its identity.
    pub cluster: ClusterId,
    /// The programs.
    pub client: Client,
    /// Only these databases; all when there are none.
    pub databases: Vec<String>,
    /// Whether roles and tablespaces are dumped too.
    pub globals: bool,
    /// The name of the dump.
    pub dump: BackupId,
    /// Who takes it.
    pub owner: Owner,
    /// The program, with its version.
    pub tool: String,
}

/// Takes a dump; `observe` is told which database is read.
///
/// # Errors
/// A database is not there, a program refused, somebody else dumps, or the store refused; there is no dump then.
pub async fn create(
    repository: &Repository,
    request: &DumpRequest,
    observe: &mut (dyn FnMut(&str) + Send),
    clock: fn() -> Timestamp,
) -> Result<Dump, Error> {
    let started_at = clock();
    let session = Session::connect(&request.target, PURPOSE).await?;
    let databases = databases(&session, request).await?;
    let (cluster, owner) = (&request.cluster, &request.owner);
    let mut work = Work {
        repository,
        request,
        session: &session,
        lease: hold(repository, cluster, owner, "dumps", started_at).await?,
        clock,
    };
    let result = work.all(databases, started_at, observe).await;
    let released = work.lease.release().await;
    let dump = result?;
    released?;
    Ok(dump)
}

/// One dump that is being taken.
struct Work<'a> {
    repository: &'a Repository,
    request: &'a DumpRequest,
    session: &'a Session,
    lease: Lease,
    clock: fn() -> Timestamp,
}

impl Work<'_> {
    async fn all(
        &mut self,
        databases: Vec<Dumped>,
        started_at: Timestamp,
        observe: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Dump, Error> {
        let mut dumped = Vec::with_capacity(databases.len());
        for (number, mut database) in databases.into_iter().enumerate() {
            observe(&database.database);
            database.name = format!("{number:05}.dump.zst");
            // Not compressed by itself: the whole stream is, which costs less and takes less room.
            let words = ["--format=custom", "--compress=0", "--no-password"].map(str::to_owned);
            let one = self.one("pg_dump", &words, database).await;
            dumped.push(match one {
                Err(error @ Error::Refused(_)) => return Err(self.lacking(error).await),
                one => one?,
            });
        }
        let (request, server) = (self.request, &self.session.server);
        let mut globals = None;
        if request.globals {
            observe("roles and tablespaces");
            let mut words = vec!["--globals-only".to_owned(), "--no-password".to_owned()];
            if !server.superuser {
                words.push("--no-role-passwords".to_owned());
            }
            globals = Some(self.one("pg_dumpall", &words, Dumped::globals()).await?);
        }
        let dump = Dump {
            format: FORMAT,
            dump: request.dump.clone(),
            instance: request.instance.clone(),
            started_at,
            ended_at: (self.clock)(),
            server_version: server.version,
            program: request.client.version.clone(),
            passwords: globals.is_some() && server.superuser,
            globals,
            databases: dumped,
            tool: request.tool.clone(),
        };
        let path = object(&request.cluster, &request.dump, COMMIT);
        self.repository.create_json(&path, &dump).await?;
        Ok(dump)
    }

    /// Says what the role needs to read everything, when that is what it has not.
    async fn lacking(&self, error: Error) -> Error {
        const MAY: &str = "SELECT pg_catalog.pg_has_role(current_user, 'pg_read_all_data', 'USAGE')::pg_catalog.text";
        let Ok(rows) = self.session.read(MAY).await else {
            return error;
        };
        let may = rows.rows.first().and_then(|row| row.first()?.as_text());
        if may != Some("false") {
            return error;
        }
        let role = quoted(&self.session.server.user);
        hinted(error, format!("GRANT pg_read_all_data TO {role};"))
    }

    /// Runs one program and stores what it says; the lease is renewed meanwhile.
    async fn one(
        &mut self,
        program: &'static str,
        words: &[String],
        mut dumped: Dumped,
    ) -> Result<Dumped, Error> {
        let request = self.request;
        let path = object(&request.cluster, &request.dump, &dumped.name);
        let target = match dumped.database.as_str() {
            "" => request.target.clone(),
            database => request.target.with_database(database),
        };
        let reach = target.variables(self.session.address(), "pawang:dump");
        let stream = Stream::start(&request.client, program, words, &reach)?;
        let stored = stream.store(self.repository, &path);
        (dumped.raw_bytes, dumped.stored) = renewing(&mut self.lease, stored, self.clock).await?;
        dumped.name = self.repository.data_path(&dumped.name);
        Ok(dumped)
    }
}

impl Dumped {
    /// Roles and tablespaces, before they are dumped.
    fn globals() -> Dumped {
        Dumped {
            database: String::new(),
            name: GLOBALS.to_owned(),
            raw_bytes: 0,
            stored: Object {
                bytes: 0,
                sha256: String::new(),
            },
            encoding: String::new(),
            locale: None,
        }
    }
}

/// Takes the lease that keeps others from dumping and expiring at the same time.
pub(super) async fn hold(
    repository: &Repository,
    cluster: &ClusterId,
    owner: &Owner,
    doing: &str,
    now: Timestamp,
) -> Result<Lease, Error> {
    let mut facts = LeaseFacts::new(LEASE, &owner.word, LEASE_SECONDS, now);
    facts.doing = doing.to_owned();
    facts.host.clone_from(&owner.host);
    facts.pid = owner.pid;
    match repository.take_lease(cluster, facts).await? {
        Held::Ours(lease) => Ok(lease),
        Held::Other(other) => {
            let what = format!("somebody {} now", other.doing);
            let report = Report::new(Kind::Refused, what)
                .with_detail(format!("process {} since {:.0}", other.pid, other.taken_at))
                .with_hint("pawang dump list");
            Err(Error::Refused(Box::new(report)))
        }
    }
}

/// Waits for work that may take long, and keeps the lease meanwhile.
async fn renewing<T>(
    lease: &mut Lease,
    work: impl Future<Output = Result<T, Error>>,
    clock: fn() -> Timestamp,
) -> Result<T, Error> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(RENEW_EVERY) => lease.renew(clock()).await?,
        }
    }
}

/// Returns the databases that are wanted, in order.
async fn databases(session: &Session, request: &DumpRequest) -> Result<Vec<Dumped>, Error> {
    let rows = session.read_text(DATABASES).await?;
    let mut all = Vec::new();
    for row in &rows.rows {
        let text = |at: usize| row[at].as_text().unwrap_or_default().to_owned();
        all.push(Dumped {
            database: text(0),
            encoding: text(1),
            locale: Some((text(2), text(3))),
            ..Dumped::globals()
        });
    }
    if let Some(missing) = request
        .databases
        .iter()
        .find(|name| !all.iter().any(|it| it.database == **name))
    {
        let names: Vec<String> = all.into_iter().map(|it| it.database).collect();
        let report = Report::new(Kind::Usage, format!("there is no database \"{missing}\""))
            .with_detail(format!("there are {}", names.join(", ")))
            .with_hint(format!("pawang dump create -i {}", request.instance));
        return Err(Error::Refused(Box::new(report)));
    }
    if !request.databases.is_empty() {
        all.retain(|it| request.databases.contains(&it.database));
    }
    Ok(all)
}

/// A program whose output is stored.
struct Stream<'a> {
    client: &'a Client,
    program: &'static str,
    child: tokio::process::Child,
}

impl Stream<'_> {
    fn start<'a>(
        client: &'a Client,
        program: &'static str,
        words: &[String],
        reach: &[(&'static str, std::ffi::OsString)],
    ) -> Result<Stream<'a>, Error> {
        let child = client.start(program, words, reach, Stdio::null(), Stdio::piped())?;
        Ok(Stream {
            client,
            program,
            child,
        })
    }

    /// Stores everything that the program says; the object appears only when it ended well.
    async fn store(mut self, repository: &Repository, path: &str) -> Result<(u64, Object), Error> {
        let failed = |source: io::Error| repository.problem("write", path, source.into());
        let stdout = self.child.stdout.take().expect("it was asked for");
        let from = File::from(stdout.into_owned_fd().map_err(failed)?);
        let into = repository.object_writer(path, None)?;
        let copying = tokio::task::spawn_blocking(move || compressed(from, into));
        let ended = self.client.end(self.program, &mut self.child).await;
        let copied = copying.await.expect("the copy does not panic");
        ended?;
        let (raw_bytes, mut object) = copied.map_err(failed)?;
        let finished = tokio::task::spawn_blocking(move || object.finish()).await;
        let stored = finished.expect("the end does not panic")?;
        Ok((raw_bytes, stored))
    }
}

fn compressed(mut from: File, into: ObjectWriter) -> io::Result<(u64, ObjectWriter)> {
    let mut encoder = zstd::stream::write::Encoder::new(into, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        encoder.write_all(&buffer[..read])?;
    }
    Ok((bytes, encoder.finish()?))
}
