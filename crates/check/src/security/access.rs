//! What everybody may do inside a database, and code that runs with another's privileges.

use pawang_core::{Level, Missing, Row, Unit};

use super::quoted;
use crate::{Check, Direction, Group, Observation, Scope, View};

/// Privileges that change a table.
const WRITES: [&str; 6] = [
    "INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "MAINTAIN",
];

const ACCESS: Check = Check {
    id: "",
    group: Group::Security,
    title: "",
    scope: Scope::Database,
    needs: &["grants"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "",
    why: "",
    fix: "",
    observe: |_| Ok(Vec::new()),
};

pub(super) const PUBLIC_CREATE: Check = Check {
    id: "public-create",
    title: "schemas in which everybody may create",
    what: "Schemas on which PUBLIC has CREATE, from pg_namespace. Before PostgreSQL 15 the schema public is made that way, and an upgrade \
           keeps it.",
    why: "Any role can put a function or table there that others then call or read by mistake (CVE-2018-1058).",
    fix: "REVOKE CREATE ON SCHEMA public FROM PUBLIC;",
    observe: public_create,
    ..ACCESS
};

pub(super) const PUBLIC_GRANTS: Check = Check {
    id: "public-grants",
    title: "tables that everybody may use",
    what: "Tables, views, sequences and foreign servers on which PUBLIC has a privilege, from the catalogs' own access lists \
           (information_schema shows only the reader's own grants). Objects of extensions do not count. At most 1,000 per database; \
           writing is critical, reading a warning.",
    why: "A grant to PUBLIC reaches every role that can connect, also those made next year, and no list of a role's grants shows it.",
    fix: "REVOKE ... FROM PUBLIC; and grant to the roles that need it.",
    observe: public_grants,
    ..ACCESS
};

pub(super) const PUBLIC_COLUMN_GRANTS: Check = Check {
    id: "public-column-grants",
    title: "columns that everybody may use",
    needs: &["column-grants"],
    what: "Columns on which PUBLIC has a privilege, from pg_attribute: they count even where the table itself is closed, and \\dp shows \
           them apart. Objects of extensions do not count; at most 1,000 per database. Reading pg_attribute takes about 0.1 s at 10,000 \
           tables.",
    why: "GRANT SELECT (salary) TO PUBLIC reaches every role that can connect, and no privilege of the table tells.",
    fix: "REVOKE ... (column) ON TABLE ... FROM PUBLIC; and grant to the roles that need it.",
    observe: public_column_grants,
    ..ACCESS
};

pub(super) const DEFAULT_PRIVILEGES: Check = Check {
    id: "default-privileges",
    title: "defaults that give new objects to everybody",
    needs: &["default-privileges"],
    what: "ALTER DEFAULT PRIVILEGES ... TO PUBLIC for tables, sequences, schemas and large objects, from pg_default_acl. EXECUTE on \
           functions and USAGE on types are PUBLIC's anyway.",
    why: "Every table created from now on is open to every role, and nobody sees a GRANT.",
    fix: "ALTER DEFAULT PRIVILEGES FOR ROLE ... REVOKE ... FROM PUBLIC; and revoke on what was created meanwhile.",
    observe: default_privileges,
    ..ACCESS
};

pub(super) const DATABASE_GRANTS: Check = Check {
    id: "database-grants",
    title: "databases in which everybody may create schemas",
    scope: Scope::Server,
    needs: &["database-grants"],
    what: "Databases on which PUBLIC has CREATE, from pg_database. CONNECT and TEMPORARY are PUBLIC's by default and do not count.",
    why: "Any role can make schemas and, if they are trusted, install extensions there.",
    fix: "REVOKE CREATE ON DATABASE ... FROM PUBLIC;",
    observe: database_grants,
    ..ACCESS
};

pub(super) const SECURITY_DEFINER_PATH: Check = Check {
    id: "security-definer-search-path",
    title: "SECURITY DEFINER without search_path",
    needs: &["security-definer"],
    what: "SECURITY DEFINER functions and procedures without SET search_path, from pg_proc; critical when the owner is a superuser and \
           PUBLIC may call it. Objects of extensions do not count.",
    why: "The caller's search_path decides which tables and operators the body means: the caller puts his own in front and acts as owner.",
    fix: "ALTER FUNCTION ... SET search_path = pg_catalog, pg_temp; and qualify the names in its body.",
    observe: security_definer_path,
    ..ACCESS
};

pub(super) const SECURITY_DEFINER_PUBLIC: Check = Check {
    id: "security-definer-public",
    title: "SECURITY DEFINER that everybody may call",
    needs: &["security-definer"],
    what: "SECURITY DEFINER functions and procedures that PUBLIC may execute, from pg_proc; a new function is born that way. Trigger \
           functions cannot be called and do not count. Inside such a function current_user is its owner, so a check of current_user \
           passes for everybody; session_user is the caller.",
    why: "It lends its owner's privileges to every role that can connect.",
    fix: "REVOKE EXECUTE ON FUNCTION ... FROM PUBLIC; and grant it to the roles that need it.",
    observe: security_definer_public,
    ..ACCESS
};

pub(super) const ROW_SECURITY_OFF: Check = Check {
    id: "row-security-off",
    title: "policies that do not act",
    needs: &["row-security"],
    what: "Tables that have policies while row security is not enabled, from pg_class and pg_policy.",
    why: "The policies look like protection and every row is visible.",
    fix: "ALTER TABLE ... ENABLE ROW LEVEL SECURITY;",
    observe: row_security_off,
    ..ACCESS
};

pub(super) const ROW_SECURITY_NOT_FORCED: Check = Check {
    id: "row-security-not-forced",
    title: "row security that owners bypass",
    needs: &["row-security"],
    what: "Tables with row security enabled but not forced, from pg_class: the owner sees and changes every row.",
    why: "An application that logs in as owner of its tables, as many do, is not held by its own policies.",
    fix: "ALTER TABLE ... FORCE ROW LEVEL SECURITY; or let the application log in as another role than the owner.",
    observe: row_security_not_forced,
    ..ACCESS
};

pub(super) const UNTRUSTED_LANGUAGES: Check = Check {
    id: "untrusted-languages",
    title: "untrusted procedural languages",
    needs: &["languages"],
    what: "Installed untrusted languages such as plpython3u, and how many functions use them, from pg_language and pg_proc. Only \
           superusers can write functions in them, whatever USAGE says.",
    why: "Functions in such a language do on the server's machine whatever its operating-system user may do.",
    fix: "DROP EXTENSION plpython3u; if nothing needs it; see who may call what is written in it with \\df+.",
    observe: untrusted_languages,
    ..ACCESS
};

pub(super) const NATIVE_FUNCTIONS: Check = Check {
    id: "native-functions",
    title: "C functions outside extensions",
    needs: &["native-functions"],
    what: "C functions that belong to no extension, from pg_proc.",
    why: "They run inside the server without any check. Attackers who became superuser leave such functions behind; so do old upgrades.",
    fix: "Find out where the library came from; DROP FUNCTION ...; or package it as an extension.",
    observe: native_functions,
    ..ACCESS
};

pub(super) const EVENT_TRIGGERS: Check = Check {
    id: "event-triggers",
    title: "event triggers that are switched off",
    needs: &["event-triggers"],
    what: "Event triggers that are disabled, from pg_event_trigger.",
    why: "Audit and protection of DDL are often event triggers; one that was switched off for a migration guards nothing.",
    fix: "ALTER EVENT TRIGGER ... ENABLE; or DROP EVENT TRIGGER ...;",
    observe: event_triggers,
    ..ACCESS
};

fn public_create(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let grants = view.here("grants")?;
    let open = grants.rows().filter(|row| {
        row.text("kind") == Some("schema") && row.list("privileges").iter().any(|p| p == "CREATE")
    });
    let observation = |row: Row<'_>| {
        let schema = row.text("schema").unwrap_or_default();
        Observation {
            object: schema.to_owned(),
            value: 1.0,
            level: Some(Level::Warning),
            title: format!("every role may create objects in schema \"{schema}\""),
            evidence: row.evidence(&["schema", "owner", "privileges"]),
            remedy: Some(format!(
                "REVOKE CREATE ON SCHEMA {} FROM PUBLIC;",
                quoted(schema)
            )),
            ..Observation::default()
        }
    };
    Ok(open.map(observation).collect())
}

