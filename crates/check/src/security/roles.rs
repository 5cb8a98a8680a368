//! Who may do what to the whole server, and how they prove who they are.

use pawang_core::{Level, Missing, Row, Timestamp, Unit};

use super::{judged, monitor, quoted, setting_row};
use crate::{Check, Direction, Group, Observation, Scope, View};

/// The role that initdb made has this identity, whatever its name is.
const BOOTSTRAP_OID: i64 = 10;
const DAY_SECONDS: f64 = 86_400.0;

const ROLES: Check = Check {
    id: "",
    group: Group::Security,
    title: "",
    scope: Scope::Server,
    needs: &["roles"],
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

pub(super) const SUPERUSERS: Check = Check {
    id: "superusers",
    title: "superusers besides the first",
    what: "Every role with SUPERUSER and LOGIN except the one that initdb made, from pg_roles, whatever its name: names such as pgbouncer \
           or pgadmin begin with pg but are no system roles, and count.",
    why: "A superuser passes every privilege check, reads every file of the server and runs programs on its machine: one stolen password \
          is the whole machine.",
    fix: "ALTER ROLE ... NOSUPERUSER; and grant what it really needs, such as pg_monitor. Accept a person's account by switching this check \
          off for that object.",
    observe: superusers,
    ..ROLES
};

pub(super) const SUPERUSER_MEMBERS: Check = Check {
    id: "superuser-members",
    title: "roles that can become superuser",
    needs: &["role-memberships"],
    what: "Members of a superuser role that are no superusers themselves, from pg_auth_members: SET ROLE makes them one.",
    why: "They appear in no list of superusers and are as powerful.",
    fix: "REVOKE role FROM member;",
    observe: superuser_members,
    ..ROLES
};

pub(super) const SUPERUSER_SESSIONS: Check = Check {
    id: "superuser-sessions",
    title: "superusers connected over the network",
    needs: &["superuser-sessions"],
    unit: Unit::Count,
    warning: Some(1.0),
    what: "Client backends of superusers that came over TCP, by role, application and address, from pg_stat_activity. Sessions over the \
           Unix socket are maintenance and do not count.",
    why: "An application that logs in as superuser turns each of its faults, SQL injection first, into the loss of the machine.",
    fix: "Give the application a role of its own that owns nothing and may do only what it needs; let superusers in by local lines only.",
    observe: superuser_sessions,
    ..ROLES
};

pub(super) const SERVER_FILE_ROLES: Check = Check {
    id: "server-file-roles",
    title: "roles that reach the server's files",
    needs: &["role-memberships"],
    what: "Members of pg_execute_server_program, pg_write_server_files and pg_read_server_files that are no superusers, from pg_auth_members.",
    why: "With COPY ... PROGRAM or a written file such a role becomes superuser and the server's operating-system user; reading files \
          includes pg_authid's and the keys.",
    fix: "REVOKE pg_execute_server_program FROM member; load files with \\copy from the client instead.",
    observe: server_file_roles,
    ..ROLES
};

pub(super) const ROLE_POWERS: Check = Check {
    id: "role-powers",
    title: "roles one step from superuser",
    needs: &["roles"],
    what: "Roles without SUPERUSER that can log in and have CREATEROLE before PostgreSQL 16, where it lets them grant any role to \
           themselves, or BYPASSRLS, which reads past every policy; from pg_roles.",
    why: "Both are rarely needed and easily forgotten.",
    fix: "ALTER ROLE ... NOCREATEROLE NOBYPASSRLS;",
    observe: role_powers,
    ..ROLES
};

pub(super) const PASSWORD_EXPIRY: Check = Check {
    id: "password-expiry",
    title: "passwords that expire",
    unit: Unit::Days,
    direction: Direction::Below,
    warning: Some(14.0),
    critical: Some(0.0),
    what: "Days until VALID UNTIL of roles that can log in, from pg_roles; expired ones are negative. It ends logins by password only: \
           with trust, peer, cert, ldap or gss, and in sessions that exist, the role goes on working.",
    why: "An application whose password expires stops at that very second; and whoever relies on VALID UNTIL to lock an account is wrong.",
    fix: "ALTER ROLE ... PASSWORD ... VALID UNTIL ...; or lock the account in earnest: ALTER ROLE ... NOLOGIN; and end its sessions.",
    observe: password_expiry,
    ..ROLES
};

pub(super) const PASSWORD_ENCRYPTION: Check = Check {
    id: "password-encryption",
    title: "new passwords are stored as SCRAM",
    needs: &["settings"],
    what: "The setting password_encryption, from pg_settings.",
    why: "An md5 verifier that leaks is as good as the password itself, and PostgreSQL 18 warns that md5 will be removed.",
    fix: "ALTER SYSTEM SET password_encryption = 'scram-sha-256'; SELECT pg_reload_conf(); then let every role set its password anew.",
    observe: |view| {
        let text = "new passwords get a verifier that is as good as the password when it leaks";
        judged(
            view,
            "password_encryption",
            Level::Warning,
            |value| value == "md5",
            text,
        )
    },
    ..ROLES
};

pub(super) const MD5_PASSWORDS: Check = Check {
    id: "md5-passwords",
    title: "passwords stored as md5",
    needs: &["password-verifiers"],
    what: "Roles whose stored verifier is md5, from pg_authid. Only a superuser may look, and the verifiers themselves are never read out.",
    why: "An md5 verifier that leaks is as good as the password itself; md5 lines in pg_hba.conf cannot be closed while they exist.",
    fix: "Set password_encryption = 'scram-sha-256' and let the role set its password anew with \\password.",
    observe: md5_passwords,
    ..ROLES
};

pub(super) const PASSWORD_IN_CONNINFO: Check = Check {
    id: "password-in-conninfo",
    title: "passwords in primary_conninfo",
    needs: &["settings"],
    what: "Whether the setting primary_conninfo contains a password, from pg_settings.",
    why: "Every member of pg_monitor can read settings, and the password of a replication role opens the whole cluster.",
    fix: "Move it to ~/.pgpass of the server's operating-system user and remove password= from primary_conninfo, or use a client certificate.",
    observe: password_in_conninfo,
    ..ROLES
};

pub(super) const PARAMETER_GRANTS: Check = Check {
    id: "parameter-grants",
    title: "settings that PUBLIC may change",
    needs: &["parameter-grants"],
    what: "Privileges SET and ALTER SYSTEM on settings that PUBLIC holds, from pg_parameter_acl (PostgreSQL 15 and newer).",
    why: "Settings that are kept for superusers guard logging, loading of libraries and data safety.",
    fix: "REVOKE SET, ALTER SYSTEM ON PARAMETER ... FROM PUBLIC;",
    observe: parameter_grants,
    ..ROLES
};

fn superusers(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let roles = view.snapshot("roles")?;
    let more = roles.rows().filter(|row| {
        row.flag("rolsuper") == Some(true)
            && row.flag("rolcanlogin") == Some(true)
            && row.int("oid") != Some(BOOTSTRAP_OID)
    });
    let observation = |row: Row<'_>| {
        let name = row.text("rolname").unwrap_or_default();
        Observation {
            object: name.to_owned(),
            value: 1.0,
            level: Some(Level::Warning),
            title: format!("role \"{name}\" is a superuser and can log in"),
            evidence: row.evidence(&["rolname", "rolsuper", "rolreplication", "rolvaliduntil"]),
            remedy: Some(format!("ALTER ROLE {} NOSUPERUSER;", quoted(name))),
            ..Observation::default()
        }
    };
    Ok(more.map(observation).collect())
}

