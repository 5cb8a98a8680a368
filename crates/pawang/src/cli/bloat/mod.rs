//! `pawang bloat`: what every table and index would give back if it were rebuilt.

mod exact;

use std::collections::BTreeSet;

use pawang_collect::{Catalog, HostRequest, Request, observe};
use pawang_core::bloat::{Space, SpaceKind, index_spaces, table_spaces};
use pawang_core::{ByteSize, Facts, Missing, Report};
use serde::Serialize;

use crate::cli::Global;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, Job, told};
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::upkeep::{INDEX_SHAPE, TABLE_SHAPE, want_whole};

use exact::Measured;

/// Lines of one server on a terminal unless told otherwise; a pipe and JSON get all.
const SHOWN: usize = 50;

/// Show what tables and indexes would give back if they were rebuilt, largest first
///
/// Sizes and estimates are of the last VACUUM or ANALYZE and come from statistics alone: no page is
/// read, no lock is waited for, no superuser is needed. Bounds say how far the truth may lie away.
/// Nothing is shown as a number that statistics cannot tell.
///
/// Examples:
///   pawang bloat -i dwh-1
///   pawang bloat indexes --min 100MB
///   pawang bloat tables --database sales --exact
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Only these
    #[arg(value_enum)]
    what: Option<What>,
    /// Only databases of this name, with * (repeatable)
    #[arg(long, value_name = "NAME")]
    database: Vec<String>,
    /// Only relations of at least this size, such as 100MB
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
    min: ByteSize,
    /// How many of each server, 0 for all; 50 on a terminal
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Read the relations that are shown with pgstattuple, where it is installed
    ///
    /// This reads every page of the indexes, and of tables those that are not all-visible. It takes ACCESS SHARE locks
    /// and needs pg_stat_scan_tables. Give --min or --top.
    #[arg(long)]
    exact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Tables and their TOAST tables
    Tables,
    /// Indexes
    Indexes,
}

/// What one server has.
#[derive(Serialize)]
struct Answer {
    instance: String,
    /// Size of all relations looked at.
    size: ByteSize,
    /// What all of them would give back, where that is known.
    waste: ByteSize,
    relations: Vec<Line>,
    /// What could not be seen, and what would make it seen.
    unseen: Vec<String>,
}

#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    space: Space,
    percent: Option<f64>,
    exact: Option<Measured>,
}

fn size(text: &str) -> Result<ByteSize, String> {
    text.parse()
}

/// Runs the command; exit code 3 when a server could not be seen.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = estate.jobs(&global.instances, None)?;
    let catalog = catalog(args, estate.catalog()?);
    let Some(answers) = each(&estate, &jobs, async |job| {
        answer(args, global, &catalog, job).await
    })?
    else {
        output::talk("interrupted: nothing was written");
        return Ok(Exit::Interrupted);
    };
    if global.json {
        output::json("pawang.bloat/1", &answers)?;
    } else {
        // An empty table would say that nothing wastes space where nothing was seen.
        let shown = |answer: &&Answer| !answer.relations.is_empty() || answer.unseen.is_empty();
        for answer in answers.iter().filter(shown) {
            output::data(&text(answer, args.exact))?;
        }
    }
    for answer in &answers {
        let unseen = answer.unseen.iter();
        unseen.for_each(|why| output::talk(&format!("{}: {why}", answer.instance)));
    }
    let seen = answers.iter().all(|answer| answer.unseen.is_empty());
    Ok(if seen { Exit::Good } else { Exit::Target })
}

/// Returns the catalogue with the shapes of all relations of the wanted size.
fn catalog(args: &Args, mut catalog: Catalog) -> Catalog {
    for shape in [TABLE_SHAPE, INDEX_SHAPE] {
        want_whole(&mut catalog, shape, args.min);
    }
    catalog
}

async fn answer(args: &Args, global: &Global, catalog: &Catalog, job: &Job) -> Answer {
    let tables: &[&str] = match args.what {
        Some(What::Indexes) => &[],
        _ => &["table-shape", "tables"],
    };
    let indexes: &[&str] = match args.what {
        Some(What::Tables) => &[],
        _ => &["index-shape", "indexes", "extended-statistics"],
    };
    let collectors: BTreeSet<String> = tables
        .iter()
        .chain(indexes)
        .map(|name| (*name).to_owned())
        .collect();
    let databases = match args.database.as_slice() {
        [] => job.config.databases.clone().unwrap_or_default(),
        wanted => wanted.to_vec(),
    };
    let facts = observe(&Request {
        instance: &job.instance,
        target: &job.target,
        purpose: "bloat",
        catalog,
        collectors: &collectors,
        questions: &[],
        databases: &databases,
        pgbouncer: None,
        patroni: None,
        host: HostRequest::default(),
        backups: &[],
        now: environment::now(),
    })
    .await;
    let mut answer = gather(args, &facts);
    let usual = if global.json || !output::terminal() {
        0
    } else {
        SHOWN
    };
    let shown = args.top.unwrap_or(usual);
    let left = answer.relations.len().saturating_sub(shown);
    if shown > 0 && left > 0 {
        answer.relations.truncate(shown);
        answer.unseen.push(format!(
            "{left} more relations are not shown: --top 0 shows all"
        ));
    }
    if args.exact {
        exact::measure(job, &mut answer).await;
    }
    answer
}

