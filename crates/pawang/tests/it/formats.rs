//! Forms of the answer: JSON, Markdown, HTML, Nagios.

use pawang_testbed::{Cluster, Setup};

use crate::program::Desk;

#[tokio::test]
async fn nagios_is_one_line_with_perfdata_and_its_own_exit_codes() {
    let cluster = Cluster::start(&Setup::default()).await;
    let url = cluster.url("postgres");
    let desk = Desk::new();
    let words = [
        "check",
        "connections",
        "replication-lag",
        &url,
        "--format",
        "nagios",
        "-w",
        "80",
        "-c",
        "90",
    ];
    let mixed = desk.pawang(&words);
    assert_eq!(
        (mixed.code, mixed.stdout.lines().count()),
        (0, 1),
        "{mixed:?}"
    );
    let words = [
        "check", "backends", &url, "--format", "nagios", "-w", "80", "-c", "90",
    ];
    let good = desk.pawang(&words);
    assert_eq!((good.code, good.stdout.lines().count()), (0, 1), "{good:?}");
    assert!(
        good.stdout
            .starts_with("PAWANG OK - 1 check ok | 'connections'="),
        "{good:?}"
    );
    assert!(good.stdout.contains("%;80;90"), "{good:?}");
    let bad = desk.pawang(&[
        "check",
        "connections",
        &url,
        "--format",
        "nagios",
        "-w",
        "0",
        "-c",
        "0",
    ]);
    assert_eq!(bad.code, 2, "{bad:?}");
    assert!(
        bad.stdout
            .starts_with("PAWANG CRITICAL - critical connections: "),
        "{bad:?}"
    );
    let down = desk.pawang(&[
        "check",
        "connections",
        "host=/nowhere user=x",
        "--format",
        "nagios",
    ]);
    assert_eq!(down.code, 3, "{down:?}");
    assert!(down.stdout.starts_with("PAWANG UNKNOWN - "), "{down:?}");
    let down = desk.pawang(&[
        "check",
        "connection",
        "host=/nowhere user=x",
        "--format",
        "nagios",
    ]);
    assert_eq!(down.code, 2, "{down:?}");
}

#[tokio::test]
async fn json_has_an_envelope_and_every_verdict() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let screen = desk.pawang(&["check", &cluster.url("postgres"), "--json"]);
    let data = screen.data("pawang.check.run/1");
    let verdicts = data[0]["verdicts"].as_array().unwrap();
    assert!(verdicts.len() >= 120, "{}", verdicts.len());
    assert_eq!(data[0]["server"]["role"], "primary");
}

#[tokio::test]
async fn markdown_and_html_are_whole_documents() {
    let cluster = Cluster::start(&Setup::default()).await;
    let url = cluster.url("postgres");
    let desk = Desk::new();
    let markdown = desk.pawang(&["check", &url, "--format", "markdown"]);
    assert!(markdown.stdout.starts_with("# "), "{markdown:?}");
    assert!(markdown.stdout.contains("## Healthy"), "{markdown:?}");
    let html = desk.pawang(&["check", &url, "--format", "html", "--output", "report.html"]);
    assert_eq!(html.stdout, "");
    let page = desk.read("report.html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "a report needs no network"
    );
}
