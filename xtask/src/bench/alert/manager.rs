//! The same storm given to Debian's Alertmanager.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::storm::{ALERTS, STORM_MAX, Storm, all_told};
use crate::bench::http;
use crate::bench::process::Process;
use crate::bench::serve::free_address;
use crate::run;

const ALERTMANAGER: &str = "prometheus-alertmanager";
const READY_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Starts it, gives it all alerts in one request, and waits for its webhook.
pub(super) async fn measure() -> Result<Storm, String> {
    let receiver = Receiver::start()?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let config = format!(
        "route:\n  receiver: bench\n  group_by: [instance]\n  group_wait: 250ms\n  group_interval: 5m\n  repeat_interval: 4h\n\
         receivers:\n- name: bench\n  webhook_configs:\n  - url: http://{}/\n",
        receiver.address
    );
    let file = folder.path().join("alertmanager.yml");
    std::fs::write(&file, config).map_err(|error| error.to_string())?;
    let address = free_address()?;
    let mut command = run::command(ALERTMANAGER);
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.path={}",
            folder.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .args(["--cluster.listen-address=", "--log.level=error"]);
    let process = Process::start(&mut command)?;
    ready(address).await?;
    let before = process.memory_mb()?.1;
    let begin = SystemTime::now();
    post(address, &alerts())?;
    let received = receiver.wait(STORM_MAX, all_told).await?;
    let last = received.iter().map(|message| message.at).max();
    let growth_mb = process.memory_mb()?.1 - before;
    process.end()?;
    Ok(Storm {
        messages: received.len(),
        time: last
            .unwrap_or(begin)
            .duration_since(begin)
            .unwrap_or_default(),
        growth_mb,
    })
}

/// Returns alerts with about as much text as ours.
fn alerts() -> Value {
    let alert = |number: usize| {
        json!({
            "labels": {
                "alertname": format!("level-{}", number / 100 + 1),
                "instance": "dwh-1",
                "object": format!("object {}", number % 100 + 1),
                "severity": "critical",
            },
            "annotations": {
                "summary": format!("object {} is at 9 (limit 1)", number % 100 + 1),
                "remedy": "look at the query of the check",
            },
        })
    };
    (0..ALERTS).map(alert).collect()
}

async fn ready(address: SocketAddr) -> Result<(), String> {
    let begin = Instant::now();
    while begin.elapsed() < READY_MAX {
        if http::get(address, "/-/ready", false).is_ok_and(|answer| answer.status == 200) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(format!("{ALERTMANAGER} was not ready in time"))
}

fn post(address: SocketAddr, body: &Value) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("could not ask {ALERTMANAGER}: {error}");
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).map_err(wrong)?;
    write!(
        stream,
        "POST /api/v2/alerts HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .map_err(wrong)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(wrong)?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(format!(
        "{ALERTMANAGER} answered {:?}",
        answer.lines().next()
    ))
}