fn superuser_members(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    memberships(
        view,
        |row| row.flag("role_superuser") == Some(true),
        "can become superuser with SET ROLE",
    )
}

fn server_file_roles(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let reaches = |row: Row<'_>| {
        matches!(
            row.text("role"),
            Some("pg_execute_server_program" | "pg_write_server_files" | "pg_read_server_files")
        )
    };
    memberships(view, reaches, "reaches the server's files and programs")
}

fn memberships(
    view: &View<'_>,
    wanted: impl Fn(Row<'_>) -> bool,
    consequence: &str,
) -> Result<Vec<Observation>, Missing> {
    let memberships = view.snapshot("role-memberships")?;
    let found = memberships
        .rows()
        .filter(|row| wanted(*row) && row.flag("member_superuser") != Some(true));
    let observation = |row: Row<'_>| {
        let role = row.text("role").unwrap_or_default();
        let member = row.text("member").unwrap_or_default();
        Observation {
            object: member.to_owned(),
            value: 1.0,
            level: Some(Level::Warning),
            title: format!("role \"{member}\" is a member of \"{role}\" and {consequence}"),
            evidence: row.evidence(&[
                "role",
                "member",
                "grantor",
                "member_can_login",
                "admin_option",
            ]),
            remedy: Some(format!("REVOKE {} FROM {};", quoted(role), quoted(member))),
            ..Observation::default()
        }
    };
    Ok(found.map(observation).collect())
}

fn superuser_sessions(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    monitor(view, "where other sessions come from")?;
    let sessions = view.snapshot("superuser-sessions")?;
    let observation = |row: Row<'_>| {
        let text = |name| row.text(name).unwrap_or_default();
        let (role, application, address) = (
            text("usename"),
            text("application_name"),
            text("client_addr"),
        );
        let count = row.float("sessions").unwrap_or(f64::NAN);
        Observation {
            object: format!("{role} {application} {address}"),
            value: count,
            title: format!(
                "{count:.0} sessions of superuser \"{role}\" by application \"{application}\" from {address}"
            ),
            since: row.time("oldest_backend_start"),
            evidence: row.evidence(&["usename", "application_name", "client_addr", "sessions"]),
            ..Observation::default()
        }
    };
    Ok(sessions.rows().map(observation).collect())
}

