//! Range partitions: made, detached, detaching finished.

use pawang_core::plan::{Relation, Task};

use super::{Facts, Probe, Proof, Recipe, ownership, relation_facts};
use crate::quote;

/// No more rows of a default partition are counted.
const COUNTED_MAX: u32 = 1_000_000;

pub(super) fn recipe(task: &Task) -> Recipe {
    match task {
        Task::CreatePartition {
            parent,
            name,
            from,
            to,
            like,
        } => {
            let model = like.as_ref().unwrap_or(parent);
            create(parent, name, (from, to), model)
        }
        Task::DetachPartition {
            parent,
            partition,
            concurrently,
        } => {
            let how = if *concurrently { " CONCURRENTLY" } else { "" };
            Recipe {
                sql: vec![detach(parent, partition, how)],
                verify: "the table is no partition any more".to_owned(),
                undo: format!(
                    "ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ... TO ... with the bounds of the evidence",
                    quote::relation(parent),
                    quote::relation(partition)
                ),
            }
        }
        Task::FinalizeDetach { parent, partition } => Recipe {
            sql: vec![detach(parent, partition, " FINALIZE")],
            verify: "the table is no partition any more".to_owned(),
            undo: "attach the table again by ALTER TABLE ... ATTACH PARTITION".to_owned(),
        },
        _ => unreachable!("only tasks of partitions come here"),
    }
}

pub(super) fn probe(task: &Task) -> Probe {
    match task {
        Task::CreatePartition {
            parent, name, like, ..
        } => {
            let model = like.as_ref().unwrap_or(parent);
            Probe {
                facts: Some(parent_facts(parent, name, model)),
                numbers: None,
                proof: Proof::Holds(attached(parent, name)),
                privilege: Some(creation(parent.oid, model.oid)),
            }
        }
        Task::DetachPartition { partition, .. } | Task::FinalizeDetach { partition, .. } => Probe {
            facts: Some(relation_facts(
                partition.oid,
                ",
    (SELECT pg_catalog.bool_or(i.inhdetachpending)::pg_catalog.text
        FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = c.oid) AS pending,
    pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound",
            )),
            numbers: None,
            proof: Proof::Holds(format!(
                "SELECT (NOT c.relispartition)::pg_catalog.text FROM pg_catalog.pg_class AS c WHERE c.oid = {}",
                partition.oid
            )),
            privilege: Some(ownership(partition.oid, "", None)),
        },
        _ => unreachable!("only tasks of partitions come here"),
    }
}

/// Returns why a partition cannot be made.
pub(super) fn refusal(facts: &Facts) -> Option<String> {
    let fact = |name: &str| facts.get(name).map_or("", String::as_str);
    if fact("relkind") != "p" {
        return Some("the table is not partitioned".to_owned());
    }
    if !fact("key").starts_with("RANGE ") {
        return Some(format!(
            "the table is partitioned by {}, not by range",
            fact("key")
        ));
    }
    if fact("like").is_empty() {
        return Some("the partition that it was to be like is gone".to_owned());
    }
    if !fact("taken").is_empty() {
        return Some("another relation already has the name of the partition".to_owned());
    }
    None
}

/// Returns the statement that attaches a partition again, with the bound that it has.
pub(super) fn undo(parent: &Relation, partition: &Relation, facts: &Facts) -> Option<String> {
    let bound = facts.get("bound").filter(|bound| !bound.is_empty())?;
    Some(format!(
        "ALTER TABLE {} ATTACH PARTITION {} {bound};",
        quote::relation(parent),
        quote::relation(partition)
    ))
}

/// Returns what people have to know of a new partition that its statements do not say.
pub(super) fn evidence(parent: &Relation, name: &str, facts: &Facts) -> Option<(String, String)> {
    let publications = facts
        .get("publications")
        .filter(|names| !names.is_empty())?;
    let told = format!(
        "{publications} has the partition that it is like by name, not by its table: a new one is only in it after ALTER PUBLICATION ... ADD \
         TABLE {}, once the subscribers have it",
        quote::qualified(&parent.schema, name)
    );
    Some(("publication".to_owned(), told))
}

/// Returns a query of how many rows of the default partition belong to the range, as far as it is counted; `None`
/// without a default partition. The facts are those of the parent.
pub(crate) fn default_rows(task: &Task, facts: &Facts) -> Option<String> {
    let Task::CreatePartition { from, to, .. } = task else {
        return None;
    };
    let default = facts.get("default").filter(|name| !name.is_empty())?;
    let column = facts.get("key_column").filter(|name| !name.is_empty())?;
    let (from, to) = (quote::text(from), quote::text(to));
    Some(format!(
        "SELECT pg_catalog.count(*)::pg_catalog.text AS rows
FROM (SELECT FROM {default} AS d WHERE {column} >= {from} AND {column} < {to} LIMIT {COUNTED_MAX}) AS r"
    ))
}

