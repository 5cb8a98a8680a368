//! The collectors: the built-in catalogue and the user's own directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use pawang_core::Column;

use crate::header::{Exclusions, Header, Scope};
use crate::paging::Page;

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/catalog");

/// A collector cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory or one of its files cannot be read.
    #[error("could not read collector file \"{}\"", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The header does not parse.
    #[error("cannot read the header of collector \"{collector}\"")]
    Header {
        /// The collector's name.
        collector: String,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A collector that replaces a built-in one lacks columns that checks read.
    #[error("cannot put collector \"{collector}\" in the place of the built-in one: {problem}")]
    Replacement {
        /// The collector's name.
        collector: String,
        /// What is missing or different.
        problem: String,
    },
    /// A file name is not a version.
    #[error(
        "cannot read \"{file}\" of collector \"{collector}\" as a version, such as \"14.sql\" or \"1.11.sql\""
    )]
    FileName {
        /// The collector's name.
        collector: String,
        /// The file's name.
        file: String,
    },
}

/// One collector: a header, and one statement per oldest version that it serves.
#[derive(Clone, Debug)]
pub struct Collector {
    /// Kebab-case, the folder's name.
    pub name: String,
    /// Everything but the SQL.
    pub header: Header,
    /// Oldest version served to statement; versions of the server (`14`) or of the extension (`1.11`).
    pub statements: BTreeMap<(u32, u32), String>,
    /// The same with the placeholders of [`crate::Paging`]; empty without paging.
    pub paged: BTreeMap<(u32, u32), String>,
    /// Set when all relations of so many pages are wanted instead of the largest.
    pub whole: Option<u32>,
}

impl Collector {
    /// Returns the statement for a server or extension version, or `None` when that version has no such view; with the
    /// placeholders of [`crate::Paging`] when all relations are wanted.
    pub fn statement(&self, version: (u32, u32)) -> Option<&str> {
        let statements = match self.whole {
            Some(_) => &self.paged,
            None => &self.statements,
        };
        statements
            .range(..=version)
            .next_back()
            .map(|(_, sql)| sql.as_str())
    }

    /// Says whether checks that read `built_in` can read this collector instead.
    fn can_replace(&self, built_in: &Collector) -> Result<(), Error> {
        let has = |column: &Column| {
            let mut own = self.header.columns.iter();
            own.any(|own| own.name == column.name && own.kind == column.kind)
        };
        let columns = built_in.header.columns.iter();
        let missing: Vec<&str> = columns
            .filter(|column| !has(column))
            .map(|column| column.name.as_str())
            .collect();
        let problem = if self.header.scope != built_in.header.scope {
            "its scope is another".to_owned()
        } else if self.statements.is_empty() && !built_in.statements.is_empty() {
            "it has no statement, such as \"14.sql\"".to_owned()
        } else if !missing.is_empty() {
            format!(
                "it does not declare, with the same kind, {}",
                missing.join(", ")
            )
        } else {
            return Ok(());
        };
        Err(Error::Replacement {
            collector: self.name.clone(),
            problem,
        })
    }

    fn new(name: &str, header: &str, files: Vec<(String, String)>) -> Result<Collector, Error> {
        let header: Header = toml::from_str(header).map_err(|source| Error::Header {
            collector: name.to_owned(),
            source: Box::new(source),
        })?;
        let (mut statements, mut paged) = (BTreeMap::new(), BTreeMap::new());
        for (file, sql) in files {
            let version = file.strip_suffix(".sql").and_then(parse_version);
            let version = version.ok_or_else(|| Error::FileName {
                collector: name.to_owned(),
                file: file.clone(),
            })?;
            match &header.paging {
                Some(paging) => {
                    statements.insert(version, Page::largest(paging).fill(&sql));
                    paged.insert(version, sql);
                }
                None => _ = statements.insert(version, sql),
            }
        }
        Ok(Collector {
            name: name.to_owned(),
            header,
            statements,
            paged,
            whole: None,
        })
    }
}

/// Reads `14`, `1.11` or `1.11.2` as a pair of numbers; further parts do not matter to any view.
pub(crate) fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().map_or(Some(0), |part| part.parse().ok())?;
    Some((major, minor))
}

/// All collectors by name.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// Kebab-case name to collector.
    pub collectors: BTreeMap<String, Collector>,
}