fn public_grants(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let grants = view.here("grants")?;
    let objects = grants
        .rows()
        .filter(|row| row.text("kind") != Some("schema"));
    let observation = |row: Row<'_>| {
        let text = |name| row.text(name).unwrap_or_default();
        let (kind, schema, name) = (text("kind"), text("schema"), text("name"));
        let privileges = row.list("privileges");
        let writes = privileges.iter().any(|p| WRITES.contains(&p.as_str()));
        let object = if schema.is_empty() {
            name.to_owned()
        } else {
            format!("{schema}.{name}")
        };
        let list = privileges.join(", ");
        Observation {
            value: 1.0,
            level: Some(if writes {
                Level::Critical
            } else {
                Level::Warning
            }),
            title: format!("PUBLIC has {list} on {kind} \"{object}\""),
            evidence: row.evidence(&["kind", "schema", "name", "owner", "privileges"]),
            remedy: Some(revoke(kind, schema, name, &list)),
            object,
            ..Observation::default()
        }
    };
    Ok(objects.map(observation).collect())
}

fn public_column_grants(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let grants = view.here("column-grants")?;
    let observation = |row: Row<'_>| {
        let text = |name| row.text(name).unwrap_or_default();
        let (schema, table, column) = (text("schema"), text("table"), text("column"));
        let privileges = row.list("privileges");
        let writes = privileges.iter().any(|p| WRITES.contains(&p.as_str()));
        let each: Vec<String> = privileges
            .iter()
            .map(|privilege| format!("{privilege} ({})", quoted(column)))
            .collect();
        Observation {
            object: format!("{schema}.{table}.{column}"),
            value: 1.0,
            level: Some(if writes {
                Level::Critical
            } else {
                Level::Warning
            }),
            title: format!(
                "PUBLIC has {} on column \"{column}\" of \"{schema}.{table}\"",
                privileges.join(", ")
            ),
            evidence: row.evidence(&["schema", "table", "column", "owner", "privileges"]),
            remedy: Some(format!(
                "REVOKE {} ON TABLE {}.{} FROM PUBLIC;",
                each.join(", "),
                quoted(schema),
                quoted(table)
            )),
            ..Observation::default()
        }
    };
    Ok(grants.rows().map(observation).collect())
}