/// ATTACH takes no lock that stops readers or writers of the parent; CREATE ... PARTITION OF would stop them all.
fn create(parent: &Relation, name: &str, (from, to): (&str, &str), model: &Relation) -> Recipe {
    let partition = quote::qualified(&parent.schema, name);
    let table = quote::relation(parent);
    let code = |code: &str| {
        let code = code
            .replace(
                "{made}",
                &format!("{}::pg_catalog.regclass", quote::text(&partition)),
            )
            .replace("{parent}", &parent.oid.to_string())
            .replace("{model}", &model.oid.to_string());
        format!("DO {}", quote::text(&code))
    };
    Recipe {
        sql: vec![
            "BEGIN".to_owned(),
            format!("CREATE TABLE {partition} (LIKE {table} INCLUDING ALL EXCLUDING IDENTITY)"),
            code(ALIKE),
            format!(
                "ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ({}) TO ({})",
                quote::text(from),
                quote::text(to)
            ),
            code(ALIKE_ATTACHED),
            "COMMIT".to_owned(),
        ],
        verify: "the partition is attached".to_owned(),
        undo: format!(
            "ALTER TABLE {table} DETACH PARTITION {partition} CONCURRENTLY; DROP TABLE {partition};"
        ),
    }
}

/// A partition belongs to the owner of its table, not to Pawang's role; what LIKE does not bring it has as the model has it.
/// Who may read the new one is never more than who may read the model: rights by default are taken away, row security is
/// as strict.
const ALIKE: &str = include_str!("partition_alike.sql");

/// What needs the indexes of the table to be those of the partition.
const ALIKE_ATTACHED: &str = include_str!("partition_attached.sql");

/// Returns a query of whether the role may make a partition: as owner, in the schema, in the tablespace, and whether the
/// owner may have it there.
fn creation(parent: u32, model: u32) -> String {
    let missing = format!(
        "CASE
        WHEN NOT pg_catalog.pg_has_role(current_user, c.relowner, 'USAGE')
        THEN pg_catalog.format('GRANT %I TO %I;', pg_catalog.pg_get_userbyid(c.relowner), current_user)
        WHEN NOT pg_catalog.has_schema_privilege(current_user, c.relnamespace, 'CREATE')
        THEN pg_catalog.format('GRANT CREATE ON SCHEMA %s TO %I;', c.relnamespace::pg_catalog.regnamespace, current_user)
        WHEN NOT pg_catalog.has_schema_privilege(c.relowner, c.relnamespace, 'CREATE')
            AND pg_catalog.current_setting('is_superuser') <> 'on'
        THEN pg_catalog.format('GRANT CREATE ON SCHEMA %s TO %I;',
            c.relnamespace::pg_catalog.regnamespace, pg_catalog.pg_get_userbyid(c.relowner))
        ELSE (SELECT pg_catalog.string_agg(
                pg_catalog.format('GRANT CREATE ON TABLESPACE %I TO %I;', s.spcname, current_user), ' ')
            FROM pg_catalog.pg_tablespace AS s
            WHERE s.oid = COALESCE(NULLIF(c.reltablespace, 0),
                    (SELECT m.reltablespace FROM pg_catalog.pg_class AS m WHERE m.oid = {model}))
                AND NOT pg_catalog.has_tablespace_privilege(current_user, s.oid, 'CREATE'))
    END"
    );
    format!(
        "SELECT (x.missing IS NULL)::pg_catalog.text AS may, x.missing AS grant
FROM (SELECT {missing} AS missing FROM pg_catalog.pg_class AS c WHERE c.oid = {parent}) AS x"
    )
}

fn detach(parent: &Relation, partition: &Relation, how: &str) -> String {
    format!(
        "ALTER TABLE {} DETACH PARTITION {}{how}",
        quote::relation(parent),
        quote::relation(partition)
    )
}

fn parent_facts(parent: &Relation, name: &str, model: &Relation) -> String {
    let partition = quote::text(&quote::qualified(&parent.schema, name));
    let model = model.oid;
    relation_facts(
        parent.oid,
        &format!(
            ",
    pg_catalog.pg_get_partkeydef(c.oid) AS key,
    (SELECT CASE WHEN t.partnatts = 1 AND t.partattrs[0] > 0 THEN pg_catalog.quote_ident(a.attname)
            WHEN t.partnatts = 1 THEN '(' || pg_catalog.pg_get_expr(t.partexprs, c.oid) || ')' END
        FROM pg_catalog.pg_partitioned_table AS t
        LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = t.partattrs[0]
        WHERE t.partrelid = c.oid) AS key_column,
    (SELECT pg_catalog.format('%I.%I', dn.nspname, d.relname)
        FROM pg_catalog.pg_partitioned_table AS t
        JOIN pg_catalog.pg_class AS d ON d.oid = t.partdefid
        JOIN pg_catalog.pg_namespace AS dn ON dn.oid = d.relnamespace
        WHERE t.partrelid = c.oid) AS default,
    (SELECT m.oid::pg_catalog.text FROM pg_catalog.pg_class AS m WHERE m.oid = {model} AND (m.oid = c.oid OR EXISTS (
        SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = m.oid AND i.inhparent = c.oid))) AS like,
    (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(b.pubname), ', ' ORDER BY b.pubname)
        FROM pg_catalog.pg_publication_rel AS r
        JOIN pg_catalog.pg_publication AS b ON b.oid = r.prpubid
        WHERE r.prrelid = {model} AND {model} <> c.oid) AS publications,
    pg_catalog.to_regclass({partition})::pg_catalog.oid::pg_catalog.text AS taken"
        ),
    )
}

fn attached(parent: &Relation, name: &str) -> String {
    format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits AS i
    WHERE i.inhparent = {} AND i.inhrelid = pg_catalog.to_regclass({}) AND NOT i.inhdetachpending)::pg_catalog.text",
        parent.oid,
        quote::text(&quote::qualified(&parent.schema, name))
    )
}