fn role_powers(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let roles = view.snapshot("roles")?;
    let before_16 = view.server()?.major() < 16;
    let mut observations = Vec::new();
    for row in roles.rows() {
        let has = |name| row.flag(name) == Some(true);
        if has("rolsuper") || !has("rolcanlogin") {
            continue;
        }
        let (level, power, undo) = match (has("rolcreaterole") && before_16, has("rolbypassrls")) {
            (true, _) => (
                Level::Warning,
                "has CREATEROLE and can grant itself any role but superusers",
                "NOCREATEROLE",
            ),
            (false, true) => (
                Level::Info,
                "has BYPASSRLS and reads past every policy",
                "NOBYPASSRLS",
            ),
            (false, false) => continue,
        };
        let name = row.text("rolname").unwrap_or_default();
        observations.push(Observation {
            object: name.to_owned(),
            value: 1.0,
            level: Some(level),
            title: format!("role \"{name}\" {power}"),
            evidence: row.evidence(&["rolname", "rolcreaterole", "rolbypassrls"]),
            remedy: Some(format!("ALTER ROLE {} {undo};", quoted(name))),
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn password_expiry(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let roles = view.snapshot("roles")?;
    let observation = |row: Row<'_>| {
        if row.flag("rolcanlogin") != Some(true) {
            return None;
        }
        let until: Timestamp = row.time("rolvaliduntil")?;
        let name = row.text("rolname").unwrap_or_default();
        let days = until.duration_since(view.now).as_secs_f64() / DAY_SECONDS;
        let expired = days <= 0.0;
        let title = if expired {
            format!(
                "the password of role \"{name}\" expired {:.0} days ago: logins by password are refused, all others still work",
                -days
            )
        } else {
            format!("the password of role \"{name}\" expires in {days:.0} days")
        };
        Some(Observation {
            object: name.to_owned(),
            value: days,
            title,
            since: expired.then_some(until),
            evidence: row.evidence(&["rolname", "rolvaliduntil"]),
            remedy: Some(format!(
                "ALTER ROLE {} VALID UNTIL '...'; or, to lock the account: ALTER ROLE {} NOLOGIN;",
                quoted(name),
                quoted(name)
            )),
            ..Observation::default()
        })
    };
    Ok(roles.rows().filter_map(observation).collect())
}

fn md5_passwords(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let verifiers = view.snapshot("password-verifiers")?;
    let md5 = verifiers
        .rows()
        .filter(|row| row.text("kind") == Some("md5"));
    let observation = |row: Row<'_>| {
        let name = row.text("rolname").unwrap_or_default();
        Observation {
            object: name.to_owned(),
            value: 1.0,
            level: Some(Level::Warning),
            title: format!("the password of role \"{name}\" is stored as md5"),
            evidence: row.evidence(&["rolname", "rolcanlogin", "rolsuper", "kind"]),
            ..Observation::default()
        }
    };
    Ok(md5.map(observation).collect())
}

fn password_in_conninfo(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = setting_row(view, "primary_conninfo")?;
    let text = row.text("setting").unwrap_or_default();
    let inside_url = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('@'))
        .is_some_and(|(user, _)| user.contains(':'));
    let words = text.split(|c: char| c.is_whitespace() || c == '?' || c == '&');
    let wrong = inside_url
        || words
            .map(str::trim)
            .any(|word| word.starts_with("password"));
    Ok(vec![Observation {
        value: f64::from(u8::from(wrong)),
        level: Some(if wrong { Level::Warning } else { Level::Ok }),
        title: "primary_conninfo contains a password that every member of pg_monitor can read"
            .to_owned(),
        evidence: row.evidence(&["name", "source", "sourcefile", "sourceline"]),
        ..Observation::default()
    }])
}

fn parameter_grants(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let grants = view.snapshot("parameter-grants")?;
    let public = grants
        .rows()
        .filter(|row| row.text("grantee") == Some("PUBLIC"));
    let observation = |row: Row<'_>| {
        let name = row.text("parname").unwrap_or_default();
        let privileges = row.list("privileges").join(", ");
        Observation {
            object: name.to_owned(),
            value: 1.0,
            level: Some(Level::Warning),
            title: format!("PUBLIC has {privileges} on setting {name}"),
            remedy: Some(format!(
                "REVOKE {privileges} ON PARAMETER {name} FROM PUBLIC;"
            )),
            ..Observation::default()
        }
    };
    Ok(public.map(observation).collect())
}
