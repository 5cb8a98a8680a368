//! Who is let in: the lines of `pg_hba.conf`, where the first line that fits decides.

use std::net::IpAddr;

use pawang_core::{Level, Missing, Row, Snapshot, Unit};

use super::listed;
use crate::{Check, Direction, Group, Observation, Scope, View};

const HBA: Check = Check {
    id: "",
    group: Group::Security,
    title: "",
    scope: Scope::Server,
    needs: &["hba-rules"],
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

pub(super) const HBA_TRUST: Check = Check {
    id: "hba-trust",
    title: "logins without any proof",
    what: "Lines with method trust, from pg_hba_file_rules(): critical from other machines, a warning from the server's own. The file is \
           read as it is now; a reload may be pending.",
    why: "Whoever reaches the port or socket is whoever they say they are, superuser included.",
    fix: "Use scram-sha-256 over the network and peer for the Unix socket, then SELECT pg_reload_conf();",
    observe: hba_trust,
    ..HBA
};

pub(super) const HBA_MD5: Check = Check {
    id: "hba-md5",
    title: "weak methods of proof",
    what: "Lines with method md5, password or ident, from pg_hba_file_rules(). An md5 line asks for SCRAM where the stored verifier is \
           SCRAM, but lets md5 verifiers in too; password sends the password itself, which is critical without TLS from other machines.",
    why: "What is sent or stored by these methods is enough to log in again.",
    fix: "Check that no md5 verifiers are left (pawang check md5-passwords), write scram-sha-256 instead, then SELECT pg_reload_conf();",
    observe: hba_md5,
    ..HBA
};

pub(super) const HBA_SUPERUSER: Check = Check {
    id: "hba-superuser",
    title: "superusers let in from other machines",
    needs: &["hba-rules", "roles"],
    what: "Lines from other machines whose role list takes in a superuser (the word all does), unless an earlier line rejects that role \
           from there; from pg_hba_file_rules() and pg_roles.",
    why: "A superuser's stolen password is then worth the machine, from anywhere the line allows.",
    fix: "Put a line such as \"host all postgres all reject\" before it, or list the roles instead of all; then SELECT pg_reload_conf();",
    observe: hba_superuser,
    ..HBA
};

pub(super) const HBA_PLAINTEXT: Check = Check {
    id: "hba-plaintext",
    title: "connections without TLS from other machines",
    what: "Lines of type host or hostnossl that let other machines in, unless an earlier hostnossl line rejects them, from \
           pg_hba_file_rules().",
    why: "A later hostssl line does not force TLS: the first line that fits has let the client in already. Rows can be read on the way.",
    fix: "Write hostssl instead of host, then SELECT pg_reload_conf();",
    observe: hba_plaintext,
    ..HBA
};

pub(super) const HBA_OPEN: Check = Check {
    id: "hba-open",
    title: "any address, any role, any database",
    what: "Lines that let every role into every database from every address, from pg_hba_file_rules().",
    why: "Only the firewall is left between the Internet and the passwords of all roles.",
    fix: "Name the networks, databases and roles that need it, then SELECT pg_reload_conf();",
    observe: hba_open,
    ..HBA
};

pub(super) const HBA_SHADOWED: Check = Check {
    id: "hba-shadowed",
    title: "lines of pg_hba.conf that never count",
    what: "Lines that an earlier line covers in type, database, role and address, so that they are never reached, from \
           pg_hba_file_rules(). Host names, groups and patterns are compared as texts only.",
    why: "A stricter line after a wider one looks like protection and is none.",
    fix: "Move the special line before the general one, or remove it, then SELECT pg_reload_conf();",
    observe: hba_shadowed,
    ..HBA
};

/// One line that the server can read.
struct Rule<'a> {
    place: String,
    kind: &'a str,
    databases: &'a [String],
    users: &'a [String],
    address: Address<'a>,
    method: &'a str,
    text: String,
}

/// Where a line lets clients come from.
#[derive(Clone, Copy, PartialEq)]
enum Address<'a> {
    /// The Unix socket.
    Local,
    /// Every address.
    All,
    /// A network: its address and the number of leading bits that count.
    Network(IpAddr, u32),
    /// `samehost`, `samenet` or a host name.
    Named(&'a str),
}

impl Address<'_> {
    fn covers(self, other: Address<'_>) -> bool {
        match (self, other) {
            (Address::All, other) => other != Address::Local,
            (Address::Network(a, bits), Address::Network(b, more)) => {
                bits <= more && a.is_ipv4() == b.is_ipv4() && prefix(a, bits) == prefix(b, bits)
            }
            (one, other) => one == other,
        }
    }

    /// Returns whether other machines are meant too.
    fn remote(self) -> bool {
        match self {
            Address::Local | Address::Named("samehost" | "localhost") => false,
            Address::All | Address::Named(_) => true,
            Address::Network(address, bits) => {
                !(address.is_loopback() && bits >= if address.is_ipv4() { 8 } else { 128 })
            }
        }
    }

    /// Returns whether every address of a family is meant.
    fn any(self) -> bool {
        matches!(self, Address::All | Address::Network(_, 0))
    }
}

