//! Several hosts: order, and which of them will do.

use pawang_core::Role;
use pawang_postgres::Error;
use pawang_testbed::{Cluster, Setup};

use crate::{refusal, session};

#[tokio::test]
async fn the_first_host_that_suits_is_taken() {
    let primary = Cluster::start(&Setup::default()).await;
    let standby = primary.standby("second").await;
    let [first, second] = [&primary, &standby].map(|c| c.socket_directory().display().to_string());
    let text = |hosts: &str, wanted: &str| {
        format!("host={hosts} user=postgres dbname=postgres target_session_attrs={wanted}")
    };
    let both = format!("{first},{second}");
    let reversed = format!("{second},{first}");
    for (hosts, wanted, expected) in [
        (&both, "any", Role::Primary),
        (&reversed, "any", Role::Standby),
        (&reversed, "read-write", Role::Primary),
        (&both, "read-only", Role::Standby),
        (&reversed, "primary", Role::Primary),
        (&both, "standby", Role::Standby),
        (&both, "prefer-standby", Role::Standby),
        (&first, "prefer-standby", Role::Primary),
    ] {
        let session = session(&text(hosts, wanted)).await;
        assert_eq!(session.server.role, expected, "{hosts} {wanted}");
    }
    let error = refusal(&text(&second, "primary")).await;
    assert_eq!(
        error.to_string(),
        format!("\"{second}:5432\" is a standby, and a primary is wanted")
    );
    let missing = format!("{first}/missing");
    let error = refusal(&text(&format!("{missing},{second}"), "read-write")).await;
    assert_eq!(
        error.to_string(),
        "could not connect to a server that accepts writes of 2 hosts"
    );
    let detail = error.report().detail.unwrap();
    assert!(
        detail.contains(&format!("could not reach \"{missing}:5432\"")),
        "{detail}"
    );
    let session = session(&text(&format!("{missing},{first}"), "any")).await;
    assert_eq!(session.address(), format!("{first}:5432"));
}

#[tokio::test]
async fn a_refused_role_ends_the_search() {
    let closed = Cluster::start(&Setup {
        hba: Some("local all all reject"),
        ..Setup::default()
    })
    .await;
    let open = Cluster::start(&Setup::default()).await;
    open.sql("postgres", "CREATE ROLE ann LOGIN").await;
    let hosts = [&closed, &open].map(|c| c.socket_directory().display().to_string());
    let error = refusal(&format!(
        "host={} user=ann dbname=postgres",
        hosts.join(",")
    ))
    .await;
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}
