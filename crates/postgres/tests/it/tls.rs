//! TLS with a throw-away authority: modes, certificates of all kinds, channel binding.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use pawang_postgres::{Error, Session, Target, TlsProblem};
use pawang_testbed::{Cluster, Setup, Version, versions};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

use crate::{environment, one};

const HBA: &str = "hostssl all certuser all cert
hostssl all scram all scram-sha-256
hostssl all md all md5
hostssl all plain all password
hostssl all onlyssl all trust
hostnossl all onlyssl all reject
hostssl all onlyplain all reject
hostnossl all onlyplain all trust
host all postgres all trust";

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let authority = Authority {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            directory: tempfile::tempdir().unwrap(),
        };
        std::fs::write(authority.root(), authority.issuer.pem()).unwrap();
        authority
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("root.crt")
    }

    /// Writes a certificate and its key, and returns both as PEM.
    pub(crate) fn issue(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> [String; 2] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        [certificate.pem(), key.serialize_pem()]
    }

    /// Writes a client's certificate and key, and returns the parameters that use them.
    fn client(&self, user: &str) -> String {
        let [certificate, key] = self.issue(&[], |params| {
            params.distinguished_name.push(DnType::CommonName, user);
        });
        let [certificate_file, key_file] =
            ["crt", "key"].map(|suffix| self.directory.path().join(format!("{user}.{suffix}")));
        std::fs::write(&certificate_file, certificate).unwrap();
        std::fs::write(&key_file, key).unwrap();
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        format!(
            " sslcert={} sslkey={}",
            certificate_file.display(),
            key_file.display()
        )
    }
}

/// Starts a server that listens on TCP and asks for passwords of many kinds.
pub(crate) async fn server() -> Cluster {
    server_of(None).await
}

async fn server_of(version: Option<Version>) -> Cluster {
    let cluster = Cluster::start(&Setup {
        version,
        hba: Some(HBA),
        tcp: true,
        ..Setup::default()
    })
    .await;
    let roles =
        "CREATE ROLE certuser LOGIN; CREATE ROLE onlyssl LOGIN; CREATE ROLE onlyplain LOGIN;
        CREATE ROLE scram LOGIN PASSWORD 'right'; CREATE ROLE plain LOGIN PASSWORD 'right';
        SET password_encryption = md5; CREATE ROLE md LOGIN PASSWORD 'right'";
    cluster.sql("postgres", roles).await;
    cluster
}

pub(crate) async fn install(cluster: &Cluster, authority: &Authority, pair: &[String; 2]) {
    install_with(cluster, &authority.issuer.pem(), pair).await;
}

async fn install_with(cluster: &Cluster, root: &str, [certificate, key]: &[String; 2]) {
    let owner = std::fs::metadata(cluster.data_directory()).unwrap();
    let write = |name: &str, text: &str| {
        let path = cluster.data_directory().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    };
    write("server.crt", certificate);
    write("server.key", key);
    write("root.crt", root);
    cluster
        .sql("postgres", "ALTER SYSTEM SET ssl_ca_file = 'root.crt'")
        .await;
    cluster.sql("postgres", "ALTER SYSTEM SET ssl = on").await;
    cluster.reload().await;
}

fn target(cluster: &Cluster, parameters: &str, home: Option<&Path>) -> Target {
    let mut env = environment();
    env.home = home.map(Path::to_path_buf);
    let text = format!(
        "host=localhost hostaddr=127.0.0.1 port={} user=postgres dbname=postgres {parameters}",
        cluster.port()
    );
    Target::parse(&text, &env).unwrap()
}

/// Returns `plain`, `tls`, or the error.
async fn outcome(target: &Target) -> String {
    match Session::connect(target, "test").await {
        Ok(session) => {
            let sql = "SELECT CASE WHEN ssl THEN 'tls' ELSE 'plain' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            one(&session, sql).await
        }
        Err(error) => {
            assert!(!error.report().to_string().contains("right"));
            error
                .to_string()
                .replace(&target.hosts[0].to_string(), "DB")
        }
    }
}

