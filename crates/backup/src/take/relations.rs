//! Pages that are wrong: read again, since they may have been torn while they were read, and named by their relations.

use std::collections::BTreeMap;
use std::sync::Arc;

use pawang_core::{Lsn, Value};
use pawang_postgres::{Session, Target};

use super::checksum::{PageRules, Verdict, judge, lsn};
use super::crew::{PageTally, WrongPage};
use super::cut::Geometry;
use super::manifest::bytes_of;
use super::relation_file::{INCREMENTAL_PREFIX, RelationFile};
use crate::repository::{BadPage, Pages};

/// A page that is being written again and again is not read more often.
const READS_MAX: usize = 3;
/// The tablespaces that a data directory always has: of databases and of all databases.
const DEFAULT_TABLESPACE: u32 = 1663;
const GLOBAL_TABLESPACE: u32 = 1664;

/// Judges wrong pages a second time and names their relations, as far as the role may ask.
pub(super) async fn settle(
    tally: PageTally,
    target: &Target,
    geometry: &Geometry,
    rules: &PageRules,
) -> Pages {
    let mut pages = Pages {
        checked: tally.checked,
        wrong: tally.wrong,
        bad: Vec::new(),
    };
    if tally.first.is_empty() {
        return pages;
    }
    let session = Session::connect(target, "backup").await.ok();
    let mut names = Names {
        target,
        databases: BTreeMap::new(),
        relations: BTreeMap::new(),
    };
    for page in &tally.first {
        let now = match &session {
            Some(session) => again(session, page, geometry, rules).await,
            None => None,
        };
        // Whatever wrote a page while it was read is replayed; one that was not written was read wrong.
        let written = match now {
            Some((Verdict::Good, at)) => at >= rules.start,
            Some((verdict, _)) => verdict == Verdict::Zero,
            None => false,
        };
        if written {
            pages.wrong -= 1;
            continue;
        }
        let relation = match (&session, RelationFile::read(&page.file, None)) {
            (Some(session), Some(file)) => names.of(session, &file).await,
            _ => None,
        };
        let doubt = match now {
            Some((Verdict::Good, _)) => "; read again it is right, so that the disk may be failing",
            Some(_) => "",
            None => "; it could not be read again, so that it may have been torn while it was read",
        };
        pages.bad.push(BadPage {
            file: String::from_utf8_lossy(&page.file).into_owned(),
            block: u64::from(page.block),
            problem: format!("{}{doubt}", page.problem),
            relation,
        });
    }
    pages
}

/// Reads a page again and judges it, with the position of its last change; none when it cannot be read, or is not there any more.
async fn again(
    session: &Session,
    page: &WrongPage,
    geometry: &Geometry,
    rules: &PageRules,
) -> Option<(Verdict, Lsn)> {
    let path = std::str::from_utf8(&page.file).ok()?;
    let prefix = std::str::from_utf8(INCREMENTAL_PREFIX).expect("it is ASCII");
    let path = path.replace(prefix, "");
    let offset = u64::from(page.block % geometry.segment_blocks) * u64::from(geometry.block_bytes);
    let sql = format!(
        "SELECT pg_catalog.encode(pg_catalog.pg_read_binary_file('{}', {offset}, {}, true), 'hex')",
        path.replace('\'', "''"),
        geometry.block_bytes,
    );
    // Whatever verifies now is no damage of the disk, wherever its last change was logged.
    let rules = PageRules {
        start: Lsn(u64::MAX),
        ..*rules
    };
    let mut verdict = None;
    for _ in 0..READS_MAX {
        let rows = session.read(&sql).await.ok()?;
        let bytes = match rows.rows.first()?.first()? {
            Value::Text(text) => bytes_of(text)?,
            _ => return None,
        };
        if bytes.len() != geometry.block_bytes as usize {
            return None;
        }
        let now = judge(&bytes, page.block, &rules);
        verdict = Some((now, lsn(&bytes)));
        if matches!(now, Verdict::Good | Verdict::Zero) {
            break;
        }
    }
    verdict
}

/// What tells one relation's files from another's: tablespace, database, number.
type FileKey = (Option<u32>, Option<u32>, u32);

/// Names of relations, each asked once.
struct Names<'a> {
    target: &'a Target,
    /// Sessions with databases, and their names.
    databases: BTreeMap<u32, Option<(Session, String)>>,
    relations: BTreeMap<FileKey, Option<Arc<str>>>,
}

impl Names<'_> {
    /// Returns the name of a file's relation: `database.schema.name`.
    async fn of(&mut self, session: &Session, file: &RelationFile) -> Option<String> {
        let key = (file.tablespace, file.database, file.filenode);
        if let Some(known) = self.relations.get(&key) {
            return known.as_deref().map(str::to_owned);
        }
        let name = match file.database {
            None => relation(session, &session.server.database, file).await,
            Some(oid) => match self.database(session, oid).await {
                Some((session, name)) => relation(session, name, file).await,
                None => None,
            },
        };
        self.relations.insert(key, name.as_deref().map(Arc::from));
        name
    }

    async fn database(&mut self, session: &Session, oid: u32) -> Option<&(Session, String)> {
        if !self.databases.contains_key(&oid) {
            let opened = open(session, self.target, oid).await;
            self.databases.insert(oid, opened);
        }
        self.databases.get(&oid)?.as_ref()
    }
}

async fn open(session: &Session, target: &Target, oid: u32) -> Option<(Session, String)> {
    let sql = format!(
        "SELECT d.datname::pg_catalog.text FROM pg_catalog.pg_database AS d WHERE d.oid = {oid} AND d.datallowconn"
    );
    let name = first_text(session, &sql).await?;
    let session = Session::connect(&target.with_database(&name), "backup").await;
    Some((session.ok()?, name))
}

async fn relation(session: &Session, database: &str, file: &RelationFile) -> Option<String> {
    let tablespace = match (file.tablespace, file.database) {
        (Some(oid), _) => oid,
        (None, Some(_)) => DEFAULT_TABLESPACE,
        (None, None) => GLOBAL_TABLESPACE,
    };
    let sql = format!(
        "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
           FROM pg_catalog.pg_class AS c
           JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
          WHERE c.oid = pg_catalog.pg_filenode_relation({tablespace}, {})",
        file.filenode
    );
    let name = first_text(session, &sql).await?;
    Some(format!("{database}.{name}"))
}

async fn first_text(session: &Session, sql: &str) -> Option<String> {
    let rows = session.read(sql).await.ok()?;
    let text = rows.rows.first()?.first()?.as_text()?;
    Some(text.to_owned())
}
