//! Patroni's REST API.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pawang_core::{Missing, Sighting, Timestamp, Value};
use pawang_postgres::{Error, patroni};
use serde_json::Value as Json;

use crate::Collector;
use crate::host::{Fields, snapshot};

const TIMEOUT: Duration = Duration::from_secs(3);
/// Members are asked all at once, so one that is gone costs this much once.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(2);
/// More members than this are no Patroni cluster.
const MEMBERS_MAX: usize = 200;

/// Reads the wanted collectors of Patroni, or says why they cannot be read.
pub(crate) async fn observe(
    address: Option<&str>,
    wanted: &[&Collector],
    now: Timestamp,
) -> Vec<Sighting> {
    let mut sightings = Vec::new();
    for collector in wanted {
        let started = Instant::now();
        let seen = match (address, collector.name.as_str()) {
            (None, _) => Err(Missing::NotApplicable(
                "no Patroni is configured".to_owned(),
            )),
            (Some(address), "patroni-node") => node(address).await,
            (Some(address), _) => members(address).await,
        };
        sightings.push(Sighting {
            collector: collector.name.clone(),
            database: None,
            seen: seen.map(|rows| snapshot(collector, rows, now, started).into()),
        });
    }
    sightings
}

async fn get(address: &str, path: &str) -> Result<Json, Missing> {
    let answer = patroni::get(address, path, TIMEOUT).await;
    answer.map_err(|error: Error| error.blind().into())
}

async fn node(address: &str) -> Result<Vec<Fields>, Missing> {
    let node = get(address, "/patroni").await?;
    // Before the cluster is initialised there is no dynamic configuration.
    let config = get(address, "/config").await.unwrap_or_default();
    let mut row = Fields::new();
    for name in ["state", "role", "server_version", "timeline"] {
        row.insert(name, value(&node[name]));
    }
    for name in [
        "pending_restart",
        "pause",
        "cluster_unlocked",
        "failsafe_mode_is_active",
        "sync_standby",
    ] {
        row.insert(name, flag(&node[name]));
    }
    row.insert("name", value(&node["patroni"]["name"]));
    row.insert("scope", value(&node["patroni"]["scope"]));
    row.insert("patroni_version", value(&node["patroni"]["version"]));
    let seen = node["dcs_last_seen"].as_i64();
    let seen = seen.and_then(|seconds| Timestamp::from_second(seconds).ok());
    row.insert("dcs_last_seen", seen.map_or(Value::Null, Value::Time));
    for name in ["synchronous_mode", "failsafe_mode"] {
        row.insert(name, flag(&config[name]));
    }
    for name in ["maximum_lag_on_failover", "ttl", "loop_wait"] {
        row.insert(name, value(&config[name]));
    }
    Ok(vec![row])
}

async fn members(address: &str) -> Result<Vec<Fields>, Missing> {
    let cluster = get(address, "/cluster").await?;
    let members = cluster["members"].as_array().into_iter().flatten();
    let rows = members.take(MEMBERS_MAX).map(async |member| {
        let mut row = listed(member);
        let address = member["api_url"].as_str().unwrap_or_default();
        let address = address.strip_suffix("/patroni").unwrap_or(address);
        // What the store says of a member outlives the member: a Raft without majority repeats it for ever.
        match patroni::get(address, "/patroni", MEMBER_TIMEOUT).await {
            Ok(own) => {
                row.insert("own_role", value(&own["role"]));
                row.insert("own_state", value(&own["state"]));
            }
            Err(error) => drop(row.insert("own_problem", Value::Text(error.line().into()))),
        }
        row
    });
    Ok(join_all(rows).await)
}

/// Returns what GET /cluster says of a member.
fn listed(member: &Json) -> Fields {
    let mut row = Fields::new();
    for name in [
        "name", "role", "state", "api_url", "host", "port", "timeline",
    ] {
        row.insert(name, value(&member[name]));
    }
    // A member that does not report its position has "unknown" here.
    let lag = &member["lag"];
    row.insert("lag", lag.as_i64().map_or(Value::Null, Value::Int));
    row.insert("lag_unknown", Value::Bool(lag.is_string()));
    row.insert("pending_restart", flag(&member["pending_restart"]));
    for name in ["nofailover", "nosync", "noloadbalance"] {
        row.insert(name, flag(&member["tags"][name]));
    }
    let priority = &member["tags"]["failover_priority"];
    row.insert("failover_priority", value(priority));
    row
}

fn value(json: &Json) -> Value {
    match json {
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => number
            .as_i64()
            .map(Value::Int)
            .or_else(|| number.as_f64().map(Value::Float))
            .unwrap_or_default(),
        Json::String(text) => Value::Text(text.as_str().into()),
        _ => Value::Null,
    }
}

/// Patroni leaves out what is not so, and writes `true`, `"on"` or a word such as `"quorum"` for what is.
fn flag(json: &Json) -> Value {
    Value::Bool(match json {
        Json::Bool(flag) => *flag,
        Json::String(text) => !matches!(text.as_str(), "" | "off" | "false"),
        _ => false,
    })
}
