//! pgaudit: its CSV inside the message, by class, command, role and object.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::table::{Amount, Table, top};
use super::{Event, Options, ShapeId, Shapes};
use crate::extract::{csv_fields, named, printable};
use crate::report;

/// Most classes; pgaudit has nine.
const CLASSES_MAX: usize = 50;

/// Most commands that are told apart.
const COMMANDS_MAX: usize = 500;

/// Most roles that are told apart.
const USERS_MAX: usize = 2_000;

/// Most objects that are told apart.
const OBJECTS_MAX: usize = 10_000;

/// Most changes that are kept, the latest.
const CHANGES_MAX: usize = 500;

/// Longest name of an object, in bytes: three names with their dots.
const NAME_BYTES_MAX: usize = 200;

/// Fields of a record up to the statement: type, two counters, class, command, kind and name of the object, statement.
const FIELDS: usize = 8;

/// pgaudit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Audit {
    count: u64,
    classes: Table<u64, CLASSES_MAX>,
    commands: Table<u64, COMMANDS_MAX>,
    users: Table<u64, USERS_MAX>,
    objects: Table<Amount, OBJECTS_MAX>,
    changes: VecDeque<Change>,
    changed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Change {
    at: Option<i64>,
    user: String,
    database: String,
    command: String,
    object: String,
    shape: Option<ShapeId>,
}

impl Audit {
    /// Adds one record.
    pub(crate) fn take(&mut self, event: &Event<'_>, shapes: &mut Shapes) {
        let record = event.record;
        let Some(rest) = record.message.strip_prefix(b"AUDIT: ") else {
            return;
        };
        let fields = csv_fields(rest, FIELDS);
        let field = |index: usize| fields.get(index).map_or(b"".as_slice(), |field| field);
        self.count += 1;
        let (class, command) = (field(3), field(4));
        self.classes.count(class);
        self.commands.count(command);
        self.users.count(record.user);
        let object = [field(5), field(6)].join(&b' ');
        let object = object.trim_ascii();
        if !object.is_empty() {
            self.objects
                .change(object, |amount| amount.add(record.at, 0));
        }
        if matches!(class, b"DDL" | b"ROLE") {
            self.changed += 1;
            self.changes.push_back(Change {
                at: record.at,
                user: printable(&named(record.user), NAME_BYTES_MAX),
                database: printable(&named(record.database), NAME_BYTES_MAX),
                command: printable(command, NAME_BYTES_MAX),
                object: printable(object, NAME_BYTES_MAX),
                shape: statement(field(7)).map(|text| shapes.of(text)),
            });
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        let surplus = self.changes.len().saturating_sub(CHANGES_MAX);
        self.changes.drain(..surplus);
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, later: Audit) {
        self.count += later.count;
        self.classes.absorb(later.classes);
        self.commands.absorb(later.commands);
        self.users.absorb(later.users);
        self.objects.absorb(later.objects);
        self.changed += later.changed;
        self.changes.extend(later.changes);
        self.shrink();
    }

    /// Returns its part of the report.
    pub(crate) fn report(&self, shapes: &Shapes, options: &Options) -> report::Audit {
        let objects = self.objects.iter();
        let mut objects: Vec<report::Counted> = objects
            .map(|(name, amount)| amount.counted(String::new(), name))
            .collect();
        objects.sort_by(|left, right| left.text.cmp(&right.text));
        let change = |change: &Change| report::AuditChange {
            at: change.at,
            user: change.user.clone(),
            database: change.database.clone(),
            command: change.command.clone(),
            object: change.object.clone(),
            statement: change
                .shape
                .map_or_else(String::new, |shape| shapes.text(shape).to_owned()),
        };
        let latest = self.changes.iter().rev().take(options.items);
        report::Audit {
            count: self.count,
            classes: self.classes.counts(),
            commands: self.commands.counts(),
            users: self.users.counts(),
            objects: top(objects, options.items, self.objects.complete(), |object| {
                object.count
            }),
            changes: report::Top {
                items: latest.map(change).collect(),
                total: self.changed,
                complete: self.changed <= CHANGES_MAX as u64,
            },
        }
    }
}

/// Returns the statement, where pgaudit was told to log it.
fn statement(field: &[u8]) -> Option<&[u8]> {
    let told = !matches!(field, b"" | b"<not logged>" | b"<previously logged>");
    told.then_some(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::testing::taken;

    #[test]
    fn records_are_counted_by_class_command_and_object() {
        let (mut audit, mut shapes) = (Audit::default(), Shapes::default());
        for message in [
            r#"AUDIT: SESSION,1,1,READ,SELECT,TABLE,public.t,"select * from t where a = ""x, y""",<none>"#,
            r"AUDIT: SESSION,2,1,READ,SELECT,,,select 1,<none>",
            r#"AUDIT: SESSION,3,1,DDL,CREATE TABLE,TABLE,public.u,"create table u (id int,
  v text)",<not logged>"#,
            r"AUDIT: SESSION,4,1,ROLE,ALTER ROLE,,,<previously logged>,<previously logged>",
            r"AUDIT: ",
        ] {
            taken(message, |event| audit.take(event, &mut shapes));
        }
        let report = audit.report(&shapes, &Options::default());
        assert_eq!(report.count, 5);
        assert_eq!(
            (report.classes["READ"], report.commands["CREATE TABLE"]),
            (2, 1)
        );
        assert_eq!(report.objects.total, 2);
        assert_eq!(report.objects.items[0].text, "TABLE public.t");
        assert_eq!(report.changes.total, 2);
        assert_eq!(report.changes.items[0].command, "ALTER ROLE");
        assert_eq!(report.changes.items[0].statement, "");
        assert_eq!(report.changes.items[1].object, "TABLE public.u");
        assert!(
            report.changes.items[1]
                .statement
                .to_lowercase()
                .starts_with("create table u")
        );
    }

    #[test]
    fn the_latest_changes_stay() {
        let (mut audit, mut shapes) = (Audit::default(), Shapes::default());
        for number in 0..CHANGES_MAX + 7 {
            let message = format!(
                "AUDIT: SESSION,{number},1,DDL,DROP TABLE,TABLE,public.t{number},drop,<none>"
            );
            taken(&message, |event| audit.take(event, &mut shapes));
        }
        let report = audit.report(&shapes, &Options::default());
        assert_eq!(report.changes.total, CHANGES_MAX as u64 + 7);
        assert!(!report.changes.complete);
        assert_eq!(
            report.changes.items[0].object,
            format!("TABLE public.t{}", CHANGES_MAX + 6)
        );
    }
}
