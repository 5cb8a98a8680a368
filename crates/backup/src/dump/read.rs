//! A dump is read again: its bytes against its commit, its contents by `pg_restore`, into a new database or nowhere.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::Stdio;

use pawang_core::{Kind, Report};
use pawang_postgres::{Session, Target};

use super::client::{Client, hinted, quoted};
use super::{Dump, Dumped, object};
use crate::Error;
use crate::repository::{ClusterId, Repository};

const PURPOSE: &str = "dump";
const BUFFER_BYTES: usize = 256 << 10;
const RESTORE: &str = "pg_restore";
const CREATE: &str = "createdb";

/// What is restored to where.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// The server.
    pub target: Target,
    /// The programs.
    pub client: Client,
    /// The database of the dump.
    pub from: String,
    /// The database that is made, or that is there and empty.
    pub into: String,
    /// Whether owners and privileges are left out.
    pub no_owner: bool,
}

/// Reads all of a dump again; what is wrong with it, one sentence each.
///
/// # Errors
/// The store or a program could not be asked.
pub async fn verify(
    repository: &Repository,
    cluster: &ClusterId,
    dump: &Dump,
    client: Option<&Client>,
) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    for dumped in dump.databases.iter().chain(&dump.globals) {
        repository.check_identity(&object(cluster, &dump.dump, &dumped.name))?;
        let lists = client.filter(|_| !dumped.database.is_empty());
        let child = match lists {
            Some(client) => Some(client.start(
                RESTORE,
                &["--list".to_owned()],
                &[],
                Stdio::piped(),
                Stdio::null(),
            )?),
            None => None,
        };
        let read = Reading {
            repository,
            cluster,
            dump,
            dumped,
        };
        let (child, copied) = read.hand_to(child).await;
        if let Err(source) = copied {
            let problem = format!("{}: {source}", dumped.name);
            match repository.unopened(&object(cluster, &dump.dump, &dumped.name), source) {
                // Whoever has no key cannot say whether it is damaged.
                locked @ Error::Sealed { .. } => return Err(locked),
                _ => problems.push(problem),
            }
        } else if let (Some(mut child), Some(client)) = (child, lists)
            && let Err(error) = client.end(RESTORE, &mut child).await
        {
            let report = error.report();
            let detail = report.detail.unwrap_or_default();
            problems.push(format!("{}: {} ({detail})", dumped.name, report.primary));
        }
    }
    Ok(problems)
}

/// Looks at the database that a dump is restored into, and says whether it has to be made.
///
/// # Errors
/// It has something in it, or the role may not make one.
pub async fn has_to_be_made(request: &RestoreRequest) -> Result<bool, Error> {
    let session = Session::connect(&request.target, PURPOSE).await?;
    let into = request.target.with_database(&request.into);
    if !is_new(&session, &into).await? {
        return Ok(false);
    }
    const MAY: &str = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles AS r
WHERE r.rolname = current_user AND (r.rolsuper OR r.rolcreatedb)";
    if count(&session, MAY).await? > 0 {
        return Ok(true);
    }
    let role = &session.server.user;
    let report = Report::new(
        Kind::Target,
        format!("role \"{role}\" may not make a database"),
    )
    .with_detail(format!(
        "\"{}\" has to be made; one that is there and empty is used",
        request.into
    ))
    .with_hint(format!("ALTER ROLE {} CREATEDB;", quoted(role)));
    Err(Error::Refused(Box::new(report)))
}

/// Restores a database of a dump into one that is new or empty.
///
/// # Errors
/// The database has something in it, the dump has no such database, or a program refused; what was made then stays, and is told.
pub async fn restore(
    repository: &Repository,
    cluster: &ClusterId,
    dump: &Dump,
    request: &RestoreRequest,
) -> Result<u64, Error> {
    let dumped = dump.databases.iter().find(|it| it.database == request.from);
    let dumped = dumped.ok_or_else(|| {
        let names: Vec<&str> = dump
            .databases
            .iter()
            .map(|it| it.database.as_str())
            .collect();
        let what = format!("dump {} has no database \"{}\"", dump.dump, request.from);
        refused(what, &format!("it has {}", names.join(", ")))
    })?;
    repository.check_identity(&object(cluster, &dump.dump, &dumped.name))?;
    let read = Reading {
        repository,
        cluster,
        dump,
        dumped,
    };
    let unread = |source| {
        let path = object(cluster, &dump.dump, &dumped.name);
        repository.unopened(&path, source)
    };
    read.begin().await.map_err(unread)?;
    let session = Session::connect(&request.target, PURPOSE).await?;
    let into = request.target.with_database(&request.into);
    let reach = into.variables(session.address(), "pawang:dump");
    if has_to_be_made(request).await? {
        make(request, dumped, &session).await?;
    }
    let mut words = vec![
        "--exit-on-error".to_owned(),
        "--single-transaction".to_owned(),
        "--no-password".to_owned(),
        format!("--dbname={}", request.into),
    ];
    if request.no_owner {
        words.extend(["--no-owner", "--no-privileges"].map(str::to_owned));
    }
    let client = &request.client;
    let child = client.start(RESTORE, &words, &reach, Stdio::piped(), Stdio::null())?;
    let (child, copied) = read.hand_to(Some(child)).await;
    let ended = match child {
        Some(mut child) => client.end(RESTORE, &mut child).await,
        None => Ok(()),
    };
    let ended = ended.map_err(|error| match request.no_owner {
        true => error,
        false => hinted(
            error,
            "where it asks for roles or rights that are not there: --no-owner leaves owners and privileges out".to_owned(),
        ),
    });
    // A program that got half of a dump says so; why it got no more is what has to be mended.
    let bytes = copied.map_err(unread)?;
    ended.map(|()| bytes)
}