const EXPIRED: &str = "cannot set up TLS with \"DB\": the server's certificate has expired";
const UNTRUSTED: &str = "cannot set up TLS with \"DB\": the server's certificate is not signed by a trusted root certificate";
const NOT_OFFERED: &str = "cannot set up TLS with \"DB\": the server does not offer it";

#[tokio::test]
async fn modes_against_a_server_without_tls() {
    let cluster = server().await;
    for (mode, expected) in [
        ("disable", "plain"),
        ("allow", "plain"),
        ("prefer", "plain"),
        ("require", NOT_OFFERED),
    ] {
        let target = target(&cluster, &format!("sslmode={mode}"), None);
        assert_eq!(outcome(&target).await, expected, "{mode}");
    }
    let target = target(&cluster, "sslmode=verify-full", None);
    assert_eq!(outcome(&target).await, NOT_OFFERED);
}

#[tokio::test]
async fn modes_against_a_server_with_tls() {
    let cluster = server().await;
    let authority = Authority::new("right authority");
    let stranger = Authority::new("another authority");
    install(
        &cluster,
        &authority,
        &authority.issue(&["localhost"], |_| {}),
    )
    .await;
    let right = format!("sslrootcert={}", authority.root().display());
    let wrong = format!("sslrootcert={}", stranger.root().display());
    let missing = "sslrootcert=/nowhere/root.crt".to_owned();
    let no_root = |mode: &str| {
        format!(
            "cannot set up TLS with \"DB\": root certificate file \"/nowhere/root.crt\" does not exist, and sslmode={mode} needs it"
        )
    };
    let other_host = "cannot set up TLS with \"DB\": the server's certificate is not for host \"db.example\" but for DnsName(\"localhost\")".to_owned();
    let elsewhere = format!("{right} host=db.example");
    for (mode, root, expected) in [
        ("disable", "", "plain"),
        ("allow", "", "plain"),
        ("prefer", "", "tls"),
        ("require", "", "tls"),
        ("require", &right, "tls"),
        ("require", &wrong, UNTRUSTED),
        ("require", &missing, &no_root("require")),
        ("prefer", &wrong, "plain"),
        ("verify-ca", &right, "tls"),
        ("verify-ca", &wrong, UNTRUSTED),
        ("verify-ca", &missing, &no_root("verify-ca")),
        ("verify-ca", &elsewhere, "tls"),
        ("verify-full", &right, "tls"),
        ("verify-full", &wrong, UNTRUSTED),
        ("verify-full", &elsewhere, &other_host),
        ("verify-full", "sslrootcert=system", UNTRUSTED),
        ("allow", "user=onlyssl", "tls"),
        ("prefer", "user=onlyplain", "plain"),
    ] {
        let target = target(&cluster, &format!("sslmode={mode} {root}"), None);
        assert_eq!(outcome(&target).await, expected, "{mode} {root}");
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".postgresql")).unwrap();
    std::fs::copy(stranger.root(), home.path().join(".postgresql/root.crt")).unwrap();
    let with_home = target(&cluster, "sslmode=require", Some(home.path()));
    assert_eq!(
        outcome(&with_home).await,
        UNTRUSTED,
        "as verify-ca when there is a root"
    );
    std::fs::copy(authority.root(), home.path().join(".postgresql/root.crt")).unwrap();
    assert_eq!(outcome(&with_home).await, "tls");
}