impl Rule<'_> {
    /// Returns whether every connection that `other` fits, fits this line too.
    fn covers(&self, other: &Rule<'_>) -> bool {
        self.covers_type(other)
            && self.address.covers(other.address)
            && covers_names(self.databases, other.databases, true)
            && covers_names(self.users, other.users, false)
    }

    fn covers_type(&self, other: &Rule<'_>) -> bool {
        match self.kind {
            "local" => other.kind == "local",
            "host" => other.kind != "local",
            kind => kind == other.kind,
        }
    }

    /// Returns whether this line turns `role` away wherever `other` would let it in.
    fn rejects(&self, role: &str, other: &Rule<'_>) -> bool {
        self.method == "reject"
            && self.covers_type(other)
            && self.address.covers(other.address)
            && covers_names(self.databases, other.databases, true)
            && self.users.iter().any(|user| user == "all" || user == role)
    }

    fn observation(&self, level: Level, title: String) -> Observation {
        Observation {
            object: self.place.clone(),
            value: 1.0,
            level: Some(level),
            title,
            evidence: vec![("line".to_owned(), self.text.clone())],
            ..Observation::default()
        }
    }
}

/// Returns whether one list of names takes in all of another; `all` databases do not take in `replication`.
fn covers_names(names: &[String], others: &[String], databases: bool) -> bool {
    let all = names.iter().any(|name| name == "all");
    others
        .iter()
        .all(|other| (all && !(databases && other == "replication")) || names.contains(other))
}

fn prefix(address: IpAddr, bits: u32) -> u128 {
    let (number, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    number.checked_shr(width - bits.min(width)).unwrap_or(0)
}

fn rules(snapshot: &Snapshot) -> Vec<Rule<'_>> {
    let readable = snapshot.rows().filter(|row| row.text("type").is_some());
    readable.map(rule).collect()
}

fn rule(row: Row<'_>) -> Rule<'_> {
    let text = |name| row.text(name).unwrap_or_default();
    let (kind, method) = (text("type"), text("auth_method"));
    let (databases, users) = (row.list("database"), row.list("user_name"));
    let address = address(kind, text("address"), row.text("netmask"));
    let shown = match address {
        Address::Local => String::new(),
        Address::All => " all".to_owned(),
        Address::Network(address, bits) => format!(" {address}/{bits}"),
        Address::Named(name) => format!(" {name}"),
    };
    Rule {
        place: place(row),
        text: format!(
            "{kind} {} {}{shown} {method}",
            databases.join(","),
            users.join(",")
        ),
        kind,
        databases,
        users,
        address,
        method,
    }
}

fn address<'a>(kind: &str, text: &'a str, netmask: Option<&str>) -> Address<'a> {
    let mask = netmask.and_then(|mask| mask.parse::<IpAddr>().ok());
    match (kind, text, text.parse::<IpAddr>(), mask) {
        ("local", ..) => Address::Local,
        (_, "all", ..) => Address::All,
        (_, _, Ok(address), Some(IpAddr::V4(mask))) => {
            Address::Network(address, mask.to_bits().leading_ones())
        }
        (_, _, Ok(address), Some(IpAddr::V6(mask))) => {
            Address::Network(address, mask.to_bits().leading_ones())
        }
        (_, name, ..) => Address::Named(name),
    }
}

/// Returns where the line is, such as `pg_hba.conf:12`.
fn place(row: Row<'_>) -> String {
    let file = row.text("file_name").unwrap_or("pg_hba.conf");
    let file = file.rsplit('/').next().unwrap_or(file);
    format!("{file}:{}", row.value("line_number"))
}

fn hba_trust(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rules = rules(view.snapshot("hba-rules")?);
    let trusting = rules.iter().filter(|rule| rule.method == "trust");
    let observation = |rule: &Rule<'_>| {
        let (level, from) = if rule.address.remote() {
            (Level::Critical, "from other machines")
        } else {
            (Level::Warning, "on the server's machine")
        };
        rule.observation(
            level,
            format!("\"{}\" lets anybody {from} in without proof", rule.text),
        )
    };
    Ok(trusting.map(observation).collect())
}

fn hba_md5(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rules = rules(view.snapshot("hba-rules")?);
    let observation = |rule: &Rule<'_>| {
        let open = rule.address.remote() && rule.kind != "hostssl" && rule.kind != "hostgssenc";
        let (level, why) = match rule.method {
            "md5" => (Level::Warning, "accepts md5 verifiers"),
            "password" if open => (
                Level::Critical,
                "takes passwords over the network as they are",
            ),
            "password" => (Level::Warning, "takes passwords as they are"),
            "ident" if rule.address.remote() => {
                (Level::Warning, "believes what the client's machine says")
            }
            _ => return None,
        };
        Some(rule.observation(level, format!("\"{}\" {why}", rule.text)))
    };
    Ok(rules.iter().filter_map(observation).collect())
}

