//! Who makes whom wait: a tree with those that wait for nobody at its roots.

use maud::{Markup, html};
use pawang_check::{Branch, forest};
use pawang_core::{Facts, Row, Snapshot};
use pawang_store::live::Present;

use crate::page::Visit;
use crate::page::parts::{
    HIDDEN, Line, instance_path, lines, lines_of, one_line, path, shell, shown, unseen,
};
use crate::words;

/// Lines of the tree that are drawn; the rest is counted.
const LINES_MAX: usize = 100;
/// Levels that are drawn deeper than the one before.
const DEPTH_MAX: usize = 12;
/// Characters of a statement in its line.
const QUERY_CHARS: usize = 160;

/// Draws the tree, or says that nobody waits.
pub(super) fn section(visit: &Visit<'_>, name: &str, present: &Present) -> Markup {
    let held = lines(&present.facts, "locks").unwrap_or_default();
    html! {
        section #blocking {
            h2 { "Who blocks whom" }
            @match present.facts.snapshot("blocking", None) {
                Err(missing) => (unseen(&missing)),
                Ok(snapshot) => (tree(snapshot, &Context { visit, name, held: &held, facts: &present.facts })),
            }
        }
    }
}

fn tree(snapshot: &Snapshot, context: &Context<'_>) -> Markup {
    let visit = context.visit;
    let branches = forest(snapshot);
    if branches.is_empty() {
        return html! { p .muted { (words::glyph(pawang_core::Level::Ok)) " Nobody waits for a lock, seen " (words::ago(visit.now, snapshot.at)) "." } };
    }
    let waiting = branches.iter().filter(|b| b.depth > 0 || b.circle).count();
    let cut = branches.len().saturating_sub(LINES_MAX);
    html! {
        p .muted { (waiting) " waiting, seen " (words::ago(visit.now, snapshot.at)) ". Ending or committing the first of each tree lets the rest go on." }
        div .tree { (context.children(&branches[..branches.len().min(LINES_MAX)], 0)) }
        @if cut > 0 { p .muted { (cut) " more sessions wait" } }
        p { a href=(path(visit, &instance_path(context.name, "activity/plan"), &[("do", "blockers")])) { "Plan to free them" } ": ends root blockers only, after you agreed." }
        (words::command(&format!("pawang session tree -i {}", shell(context.name))))
    }
}

struct Context<'a> {
    visit: &'a Visit<'a>,
    name: &'a str,
    held: &'a [Line<'a>],
    facts: &'a Facts,
}