fn revoke(kind: &str, schema: &str, name: &str, privileges: &str) -> String {
    let qualified = |name: &str| format!("{}.{}", quoted(schema), quoted(name));
    match kind {
        "foreign server" => format!(
            "REVOKE {privileges} ON FOREIGN SERVER {} FROM PUBLIC;",
            quoted(name)
        ),
        "sequence" => format!(
            "REVOKE {privileges} ON SEQUENCE {} FROM PUBLIC;",
            qualified(name)
        ),
        _ => format!(
            "REVOKE {privileges} ON TABLE {} FROM PUBLIC;",
            qualified(name)
        ),
    }
}

fn default_privileges(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let defaults = view.here("default-privileges")?;
    let beyond = defaults
        .rows()
        .filter(|row| !matches!(row.text("object_type"), Some("functions" | "types")));
    let observation = |row: Row<'_>| {
        let text = |name| row.text(name).unwrap_or_default();
        let (role, schema, kind) = (text("role"), text("schema"), text("object_type"));
        let list = row.list("privileges").join(", ");
        let (place, clause) = if schema.is_empty() {
            ("any schema".to_owned(), String::new())
        } else {
            (
                format!("schema \"{schema}\""),
                format!(" IN SCHEMA {}", quoted(schema)),
            )
        };
        Observation {
            object: format!("{role} {kind} in {place}"),
            value: 1.0,
            level: Some(Level::Warning),
            title: format!("new {kind} that \"{role}\" creates in {place} give PUBLIC {list}"),
            evidence: row.evidence(&["role", "schema", "object_type", "privileges"]),
            remedy: Some(format!(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {}{clause} REVOKE {list} ON {} FROM PUBLIC;",
                quoted(role),
                kind.to_uppercase()
            )),
            ..Observation::default()
        }
    };
    Ok(beyond.map(observation).collect())
}

fn database_grants(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let databases = view.snapshot("database-grants")?;
    let open = databases
        .rows()
        .filter(|row| row.list("privileges").iter().any(|p| p == "CREATE"));
    let observation = |row: Row<'_>| {
        let name = row.text("datname").unwrap_or_default();
        Observation {
            object: name.to_owned(),
            value: 1.0,
            level: Some(Level::Warning),
            title: format!("every role may create schemas in database \"{name}\""),
            evidence: row.evidence(&["datname", "owner", "privileges"]),
            remedy: Some(format!(
                "REVOKE CREATE ON DATABASE {} FROM PUBLIC;",
                quoted(name)
            )),
            ..Observation::default()
        }
    };
    Ok(open.map(observation).collect())
}

/// A function as SQL names it: `"schema"."name"(arguments)`.
fn routine(row: Row<'_>) -> String {
    let text = |name| row.text(name).unwrap_or_default();
    format!(
        "{}.{}({})",
        quoted(text("schema")),
        quoted(text("function")),
        text("arguments")
    )
}

/// A function as people name it: `schema.name(arguments)`.
fn shown(row: Row<'_>) -> String {
    let text = |name| row.text(name).unwrap_or_default();
    format!(
        "{}.{}({})",
        text("schema"),
        text("function"),
        text("arguments")
    )
}

fn security_definer_path(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let functions = view.here("security-definer")?;
    let open = functions
        .rows()
        .filter(|row| row.text("search_path").is_none());
    let observation = |row: Row<'_>| {
        let owner = row.text("owner").unwrap_or_default();
        let open = row.flag("owner_superuser") == Some(true)
            && row.flag("public_execute") == Some(true)
            && row.text("kind") != Some("trigger");
        Observation {
            object: shown(row),
            value: 1.0,
            level: Some(if open {
                Level::Critical
            } else {
                Level::Warning
            }),
            title: format!(
                "{} runs as \"{owner}\" with the caller's search_path",
                shown(row)
            ),
            evidence: row.evidence(&["owner", "owner_superuser", "public_execute", "language"]),
            remedy: Some(format!(
                "ALTER ROUTINE {} SET search_path = pg_catalog, {}, pg_temp;",
                routine(row),
                quoted(row.text("schema").unwrap_or_default())
            )),
            ..Observation::default()
        }
    };
    Ok(open.map(observation).collect())
}

