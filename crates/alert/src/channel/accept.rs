//! What Alertmanager's webhook sends, version 4, as alerts of somebody else.

use std::collections::BTreeMap;

use pawang_core::{Kind, Report, Timestamp};
use serde::Deserialize;

use crate::book::External;

/// Larger bodies are not read.
pub const EXTERNAL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// More alerts in one message are refused: Alertmanager's `max_alerts` bounds them.
const ALERTS_MAX: usize = 1_000;
const LABELS_MAX: usize = 64;
/// Longer names and values of labels are refused, since they would mean another alert when cut.
const LABEL_BYTES_MAX: usize = 1_024;
/// Longer annotations are cut.
const ANNOTATION_BYTES_MAX: usize = 8 * 1_024;

/// The parts of the payload that count; others are ignored, so that newer versions are understood.
#[derive(Deserialize)]
struct Payload {
    version: Option<String>,
    #[serde(default, rename = "externalURL")]
    external_url: String,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    status: Status,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: Timestamp,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Status {
    Firing,
    Resolved,
}

/// Reads what Alertmanager's webhook sends.
///
/// # Errors
/// It is too large, no such payload, of another version, or an alert has no name.
pub fn accept(body: &[u8]) -> Result<Vec<External>, Report> {
    let refused = |detail: String| {
        Report::new(
            Kind::Usage,
            "cannot read alerts from Alertmanager's webhook",
        )
        .with_detail(detail)
        .with_hint("webhook_configs: url of Pawang, payload version 4")
    };
    if body.len() > EXTERNAL_BYTES_MAX {
        return Err(refused(format!("more than {EXTERNAL_BYTES_MAX} bytes")));
    }
    let payload: Payload =
        serde_json::from_slice(body).map_err(|error| refused(error.to_string()))?;
    if let Some(version) = payload.version.filter(|version| version != "4") {
        return Err(refused(format!("version is \"{version}\"")));
    }
    let count = payload.alerts.len();
    if count > ALERTS_MAX {
        return Err(refused(format!(
            "{count} alerts, and not at most {ALERTS_MAX}"
        )));
    }
    let source = source(&payload.external_url);
    let alerts = payload.alerts.into_iter().enumerate();
    alerts
        .map(|(index, alert)| {
            external(&source, alert)
                .map_err(|problem| refused(format!("alerts[{index}]: {problem}")))
        })
        .collect()
}

fn external(source: &str, alert: Alert) -> Result<External, String> {
    let Alert {
        status,
        labels,
        annotations,
        starts_at,
    } = alert;
    if labels.get("alertname").is_none_or(String::is_empty) {
        return Err("it has no label alertname".to_owned());
    }
    if labels.len() > LABELS_MAX {
        return Err(format!(
            "{} labels, and not at most {LABELS_MAX}",
            labels.len()
        ));
    }
    let long = |text: &String| text.len() > LABEL_BYTES_MAX;
    if let Some((name, _)) = labels
        .iter()
        .find(|(name, value)| long(name) || long(value))
    {
        let shown = &name[..name.floor_char_boundary(40)];
        return Err(format!(
            "label \"{shown}\" has more than {LABEL_BYTES_MAX} bytes"
        ));
    }
    let annotations = annotations.into_iter().take(LABELS_MAX);
    let annotations = annotations.map(|(name, mut value)| {
        value.truncate(value.floor_char_boundary(ANNOTATION_BYTES_MAX));
        (name, value)
    });
    Ok(External {
        source: source.to_owned(),
        annotations: annotations.collect(),
        labels,
        firing: status == Status::Firing,
        starts_at,
    })
}

/// Returns the sender's name: the host of its address.
fn source(external_url: &str) -> String {
    let rest = external_url.split_once("://").map_or("", |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    match host {
        "" => "alertmanager".to_owned(),
        host => host[..host.floor_char_boundary(200)].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"{"version":"4","groupKey":"{}:{}","truncatedAlerts":0,"status":"firing","receiver":"pawang",
        "groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://am.example.org:9093",
        "alerts":[{"status":"firing","labels":{"alertname":"HostDown","instance":"db1:9100"},
        "annotations":{"summary":"it is down"},"startsAt":"2026-11-21T18:04:00.123+07:00",
        "endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"0123456789abcdef"}]}"#;

    #[test]
    fn reads_what_alertmanager_sends() {
        let taken = accept(GOOD.as_bytes()).unwrap();
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].source, "am.example.org:9093");
        assert_eq!(taken[0].labels["alertname"], "HostDown");
        assert_eq!(taken[0].annotations["summary"], "it is down");
        assert!(taken[0].firing);
        let at: Timestamp = "2026-11-21T11:04:00.123Z".parse().unwrap();
        assert_eq!(taken[0].starts_at, at);
    }

    #[test]
    fn says_what_is_wrong() {
        let many = format!(r#"{{"version":"4","alerts":[{}]}}"#, vec![r#"{"status":"firing","labels":{"alertname":"x"},"startsAt":"2026-01-01T00:00:00Z"}"#; 1_001].join(","));
        for (body, expected) in [
            ("{}", "missing field `alerts`"),
            ("[", "EOF"),
            (r#"{"version":"5","alerts":[]}"#, "version is \"5\""),
            (
                r#"{"alerts":[{"status":"firing","labels":{},"startsAt":"2026-01-01T00:00:00Z"}]}"#,
                "alerts[0]: it has no label alertname",
            ),
            (
                r#"{"alerts":[{"status":"odd","labels":{},"startsAt":"2026-01-01T00:00:00Z"}]}"#,
                "odd",
            ),
            (&many, "1001 alerts"),
            (
                &GOOD.replace("db1:9100", &"x".repeat(2_000)),
                "label \"instance\" has more",
            ),
        ] {
            let report = accept(body.as_bytes()).unwrap_err();
            let detail = report.detail.unwrap_or_default();
            assert!(detail.contains(expected), "{detail}");
        }
    }

    proptest! {
        #[test]
        fn any_damage_is_an_error_and_no_panic(at in 0..GOOD.len(), byte: u8) {
            let mut body = GOOD.as_bytes().to_vec();
            body[at] = byte;
            let _taken = accept(&body);
        }
    }
}