/// Says whether a database has to be made; one that is there must be empty.
async fn is_new(session: &Session, into: &Target) -> Result<bool, Error> {
    let name = into.database.replace('\'', "''");
    let known = format!(
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_database AS d WHERE d.datname = '{name}'"
    );
    if count(session, &known).await? == 0 {
        return Ok(true);
    }
    let there = Session::connect(into, PURPOSE).await?;
    let objects = count(&there, OBJECTS).await?;
    if objects > 0 {
        let what = format!("database \"{}\" is not empty", into.database);
        let detail = format!(
            "it has {objects} relations, functions or types; a dump is restored into a new database"
        );
        return Err(refused(what, &detail));
    }
    Ok(false)
}

/// What somebody made: the server's own objects have low identities, those of extensions belong to them.
const OBJECTS: &str = "SELECT pg_catalog.count(*) FROM (
    SELECT c.oid, 'pg_catalog.pg_class'::pg_catalog.regclass FROM pg_catalog.pg_class AS c WHERE c.oid >= 16384
        AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL SELECT p.oid, 'pg_catalog.pg_proc'::pg_catalog.regclass FROM pg_catalog.pg_proc AS p WHERE p.oid >= 16384
    UNION ALL SELECT t.oid, 'pg_catalog.pg_type'::pg_catalog.regclass FROM pg_catalog.pg_type AS t WHERE t.oid >= 16384
) AS o (oid, class)
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
    WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')";

async fn count(session: &Session, sql: &str) -> Result<i64, Error> {
    let rows = session.read(sql).await?.rows;
    let value = rows.first().and_then(|row| row.first());
    Ok(value.and_then(|value| value.as_int()).unwrap_or(0))
}

async fn make(request: &RestoreRequest, dumped: &Dumped, session: &Session) -> Result<(), Error> {
    let mut words = vec![
        "--template=template0".to_owned(),
        "--no-password".to_owned(),
        format!("--encoding={}", dumped.encoding),
    ];
    if let Some((collate, ctype)) = &dumped.locale {
        words.push(format!("--lc-collate={collate}"));
        words.push(format!("--lc-ctype={ctype}"));
    }
    words.push(format!("--maintenance-db={}", session.server.database));
    words.push("--".to_owned());
    words.push(request.into.clone());
    let reach = request.target.variables(session.address(), "pawang:dump");
    let client = &request.client;
    let mut child = client.start(CREATE, &words, &reach, Stdio::null(), Stdio::null())?;
    client.end(CREATE, &mut child).await
}

/// One stream of a dump that is read.
struct Reading<'a> {
    repository: &'a Repository,
    cluster: &'a ClusterId,
    dump: &'a Dump,
    dumped: &'a Dumped,
}

impl Reading<'_> {
    /// Reads the beginning: whoever has no key for it, or no such object, hears so before anything is made.
    async fn begin(&self) -> io::Result<()> {
        let from = self.open();
        let reading = tokio::task::spawn_blocking(move || {
            zstd::stream::read::Decoder::new(from)?.read_exact(&mut [0])
        });
        reading.await.expect("reading does not panic")
    }

    fn open(&self) -> impl Read + Send + 'static + use<> {
        let path = object(self.cluster, &self.dump.dump, &self.dumped.name);
        let stored = &self.dumped.stored;
        self.repository
            .open_data(&path, stored.bytes, &stored.sha256)
    }

    /// Reads all of it, checks it, and hands it to a program as long as that takes it.
    async fn hand_to(
        &self,
        mut child: Option<tokio::process::Child>,
    ) -> (Option<tokio::process::Child>, io::Result<u64>) {
        let stdin = child.as_mut().and_then(|child| child.stdin.take());
        let into = match stdin.map(|stdin| stdin.into_owned_fd()).transpose() {
            Ok(descriptor) => descriptor.map(File::from),
            Err(error) => return (child, Err(error)),
        };
        let from = self.open();
        let expected = self.dumped.raw_bytes;
        let copying = tokio::task::spawn_blocking(move || copied(from, into, expected));
        (child, copying.await.expect("the copy does not panic"))
    }
}

fn copied(from: impl Read, mut into: Option<File>, expected: u64) -> io::Result<u64> {
    let mut decoder = zstd::stream::read::Decoder::new(from)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let read = decoder.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        // A program that has seen enough closes its end; the rest is still read, to be checked.
        let closed = into
            .as_mut()
            .is_some_and(|into| into.write_all(&buffer[..read]).is_err());
        if closed {
            into = None;
        }
    }
    if bytes != expected {
        let problem = format!("it has {bytes} bytes, and its commit says {expected}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(bytes)
}

fn refused(primary: String, detail: &str) -> Error {
    let report = Report::new(Kind::Refused, primary);
    Error::Refused(Box::new(
        report
            .with_detail(detail)
            .with_hint("pawang dump restore --into NAME"),
    ))
}
