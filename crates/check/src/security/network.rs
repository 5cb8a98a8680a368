//! What travels over the network in the clear.

use std::net::IpAddr;

use pawang_core::{Level, Missing, Unit};

use super::{setting, setting_evidence, setting_row};
use crate::{Check, Direction, Group, Observation, Scope, View};

const ONE_SETTING: Check = Check {
    id: "",
    group: Group::Security,
    title: "",
    scope: Scope::Server,
    needs: &["settings"],
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

pub(super) const SSL: Check = Check {
    id: "ssl",
    title: "TLS is offered",
    what: "The settings ssl and listen_addresses, from pg_settings. A server that listens on no address but its own machine's needs none.",
    why: "Without TLS rows and, with the methods password and md5, the means to log in can be read and altered on the way.",
    fix: "Set ssl_cert_file and ssl_key_file, then ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf(); and use hostssl lines in pg_hba.conf.",
    observe: ssl,
    ..ONE_SETTING
};

pub(super) const SSL_PROTOCOL: Check = Check {
    id: "ssl-protocol",
    title: "oldest TLS version that is accepted",
    what: "The setting ssl_min_protocol_version, from pg_settings; an empty value accepts every version.",
    why: "TLS 1.0 and 1.1 are broken and forbidden by every current standard.",
    fix: "ALTER SYSTEM RESET ssl_min_protocol_version; SELECT pg_reload_conf(); the default is TLSv1.2.",
    observe: ssl_protocol,
    ..ONE_SETTING
};

fn ssl(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = setting_row(view, "ssl")?;
    let addresses = setting(view, "listen_addresses")?;
    let own = |address: &str| match address.trim() {
        "" | "localhost" => true,
        address => address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback()),
    };
    let reachable = !addresses.split(',').all(own);
    let wrong = reachable && row.text("setting") == Some("off");
    let mut evidence = setting_evidence(row);
    evidence.push(("listen_addresses".to_owned(), addresses.to_owned()));
    Ok(vec![Observation {
        value: f64::from(u8::from(wrong)),
        level: Some(if wrong { Level::Warning } else { Level::Ok }),
        title: format!("ssl is off and the server listens on \"{addresses}\""),
        evidence,
        ..Observation::default()
    }])
}

fn ssl_protocol(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if setting(view, "ssl")? == "off" {
        return Err(Missing::NotApplicable("ssl is off".to_owned()));
    }
    let row = setting_row(view, "ssl_min_protocol_version")?;
    let value = row.text("setting").unwrap_or_default();
    let wrong = matches!(value, "" | "TLSv1" | "TLSv1.1");
    Ok(vec![Observation {
        value: f64::from(u8::from(wrong)),
        level: Some(if wrong { Level::Warning } else { Level::Ok }),
        title: format!(
            "connections with TLS older than 1.2 are accepted (ssl_min_protocol_version is \"{value}\")"
        ),
        evidence: setting_evidence(row),
        ..Observation::default()
    }])
}
