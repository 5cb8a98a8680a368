//! What the network lost.

use pawang_core::{Level, Missing, Unit};

use super::{HOST, Since};
use crate::{Check, Floor, Observation, View};

pub(super) const NETWORK_ERRORS: Check = Check {
    id: "network-errors",
    title: "packets lost at the network card",
    needs: &["host-network", "host-paths"],
    warning: Some(0.1),
    critical: Some(1.0),
    floors: &[Floor {
        name: "packets",
        value: 1_000.0,
        unit: Unit::Count,
        ignores: "interfaces with fewer packets since the last run",
    }],
    what: "Packets with errors or dropped, in and out, as a share of all packets of each interface since the last run (/proc/net/dev).",
    why: "Lost packets slow replication and clients far more than their share: each costs a retransmission timeout.",
    fix: "ethtool -S INTERFACE; check cable, duplex and ring buffers (ethtool -G INTERFACE rx 4096).",
    observe: errors,
    ..HOST
};

pub(super) const TCP_RETRANSMISSIONS: Check = Check {
    id: "tcp-retransmissions",
    title: "TCP segments sent again",
    needs: &["host-tcp", "host-paths"],
    warning: Some(2.0),
    critical: Some(10.0),
    floors: &[Floor {
        name: "segments",
        value: 1_000.0,
        unit: Unit::Count,
        ignores: "intervals with fewer segments sent",
    }],
    what: "Segments sent again as a share of those sent since the last run, of all connections of the machine (/proc/net/snmp).",
    why: "Replication lag and slow clients may come from the network; this number tells.",
    fix: "Look for lossy paths: ss -ti dst ADDRESS shows retransmissions per connection; mtr ADDRESS.",
    observe: retransmissions,
    ..HOST
};

pub(super) const LISTEN_OVERFLOWS: Check = Check {
    id: "listen-overflows",
    title: "connections refused by a full accept queue",
    needs: &["host-tcp", "host-paths"],
    unit: Unit::Count,
    warning: Some(1.0),
    what: "Connections that arrived while the accept queue of their socket was full, since the last run, of all programs of the machine (ListenOverflows).",
    why: "Clients see time-outs at connect although max_connections is not reached: the postmaster accepts one connection at a time.",
    fix: "Put a pooler in front of connection storms; sysctl -w net.core.somaxconn=4096.",
    observe: overflows,
    ..HOST
};

fn errors(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut observations = Vec::new();
    for (row, older) in view.growth("host-network")?.rows {
        let Some(older) = older else { continue };
        let sum = |columns: &[&str]| -> Option<f64> {
            columns.iter().map(|column| row.growth(older, column)).sum()
        };
        let packets = sum(&["received_packets", "sent_packets"]);
        let lost = sum(&[
            "receive_errors",
            "receive_drops",
            "send_errors",
            "send_drops",
        ]);
        let (Some(packets), Some(lost)) = (packets, lost) else {
            continue;
        };
        let share = lost / (packets + lost).max(1.0) * 100.0;
        let interface = row.text("interface").unwrap_or_default();
        observations.push(Observation {
            object: interface.to_owned(),
            value: share,
            level: (packets < view.floor("packets")).then_some(Level::Ok),
            title: format!("{lost:.0} of {packets:.0} packets of {interface} were lost"),
            evidence: row.evidence(&[
                "receive_errors",
                "receive_drops",
                "send_errors",
                "send_drops",
            ]),
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn retransmissions(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let since = Since::of(view, "host-tcp")?;
    let (sent, again) = (
        since.growth("segments_sent")?,
        since.growth("segments_resent")?,
    );
    let share = again / sent.max(1.0) * 100.0;
    Ok(vec![Observation {
        value: share,
        level: (sent < view.floor("segments")).then_some(Level::Ok),
        title: format!("{again:.0} of {sent:.0} TCP segments were sent again ({share:.1} %)"),
        evidence: since.row.evidence(&["segments_sent", "segments_resent"]),
        ..Observation::default()
    }])
}

fn overflows(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let since = Since::of(view, "host-tcp")?;
    let lost = since.growth("listen_overflows")?;
    Ok(vec![Observation {
        value: lost,
        title: format!(
            "{lost:.0} connections found the accept queue full in the last {}",
            Unit::Seconds.show(since.seconds)
        ),
        evidence: since.row.evidence(&["listen_overflows", "listen_drops"]),
        ..Observation::default()
    }])
}