fn hba_superuser(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rules = rules(view.snapshot("hba-rules")?);
    let roles = view.snapshot("roles")?;
    let superusers: Vec<&str> = roles
        .rows()
        .filter(|row| row.flag("rolsuper") == Some(true) && row.flag("rolcanlogin") == Some(true))
        .filter_map(|row| row.text("rolname"))
        .collect();
    let mut observations = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        if !rule.address.remote() || rule.method == "reject" {
            continue;
        }
        let named = |role: &&str| rule.users.iter().any(|user| user == "all" || user == role);
        let stopped = |role: &&str| {
            rules[..index]
                .iter()
                .any(|earlier| earlier.rejects(role, rule))
        };
        let admitted = superusers
            .iter()
            .filter(|role| named(role) && !stopped(role));
        let admitted: Vec<&str> = admitted.copied().collect();
        if !admitted.is_empty() {
            let title = format!(
                "\"{}\" lets superusers in from other machines: {}",
                rule.text,
                listed(admitted, 5)
            );
            observations.push(rule.observation(Level::Warning, title));
        }
    }
    Ok(observations)
}

fn hba_plaintext(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rules = rules(view.snapshot("hba-rules")?);
    let mut observations = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let plain = matches!(rule.kind, "host" | "hostnossl" | "hostnogssenc");
        if !plain || !rule.address.remote() || rule.method == "reject" {
            continue;
        }
        let stopped = rules[..index].iter().any(|earlier| {
            earlier.method == "reject"
                && matches!(earlier.kind, "host" | "hostnossl")
                && earlier.address.covers(rule.address)
                && covers_names(earlier.databases, rule.databases, true)
                && covers_names(earlier.users, rule.users, false)
        });
        if !stopped {
            let title = format!("\"{}\" lets other machines in without TLS", rule.text);
            observations.push(rule.observation(Level::Warning, title));
        }
    }
    Ok(observations)
}

fn hba_open(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rules = rules(view.snapshot("hba-rules")?);
    let has_all = |names: &[String]| names.iter().any(|name| name == "all");
    let open = rules.iter().filter(|rule| {
        rule.address.any()
            && rule.method != "reject"
            && has_all(rule.databases)
            && has_all(rule.users)
    });
    let observation = |rule: &Rule<'_>| {
        let title = format!(
            "\"{}\" is open to every address, role and database",
            rule.text
        );
        rule.observation(Level::Warning, title)
    };
    Ok(open.map(observation).collect())
}

fn hba_shadowed(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rules = rules(view.snapshot("hba-rules")?);
    let mut observations = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let Some(earlier) = rules[..index].iter().find(|earlier| earlier.covers(rule)) else {
            continue;
        };
        // A line that repeats what the earlier one does anyway promises nothing that is not kept.
        let level = if earlier.method == rule.method {
            Level::Info
        } else {
            Level::Warning
        };
        let title = format!(
            "\"{}\" never counts: \"{}\" at {} comes first",
            rule.text, earlier.text, earlier.place
        );
        observations.push(rule.observation(level, title));
    }
    Ok(observations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Address<'static> {
        let (address, bits) = text.split_once('/').unwrap();
        Address::Network(address.parse().unwrap(), bits.parse().unwrap())
    }

    #[test]
    fn a_network_covers_the_networks_inside_it() {
        for (wide, narrow, expected) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.1.0.0/16", "10.0.0.0/8", false),
            ("10.0.0.0/8", "11.0.0.0/16", false),
            ("0.0.0.0/0", "10.0.0.0/8", true),
            ("0.0.0.0/0", "::1/128", false),
            ("::/0", "fe80::/10", true),
        ] {
            assert_eq!(
                network(wide).covers(network(narrow)),
                expected,
                "{wide} {narrow}"
            );
        }
        assert!(Address::All.covers(network("::1/128")));
        assert!(!Address::All.covers(Address::Local));
    }

    #[test]
    fn only_other_machines_are_remote() {
        for (text, expected) in [
            ("127.0.0.1/32", false),
            ("127.0.0.0/8", false),
            ("127.0.0.0/4", true),
            ("::1/128", false),
            ("10.0.0.1/32", true),
            ("0.0.0.0/0", true),
        ] {
            assert_eq!(network(text).remote(), expected, "{text}");
        }
    }

    #[test]
    fn all_databases_do_not_include_replication() {
        let names = |text: &str| vec![text.to_owned()];
        assert!(covers_names(&names("all"), &names("dw"), true));
        assert!(!covers_names(&names("all"), &names("replication"), true));
        assert!(covers_names(&names("all"), &names("replication"), false));
        assert!(!covers_names(&names("dw"), &names("all"), true));
    }
}