#[tokio::test]
async fn certificates_out_of_time() {
    let cluster = server().await;
    let authority = Authority::new("right authority");
    let root = format!("sslrootcert={}", authority.root().display());
    let expired = authority.issue(&["localhost"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    install(&cluster, &authority, &expired).await;
    for mode in ["verify-ca", "verify-full"] {
        let target = target(&cluster, &format!("sslmode={mode} {root}"), None);
        assert_eq!(outcome(&target).await, EXPIRED);
        let error = Session::connect(&target, "test").await.err().unwrap();
        assert!(matches!(
            error,
            Error::Tls {
                problem: TlsProblem::Expired,
                ..
            }
        ));
    }
    let unverified = target(&cluster, "sslmode=require", None);
    assert_eq!(outcome(&unverified).await, "tls");
    let early = authority.issue(&["localhost"], |params| {
        params.not_before = date_time_ymd(2200, 1, 1);
        params.not_after = date_time_ymd(2201, 1, 1);
    });
    install(&cluster, &authority, &early).await;
    let target = target(&cluster, &format!("sslmode=verify-full {root}"), None);
    let error = Session::connect(&target, "test").await.err().unwrap();
    assert!(
        matches!(
            error,
            Error::Tls {
                problem: TlsProblem::NotYetValid,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn client_certificates() {
    let cluster = server().await;
    let authority = Authority::new("right authority");
    let stranger = Authority::new("another authority");
    install(
        &cluster,
        &authority,
        &authority.issue(&["localhost"], |_| {}),
    )
    .await;
    let certified = |client: String| {
        target(
            &cluster,
            &format!("user=certuser sslmode=require {client}"),
            None,
        )
    };
    let right = authority.client("certuser");
    assert_eq!(outcome(&certified(right.clone())).await, "tls");
    let error = outcome(&certified(stranger.client("certuser"))).await;
    assert!(error.contains("refused the client certificate"), "{error}");
    let error = outcome(&certified(authority.client("somebody"))).await;
    assert_eq!(
        error,
        "\"DB\" refused user \"certuser\" for database \"postgres\""
    );
    let error = outcome(&certified(String::new())).await;
    assert_eq!(
        error,
        "\"DB\" refused user \"certuser\" for database \"postgres\""
    );
    let key = authority.directory.path().join("certuser.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = outcome(&certified(right.clone())).await;
    assert!(error.contains("others may read this key"), "{error}");
    std::fs::write(&key, "no key").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let error = outcome(&certified(right)).await;
    assert!(error.contains("holds no private key"), "{error}");
}

#[tokio::test]
async fn channel_binding() {
    let cluster = server().await;
    let authority = Authority::new("right authority");
    install(
        &cluster,
        &authority,
        &authority.issue(&["localhost"], |_| {}),
    )
    .await;
    let unbound = "cannot log in to \"DB\" as user \"USER\": server did not use channel binding";
    for (user, binding, mode, expected) in [
        ("scram", "require", "require", "tls"),
        ("scram", "prefer", "require", "tls"),
        ("scram", "disable", "require", "tls"),
        ("md", "prefer", "require", "tls"),
        ("md", "require", "require", unbound),
        ("plain", "prefer", "require", "tls"),
        ("plain", "require", "require", unbound),
        ("postgres", "require", "require", unbound),
        ("postgres", "require", "disable", unbound),
    ] {
        let parameters =
            format!("user={user} password=right channel_binding={binding} sslmode={mode}");
        let target = target(&cluster, &parameters, None);
        assert_eq!(
            outcome(&target).await,
            expected.replace("USER", user),
            "{parameters}"
        );
    }
    let wrong = target(
        &cluster,
        "user=scram password=wrong channel_binding=require sslmode=require",
        None,
    );
    assert!(outcome(&wrong).await.contains("refused user \"scram\""));
}

#[tokio::test]
async fn tls_may_begin_without_a_question() {
    for version in versions() {
        let cluster = server_of(Some(version)).await;
        let authority = Authority::new("right authority");
        install(
            &cluster,
            &authority,
            &authority.issue(&["localhost"], |_| {}),
        )
        .await;
        let direct = target(&cluster, "sslmode=require sslnegotiation=direct", None);
        // Older servers take the handshake for nonsense and hang up.
        let outcome = outcome(&direct).await;
        let expected = if version.0 >= 17 {
            "tls"
        } else {
            "\"DB\" closed the connection before login"
        };
        assert_eq!(outcome, expected, "{version}");
    }
}

#[tokio::test]
async fn a_cancel_request_goes_through_tls() {
    let cluster = server().await;
    let authority = Authority::new("right authority");
    install(
        &cluster,
        &authority,
        &authority.issue(&["localhost"], |_| {}),
    )
    .await;
    let session = Session::connect(&target(&cluster, "sslmode=require", None), "test")
        .await
        .unwrap();
    assert!(!session.pooled());
    let cancel = async {
        pawang_testbed::until("the statement runs", async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            cluster.sql("postgres", sql).await[0][0].as_deref() == Some("1")
        })
        .await;
        session.cancel().await;
    };
    let (result, ()) = tokio::join!(session.read("SELECT pg_sleep(10)"), cancel);
    assert!(matches!(result.unwrap_err(), Error::Cancelled { .. }));
}

/// A file made by the recipes in `certificates/README.md`.
fn recipe(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/certificates");
    directory.join(name)
}

const OTHER_HOST: &str =
    "cannot set up TLS with \"DB\": the server's certificate is not for host \"db.example\"";

/// Server's certificate and key, mode, trusted root, more parameters, and what comes of it.
const RECIPES: [[&str; 5]; 12] = [
    ["localhost", "require", "", "", "tls"],
    ["localhost", "verify-ca", "root.crt", "", "tls"],
    ["localhost", "verify-full", "root.crt", "", "tls"],
    [
        "localhost",
        "verify-full",
        "root.crt",
        "host=db.example",
        OTHER_HOST,
    ],
    ["localhost", "verify-ca", "self.crt", "", UNTRUSTED],
    ["expired", "require", "", "", "tls"],
    ["expired", "verify-ca", "root.crt", "", EXPIRED],
    ["self", "require", "", "", "tls"],
    ["self", "verify-ca", "self.crt", "", "tls"],
    ["self", "verify-full", "self.crt", "", "tls"],
    [
        "self",
        "verify-full",
        "self.crt",
        "host=db.example",
        OTHER_HOST,
    ],
    ["self", "verify-ca", "root.crt", "", UNTRUSTED],
];

/// Installs a certificate of the recipes; the expired one shares its key.
async fn install_recipe(cluster: &Cluster, name: &str) {
    let read = |name: &str| std::fs::read_to_string(recipe(name)).unwrap();
    let key = read(&format!("{}.key", name.replace("expired", "localhost")));
    install_with(
        cluster,
        &read("root.crt"),
        &[read(&format!("{name}.crt")), key],
    )
    .await;
}

#[tokio::test]
async fn servers_with_certificates_of_the_short_recipes() {
    let cluster = server().await;
    for [name, mode, root, more, expected] in RECIPES {
        for version in ["TLSv1.2", "TLSv1.3"] {
            let change = format!("ALTER SYSTEM SET ssl_max_protocol_version = '{version}'");
            cluster.sql("postgres", &change).await;
            install_recipe(&cluster, name).await;
            let root = match root {
                "" => String::new(),
                root => recipe(root).display().to_string(),
            };
            let parameters = format!("sslmode={mode} sslrootcert={root} {more}");
            let outcome = outcome(&target(&cluster, &parameters, None)).await;
            assert!(
                outcome.starts_with(expected),
                "{version} {name} {parameters}: {outcome}"
            );
        }
    }
}

#[tokio::test]
async fn clients_with_certificates_of_the_short_recipes() {
    let cluster = server().await;
    install_recipe(&cluster, "localhost").await;
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("certuser.key");
    std::fs::copy(recipe("certuser.key"), &key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let parameters = format!(
        "user=certuser sslmode=verify-full sslrootcert={} sslcert={} sslkey={}",
        recipe("root.crt").display(),
        recipe("certuser.crt").display(),
        key.display()
    );
    assert_eq!(outcome(&target(&cluster, &parameters, None)).await, "tls");
    let bound = "user=scram password=right channel_binding=require sslmode=require";
    assert_eq!(outcome(&target(&cluster, bound, None)).await, "tls");
}
