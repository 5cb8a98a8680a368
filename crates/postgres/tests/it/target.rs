//! Precedence and meaning of parameters.

use pawang_postgres::{Error, Host, RootCertificate, SslMode, Target};

use crate::environment;

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Target, Error> {
    let mut env = environment();
    env.home = Some("/home/ann".into());
    for (name, value) in variables {
        env.variables
            .insert((*name).to_owned(), (*value).to_owned());
    }
    Target::parse(text, &env)
}

#[test]
fn defaults_are_those_of_libpq() {
    let target = parse("", &[]).unwrap();
    assert_eq!(target.name(), "/var/run/postgresql:5432");
    assert_eq!(target.hosts.len(), 2);
    assert_eq!(
        (target.user.as_str(), target.database.as_str()),
        ("nobody", "nobody")
    );
    assert!(target.database_guessed);
    assert_eq!(target.ssl.mode, SslMode::Prefer);
    assert_eq!(target.connect_timeout.as_secs(), 10);
    assert_eq!(target.passfile.unwrap().to_str(), Some("/home/ann/.pgpass"));
    assert_eq!(
        target.ssl.root,
        RootCertificate::Default("/home/ann/.postgresql/root.crt".into())
    );
}

#[test]
fn what_is_written_beats_the_environment() {
    let variables = [
        ("PGHOST", "other"),
        ("PGHOSTADDR", "10.0.0.1"),
        ("PGPORT", "6000"),
        ("PGUSER", "ann"),
        ("PGDATABASE", "sales"),
        ("PGPASSWORD", "secret"),
        ("PGSSLMODE", "require"),
        ("PGCONNECT_TIMEOUT", "3"),
    ];
    let target = parse("postgres://db-1/", &variables).unwrap();
    assert_eq!(
        target.hosts,
        [Host::Tcp {
            name: "db-1".to_owned(),
            address: None,
            port: 6000
        }],
        "an inherited address must not replace an explicit host"
    );
    assert_eq!(
        (target.user.as_str(), target.database.as_str()),
        ("ann", "sales")
    );
    assert_eq!(target.ssl.mode, SslMode::Require);
    assert_eq!(target.connect_timeout.as_secs(), 3);
    assert!(!target.database_guessed);
    let other = target.with_database("stock");
    assert_eq!(
        (other.database.as_str(), other.user.as_str()),
        ("stock", "ann")
    );
    assert_eq!(other.password.as_ref().unwrap().reveal(), "secret");
    assert!(!format!("{other:?}").contains("secret"));
}

#[test]
fn hosts_pair_with_ports() {
    for (text, expected) in [
        ("host=a,b port=1,2", "a:1,b:2"),
        ("host=a,b port=1", "a:1,b:1"),
        ("host=a,b", "a:5432,b:5432"),
        ("postgres://a,b:2/", "a:5432,b:2"),
        ("host=/run/x port=7", "/run/x:7"),
        ("postgres://[::1]:7/", "[::1]:7"),
        ("hostaddr=::1", "[::1]:5432"),
        ("port=7", "/var/run/postgresql:7"),
    ] {
        assert_eq!(parse(text, &[]).unwrap().name(), expected, "{text}");
    }
}

#[test]
fn wrong_values_are_named() {
    for (text, expected) in [
        ("port=0", "\"port\": must be a number from 1 to 65535"),
        ("port=70000", "\"port\""),
        (
            "host=a,b,c port=1,2",
            "\"port\": there must be one, or as many as hosts",
        ),
        ("host=a hostaddr=1.1.1.1,2.2.2.2", "\"hostaddr\""),
        (
            "hostaddr=db-1",
            "\"hostaddr\": must be an IPv4 or IPv6 address",
        ),
        (
            "sslmode=maybe",
            "\"sslmode\": \"maybe\" is none of prefer, disable, allow, require, verify-ca, verify-full",
        ),
        (
            "sslmode=require sslrootcert=system",
            "\"sslmode\": sslrootcert=system needs sslmode=verify-full",
        ),
        ("sslnegotiation=direct", "\"sslnegotiation\""),
        (
            "connect_timeout=soon",
            "\"connect_timeout\": \"soon\" is no whole number",
        ),
        ("target_session_attrs=master", "\"target_session_attrs\""),
        (
            "requirepeer=postgres",
            "\"requirepeer\": libpq has it, Pawang does not support it",
        ),
        (
            "colour=red",
            "\"colour\": there is no such connection parameter",
        ),
        ("service=nowhere", "service \"nowhere\""),
    ] {
        let error = parse(text, &[]).unwrap_err();
        assert!(error.to_string().contains(expected), "{text}: {error}");
        assert_eq!(error.report().kind, pawang_core::Kind::Usage);
    }
    let error = parse("", &[("PGREQUIREAUTH", "scram-sha-256")]).unwrap_err();
    assert!(error.to_string().contains("\"require_auth\""), "{error}");
    let system = parse("host=a sslrootcert=system", &[]).unwrap();
    assert_eq!(system.ssl.mode, SslMode::VerifyFull);
}