fn security_definer_public(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let functions = view.here("security-definer")?;
    let open = functions.rows().filter(|row| {
        row.flag("public_execute") == Some(true) && row.text("kind") != Some("trigger")
    });
    let observation = |row: Row<'_>| {
        let owner = row.text("owner").unwrap_or_default();
        Observation {
            object: shown(row),
            value: 1.0,
            level: Some(Level::Warning),
            title: format!(
                "every role may call {} and acts as \"{owner}\" in it",
                shown(row)
            ),
            evidence: row.evidence(&["owner", "owner_superuser", "search_path", "language"]),
            remedy: Some(format!(
                "REVOKE EXECUTE ON ROUTINE {} FROM PUBLIC;",
                routine(row)
            )),
            ..Observation::default()
        }
    };
    Ok(open.map(observation).collect())
}

fn row_security_off(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let tables = view.here("row-security")?;
    let off = tables
        .rows()
        .filter(|row| row.flag("relrowsecurity") == Some(false));
    let observation = |row: Row<'_>| {
        let policies = row.value("policies");
        let title = |table: &str| {
            format!("{policies} policies on \"{table}\" do not act: row security is not enabled")
        };
        table(row, Level::Warning, title, "ENABLE")
    };
    Ok(off.map(observation).collect())
}

fn row_security_not_forced(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let tables = view.here("row-security")?;
    let bypassed = tables.rows().filter(|row| {
        row.flag("relrowsecurity") == Some(true) && row.flag("relforcerowsecurity") == Some(false)
    });
    let observation = |row: Row<'_>| {
        let owner = row.text("owner").unwrap_or_default();
        let title =
            |table: &str| format!("the policies on \"{table}\" do not hold its owner \"{owner}\"");
        table(row, Level::Info, title, "FORCE")
    };
    Ok(bypassed.map(observation).collect())
}

fn table(row: Row<'_>, level: Level, title: impl Fn(&str) -> String, verb: &str) -> Observation {
    let schema = row.text("schema").unwrap_or_default();
    let name = row.text("table").unwrap_or_default();
    let object = format!("{schema}.{name}");
    Observation {
        value: 1.0,
        level: Some(level),
        title: title(&object),
        evidence: row.evidence(&["owner", "relrowsecurity", "relforcerowsecurity", "policies"]),
        remedy: Some(format!(
            "ALTER TABLE {}.{} {verb} ROW LEVEL SECURITY;",
            quoted(schema),
            quoted(name)
        )),
        object,
        ..Observation::default()
    }
}

fn untrusted_languages(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let languages = view.here("languages")?;
    let observation = |row: Row<'_>| {
        let name = row.text("lanname").unwrap_or_default();
        Observation {
            object: name.to_owned(),
            value: row.float("functions").unwrap_or(0.0),
            level: Some(Level::Info),
            title: format!(
                "untrusted language \"{name}\" is installed and used by {} functions",
                row.value("functions")
            ),
            evidence: row.evidence(&["lanname", "owner", "functions"]),
            ..Observation::default()
        }
    };
    Ok(languages.rows().map(observation).collect())
}

fn native_functions(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let functions = view.here("native-functions")?;
    let observation = |row: Row<'_>| Observation {
        object: shown(row),
        value: 1.0,
        level: Some(Level::Warning),
        title: format!(
            "{} is C code of library \"{}\" and belongs to no extension",
            shown(row),
            row.text("library").unwrap_or_default()
        ),
        evidence: row.evidence(&["owner", "library"]),
        remedy: Some(format!("DROP FUNCTION {};", routine(row))),
        ..Observation::default()
    };
    Ok(functions.rows().map(observation).collect())
}

fn event_triggers(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let triggers = view.here("event-triggers")?;
    let observation = |row: Row<'_>| {
        let name = row.text("evtname").unwrap_or_default();
        let disabled = row.text("evtenabled") == Some("D");
        Observation {
            object: name.to_owned(),
            value: f64::from(u8::from(disabled)),
            level: Some(if disabled { Level::Warning } else { Level::Ok }),
            title: format!("event trigger \"{name}\" is disabled"),
            evidence: row.evidence(&["evtname", "evtevent", "evtenabled", "owner", "function"]),
            remedy: Some(format!("ALTER EVENT TRIGGER {} ENABLE;", quoted(name))),
            ..Observation::default()
        }
    };
    Ok(triggers.rows().map(observation).collect())
}
