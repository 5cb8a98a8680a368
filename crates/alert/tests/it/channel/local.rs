//! Channels of this machine: programs and the system log.

use pawang_core::alert::Message;
use pawang_testbed::until;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};

use super::{channel, hasty, message};

#[tokio::test]
async fn a_program_gets_the_message_and_nothing_else() {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("out");
    let script = "cat > \"$1\"; env > \"$1.env\"";
    let command = ["/bin/sh", "-c", script, "sh", out.to_str().unwrap()];
    let message = message(1, true);
    channel("exec", json!({ "command": command }))
        .send(&message)
        .await
        .unwrap();
    let text = std::fs::read(&out).unwrap();
    assert_eq!(serde_json::from_slice::<Message>(&text).unwrap(), message);
    let environment = std::fs::read_to_string(directory.path().join("out.env")).unwrap();
    assert!(!environment.contains("CARGO"), "{environment}");
}

#[tokio::test]
async fn a_program_that_fails_says_why() {
    let says = ["/bin/sh", "-c", "echo no modem >&2; exit 3"];
    let hangs = ["/bin/sh", "-c", "yes >&2"];
    for (mut channel, expected) in [
        (
            channel("exec", json!({ "command": says })),
            "exit status: 3: no modem",
        ),
        (
            channel("exec", json!({ "command": ["/nonexistent/program"] })),
            "could not start \"/nonexistent/program\"",
        ),
        (
            hasty("exec", json!({ "command": hangs })),
            "did not end within 1 s",
        ),
    ] {
        let trouble = channel.send(&message(1, true)).await.unwrap_err();
        assert!(trouble.what.contains(expected), "{trouble}");
    }
}

#[tokio::test]
async fn a_program_that_is_given_up_is_killed_with_its_children() {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("child");
    let script = "sleep 1000 & echo $! > \"$1\"; wait";
    let command = ["/bin/sh", "-c", script, "sh", out.to_str().unwrap()];
    let mut channel = channel("exec", json!({ "command": command }));
    let message = message(1, true);
    let child = || std::fs::read_to_string(&out).unwrap_or_default();
    tokio::select! {
        sent = channel.send(&message) => panic!("{sent:?}"),
        () = until("the child runs", async || child().ends_with('\n')) => {}
    }
    let status = format!("/proc/{}/stat", child().trim());
    until("the child is gone", async || {
        let stat = std::fs::read_to_string(&status).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    })
    .await;
}

#[tokio::test]
async fn the_system_log_gets_a_line_by_every_way() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("log");
    let local = UnixDatagram::bind(&path).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [
        path.to_string_lossy().into_owned(),
        format!("udp://{}", udp.local_addr().unwrap()),
        format!("tcp://{}", tcp.local_addr().unwrap()),
    ];
    let message = message(1, true);
    for address in &addresses {
        let table = json!({ "address": address, "facility": "local3" });
        channel("syslog", table).send(&message).await.unwrap();
    }
    let mut bytes = vec![0; 10_000];
    let read = local.recv(&mut bytes).await.unwrap();
    let first = String::from_utf8(bytes[..read].to_vec()).unwrap();
    assert!(
        first.starts_with("<154>1 2026-11-21T18:04:00.000000Z "),
        "{first}"
    );
    let read = udp.recv(&mut bytes).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes[..read]), first);
    let (mut stream, _) = tcp.accept().await.unwrap();
    let mut framed = String::new();
    stream.read_to_string(&mut framed).await.unwrap();
    assert_eq!(framed, format!("{} {first}", first.len()));
    let nobody = json!({ "address": directory.path().join("nobody") });
    let trouble = channel("syslog", nobody).send(&message).await.unwrap_err();
    assert!(
        trouble.what.contains("could not write to the system log"),
        "{trouble}"
    );
}