impl Catalog {
    /// Returns the collectors that ship with Pawang.
    pub fn built_in() -> Catalog {
        let mut collectors = BTreeMap::new();
        for folder in BUILT_IN.dirs() {
            let name = folder
                .path()
                .to_str()
                .expect("folder names of the catalogue are ASCII");
            let text = |file: &include_dir::File<'_>| {
                file.contents_utf8()
                    .expect("catalogue files are UTF-8")
                    .to_owned()
            };
            let header = folder
                .get_file(folder.path().join("collector.toml"))
                .expect("every collector has a header");
            let files = folder
                .files()
                .filter(|file| file.path().extension().is_some_and(|e| e == "sql"));
            let files = files.map(|file| {
                let name = file.path().file_name().and_then(|name| name.to_str());
                (
                    name.expect("file names of the catalogue are ASCII")
                        .to_owned(),
                    text(file),
                )
            });
            let collector = Collector::new(name, &text(header), files.collect());
            collectors.insert(
                name.to_owned(),
                collector.unwrap_or_else(|error| unreachable!("{error:?}")),
            );
        }
        Catalog { collectors }
    }

    /// Adds the collectors of a user's directory; one with a built-in name replaces it.
    ///
    /// # Errors
    /// The first folder that cannot be read as a collector.
    pub fn add_directory(&mut self, directory: &Path) -> Result<(), Error> {
        for folder in read_dir(directory)? {
            if !folder.is_dir() {
                continue;
            }
            let name = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let header = read(&folder.join("collector.toml"))?;
            let mut files = Vec::new();
            for path in read_dir(&folder)?
                .into_iter()
                .filter(|path| path.extension().is_some_and(|e| e == "sql"))
            {
                files.push((
                    path.file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned(),
                    read(&path)?,
                ));
            }
            let collector = Collector::new(&name, &header, files)?;
            if let Some(built_in) = self.collectors.get(&name) {
                collector.can_replace(built_in)?;
            }
            self.collectors.insert(name, collector);
        }
        Ok(())
    }

    /// Returns the collector of that name.
    ///
    /// # Panics
    /// When there is none: checks name their collectors at compile time, and a test reads them all.
    pub fn collector(&self, name: &str) -> &Collector {
        self.collectors
            .get(name)
            .unwrap_or_else(|| unreachable!("collector \"{name}\" is not in the catalogue"))
    }

    /// Makes a collector of the largest relations one of all that have at least `pages_min` pages, asked page by page.
    ///
    /// # Panics
    /// When there is no such collector, or it has no paging: a caller names it at compile time.
    pub fn want_whole(&mut self, name: &str, pages_min: u32) {
        let collector = self.collectors.get_mut(name);
        let paged = collector.filter(|collector| collector.header.paging.is_some());
        let paged = paged.unwrap_or_else(|| unreachable!("collector \"{name}\" has no pages"));
        paged.whole = Some(pages_min);
    }

    /// Returns the collectors of one scope, by name.
    pub fn of_scope(&self, scope: Scope) -> impl Iterator<Item = &Collector> {
        self.collectors
            .values()
            .filter(move |collector| collector.header.scope == scope)
    }

    /// Returns which columns of `pg_stat*` views are left out on purpose, and why.
    pub fn exclusions() -> Exclusions {
        let file = BUILT_IN
            .get_file("excluded.toml")
            .and_then(include_dir::File::contents_utf8);
        file.map(|text| {
            toml::from_str(text).unwrap_or_else(|error| unreachable!("excluded.toml: {error}"))
        })
        .unwrap_or_default()
    }
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

fn read_dir(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let error = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(error)? {
        paths.push(entry.map_err(error)?.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_statement_that_is_not_newer_than_the_server_is_taken() {
        let files = ["14.sql", "17.sql"].map(|name| (name.to_owned(), name.to_owned()));
        let header = "summary = \"\"\nscope = \"server\"\ninterval = \"10s\"\n[columns]\na = \"gauge bytes\"";
        let collector = Collector::new("x", header, files.to_vec()).unwrap();
        for (version, sql) in [
            (13, None),
            (14, Some("14.sql")),
            (16, Some("14.sql")),
            (18, Some("17.sql")),
        ] {
            assert_eq!(collector.statement((version, 0)), sql);
        }
    }

    #[test]
    fn every_built_in_collector_parses_and_has_what_its_scope_needs() {
        let catalog = Catalog::built_in();
        assert!(!catalog.collectors.is_empty());
        for collector in catalog.collectors.values() {
            let has_sql = !collector.statements.is_empty();
            let wants_sql = !matches!(
                collector.header.scope,
                Scope::Host | Scope::Patroni | Scope::Derived
            );
            assert_eq!(has_sql, wants_sql, "{}", collector.name);
            assert!(!collector.header.columns.is_empty(), "{}", collector.name);
        }
    }
}