fn gather(args: &Args, facts: &Facts) -> Answer {
    let mut answer = Answer {
        instance: facts.instance.name.clone(),
        size: ByteSize(0),
        waste: ByteSize(0),
        relations: Vec::new(),
        unseen: facts.notes.clone(),
    };
    if let Err(blind) = &facts.server {
        answer
            .unseen
            .push(format!("{}; {}", blind.sentence(), blind.remedy()));
        return answer;
    }
    type Spaces = fn(&Facts, &str) -> Result<Vec<Space>, Missing>;
    let readers: &[Spaces] = match args.what {
        Some(What::Tables) => &[table_spaces],
        Some(What::Indexes) => &[index_spaces],
        None => &[table_spaces, index_spaces],
    };
    for database in &facts.databases {
        for read in readers {
            match read(facts, database) {
                Ok(spaces) => {
                    let spaces = spaces.into_iter().filter(|space| space.size >= args.min);
                    answer.relations.extend(spaces.map(Line::of));
                }
                Err(Missing::Blind(blind)) => {
                    let why = format!(
                        "database \"{database}\": {}; {}",
                        blind.sentence(),
                        blind.remedy()
                    );
                    answer.unseen.push(why);
                }
                Err(Missing::NotApplicable(_)) => {}
            }
        }
    }
    let gain = |line: &Line| {
        line.space
            .waste
            .and_then(|waste| waste.likely)
            .map_or(0, |bytes| bytes.0)
    };
    answer.relations.sort_by(|a, b| {
        let order = gain(b).cmp(&gain(a)).then(b.space.size.cmp(&a.space.size));
        order.then_with(|| (&a.space.database, a.space.oid).cmp(&(&b.space.database, b.space.oid)))
    });
    answer.size = ByteSize(answer.relations.iter().map(|line| line.space.size.0).sum());
    answer.waste = ByteSize(answer.relations.iter().map(gain).sum());
    let blind = answer
        .relations
        .iter()
        .filter(|line| line.space.blind)
        .count();
    if blind > 0 {
        let why =
            "statistics may not be read; GRANT pg_read_all_data to the role, to see only them";
        answer.unseen.push(format!(
            "the bloat of {blind} relations is not known: their {why}"
        ));
    }
    answer.unseen.dedup();
    answer
}

impl Line {
    fn of(space: Space) -> Line {
        Line {
            percent: space.percent(),
            space,
            exact: None,
        }
    }
}

fn text(answer: &Answer, exact: bool) -> String {
    let mut headings = vec![
        "database", "kind", "relation", "size>", "waste>", "share>", "between", "note",
    ];
    if exact {
        headings.insert(6, "measured>");
    }
    let mut grid = Grid::new(&headings);
    for line in &answer.relations {
        let space = &line.space;
        let dash = || "-".to_owned();
        let kind = match (space.kind, space.access_method.as_deref()) {
            (SpaceKind::Table, _) => "table",
            (SpaceKind::Toast, _) => "toast",
            (SpaceKind::Index, Some(method)) => method,
            (SpaceKind::Index, None) => "index",
        };
        let between =
            |waste: pawang_core::bloat::Waste| format!("{} .. {}", waste.least, waste.most);
        let likely = space.waste.and_then(|waste| waste.likely);
        let mut cells = vec![
            space.database.clone(),
            kind.to_owned(),
            format!("{}.{}", space.schema, space.name),
            space.size.to_string(),
            likely.map_or_else(dash, |bytes| bytes.to_string()),
            line.percent
                .map_or_else(dash, |percent| format!("{percent:.0} %")),
            space.waste.map_or_else(dash, between),
            space.why_not.clone().unwrap_or_default(),
        ];
        if exact {
            let told = line.exact.as_ref().map_or_else(dash, Measured::told);
            cells.insert(6, told);
        }
        grid.row(cells);
    }
    let mut text = format!(
        "{}: {} of {} would be given back\n",
        answer.instance, answer.waste, answer.size
    );
    if !output::terminal() {
        text.clear();
    }
    text.push_str(&grid.text());
    text
}