impl Context<'_> {
    /// Draws the branches of one level, each with what follows it one level deeper.
    fn children(&self, branches: &[Branch<'_>], depth: usize) -> Markup {
        let mut starts: Vec<usize> = (0..branches.len())
            .filter(|index| depth_of(&branches[*index]) <= depth)
            .collect();
        starts.push(branches.len());
        html! {
            ul { @for pair in starts.windows(2) {
                @let (branch, below) = (&branches[pair[0]], &branches[pair[0] + 1..pair[1]]);
                li .root[branch.depth == 0] {
                    (self.branch(branch))
                    @if !below.is_empty() { (self.children(below, depth + 1)) }
                }
            } }
        }
    }

    fn branch(&self, branch: &Branch<'_>) -> Markup {
        let Some(row) = branch.row else {
            return html! { div .session { b { "pid " (branch.process) } " had ended before it was read" } };
        };
        html! {
            div .session {
                p {
                    b { @if branch.process == 0 { "prepared transaction" } @else { "pid " (branch.process) } }
                    " " (who(&row))
                    @if branch.victims > 0 { span .pill.critical { "blocks " (branch.victims) } }
                    @if branch.circle { span .pill.warning title="the server ends one of them after deadlock_timeout" { "circle" } }
                }
                p .muted { (self.waits(&row)) (self.holds(branch.process)) }
                (self.query(&row))
                @if branch.depth == 0 { (remedy(branch, &row)) }
            }
        }
    }

    /// Says what a session waits for, or how long it has been in its state.
    fn waits(&self, row: &Row<'_>) -> Markup {
        let state = row.text("state").unwrap_or_default();
        html! {
            @if let Some(seconds) = row.float("wait_seconds") {
                b { "waits " (words::duration(seconds.max(0.0))) } " for "
                (row.text("mode").unwrap_or("a lock"))
                @match row.text("relation") {
                    Some(relation) => { " on " (self.relation(relation)) },
                    None => { " on " (row.text("locktype").unwrap_or("an object")) },
                }
                ". "
            }
            @if !state.is_empty() {
                (state) @if let Some(seconds) = row.float("state_age_seconds") { " for " (words::duration(seconds.max(0.0))) }
                ". "
            }
            @if let Some(seconds) = row.float("xact_age_seconds") {
                "Transaction open " (words::duration(seconds.max(0.0))) ". "
            }
        }
    }

    /// Returns the name of a relation that the collector could only number, since it lives in another database.
    fn relation(&self, text: &str) -> String {
        let numbered = text
            .strip_prefix("relation ")
            .and_then(|rest| rest.split_once(" of database "));
        let named = numbered.and_then(|(number, database)| {
            let number: i64 = number.parse().ok()?;
            let tables = self.facts.snapshot("tables", Some(database)).ok()?;
            let lines = lines_of(tables);
            let table = lines
                .iter()
                .find(|line| line.int("relid") == Some(number))?;
            Some(format!(
                "{}.{} of database {database}",
                table.word("schemaname"),
                table.word("relname")
            ))
        });
        named.unwrap_or_else(|| text.to_owned())
    }

    fn holds(&self, process: i64) -> Markup {
        let line = self
            .held
            .iter()
            .find(|line| line.int("pid") == Some(process));
        html! {
            @if let Some(line) = line {
                "Holds " (words::number(line.number("locks").unwrap_or_default())) " locks on "
                (words::number(line.number("relations").unwrap_or_default())) " relations"
                @if let pawang_core::Value::List(exclusive) = line.value("access_exclusive") {
                    @if !exclusive.is_empty() { ", AccessExclusive on " (one_line(&exclusive.join(", "), QUERY_CHARS)) }
                }
                ". "
            }
        }
    }

    fn query(&self, row: &Row<'_>) -> Markup {
        let text = row.text("query").filter(|text| !text.is_empty());
        html! {
            @match text {
                None => {},
                Some(HIDDEN) => p .none { "query hidden: the monitoring role is not a member of pg_monitor" },
                Some(text) => p { code .sql { (one_line(&shown(self.visit, text), QUERY_CHARS)) }
                    " " a href=(path(self.visit, &instance_path(self.name, "activity"),
                        &[("user", row.text("usename").unwrap_or_default())])) { "its user's sessions" } },
            }
        }
    }
}

fn depth_of(branch: &Branch<'_>) -> usize {
    branch.depth.min(DEPTH_MAX)
}

fn who(row: &Row<'_>) -> Markup {
    let text = |name: &str| row.text(name).filter(|text| !text.is_empty());
    html! {
        (text("usename").or_else(|| text("backend_type")).unwrap_or("a process"))
        @if let Some(database) = text("datname") { " in " (database) }
        @if let Some(application) = text("application_name") { small { " " (application) } }
        @if let Some(client) = text("client_addr") { small { " " (client) } }
    }
}

/// Shows what ends a root: for people to run, in the order of harm.
fn remedy(branch: &Branch<'_>, row: &Row<'_>) -> Markup {
    let process = branch.process;
    html! {
        details {
            summary { "How to end it" }
            @if process == 0 {
                @for gid in row.list("gids") { (words::copyable(&format!("ROLLBACK PREPARED '{}';", gid.replace('\'', "''")))) }
            } @else {
                p .muted { "Ask its owner to commit or roll back first. Cancelling ends the statement, terminating ends the session: its work since BEGIN is lost, and rolling back takes time." }
                (words::copyable(&format!("SELECT pg_cancel_backend({process});")))
                (words::copyable(&format!("SELECT pg_terminate_backend({process});")))
            }
        }
    }
}
