//! The dashboard in a real browser: a real server, the real program, and everything that a person does there.

use std::path::PathBuf;

use pawang_testbed::{Browser, CONTROL, Cluster, ENTER, ESCAPE, Setup, until};
use serde_json::Value;

use crate::program::{Desk, instance};
use crate::serve::file;
use crate::serve_daemon::Daemon;

/// First paint of the Instance page, in milliseconds.
const FIRST_PAINT_MS_MAX: f64 = 1_000.0;

const PAGES: [(&str, &str); 16] = [
    ("fleet", "/"),
    ("incidents", "/incidents"),
    ("findings", "/findings"),
    ("windows", "/windows"),
    ("instance", "/instances/dwh-1"),
    ("activity", "/instances/dwh-1/activity"),
    ("queries", "/instances/dwh-1/queries"),
    ("tables", "/instances/dwh-1/tables"),
    ("indexes", "/instances/dwh-1/indexes"),
    ("replication", "/instances/dwh-1/replication"),
    ("storage", "/instances/dwh-1/storage"),
    ("logs", "/instances/dwh-1/logs"),
    ("log-records", "/instances/dwh-1/logs/records"),
    ("settings", "/instances/dwh-1/settings"),
    ("setup", "/instances/dwh-1/setup"),
    ("journal", "/journal"),
];

/// A warehouse with a blocked session, and a daemon that has seen it for a while.
async fn warehouse() -> Cluster {
    let settings = [
        ("shared_preload_libraries", "pg_stat_statements"),
        ("compute_query_id", "on"),
        ("logging_collector", "on"),
        ("log_directory", "log"),
        ("log_line_prefix", "%m [%p] %e %q%u@%d %a "),
        ("log_min_duration_statement", "20"),
    ];
    let cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    cluster
        .sql(
            "postgres",
            "CREATE EXTENSION pg_stat_statements;
             CREATE TABLE orders AS SELECT g AS id, repeat('x', 80) AS note FROM generate_series(1, 20000) AS g;
             CREATE TABLE customers AS SELECT g AS id FROM generate_series(1, 5000) AS g;
             ANALYZE;",
        )
        .await;
    cluster
}

/// Waits until the history has so many points of the transaction rate.
async fn remembered(daemon: &Daemon<'_>, browser: &Browser) {
    daemon.judged("dwh-1").await;
    until("the charts have data", async || {
        browser
            .open(&format!("http://{}/instances/dwh-1", daemon.address()))
            .await;
        let drawn = "return document.querySelectorAll('figure[data-chart] .area path').length";
        browser.script(drawn).await.as_u64() > Some(2)
    })
    .await;
}

/// Keeps a picture for people to look at, in cargo's folder for what tests leave: `target/tmp/screenshots`.
async fn keep(browser: &Browser, name: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let picture = browser.picture().await;
    std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
}

async fn loads(browser: &Browser, url: &str) {
    browser.open(url).await;
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{url}: {complaints:?}");
}

/// Returns after how many milliseconds a page was painted first, at best of some loads: other tests run meanwhile.
async fn first_paint(browser: &Browser, url: &str) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..5 {
        loads(browser, url).await;
        let entries = "performance.getEntriesByName('first-contentful-paint')";
        until("the page is painted", async || {
            number(browser, &format!("return {entries}.length")).await > 0.0
        })
        .await;
        best = best.min(number(browser, &format!("return {entries}[0].startTime")).await);
    }
    best
}

/// Returns a number that a script computes.
async fn number(browser: &Browser, script: &str) -> f64 {
    let value = browser.script(script).await;
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{script}: {value}"))
}

#[tokio::test]
async fn every_page_loads_in_every_form_and_says_nothing_wrong() {
    if !Browser::installed() {
        return;
    }
    let cluster = warehouse().await;
    let desk = Desk::new();
    file(&desk, &instance("dwh-1", &cluster.url("postgres")));
    let daemon = Daemon::start(&desk).await;
    let browser = Browser::start().await;
    remembered(&daemon, &browser).await;
    let base = format!("http://{}", daemon.address());
    for (name, path) in PAGES {
        browser.resize(1280, 900, false).await;
        loads(&browser, &format!("{base}{path}")).await;
        keep(&browser, &format!("{name}-light")).await;
        browser.scheme("dark").await;
        keep(&browser, &format!("{name}-dark")).await;
        browser.scheme("light").await;
        browser.resize(390, 844, true).await;
        loads(&browser, &format!("{base}{path}")).await;
        let wide = number(&browser, "return document.documentElement.scrollWidth").await;
        assert!(wide <= 390.0, "{name} is {wide} px wide on a phone");
        keep(&browser, &format!("{name}-phone")).await;
    }
    browser.resize(1280, 900, false).await;
    let paint = first_paint(&browser, &format!("{base}/instances/dwh-1")).await;
    assert!(paint < FIRST_PAINT_MS_MAX, "first paint after {paint} ms");
    // Without a script the same is readable.
    browser.scripts(false).await;
    for (name, path) in PAGES {
        browser.open(&format!("{base}{path}")).await;
        let text = browser.text("main").await;
        assert!(text.len() > 20, "{name} without a script says: {text}");
    }
    browser
        .open(&format!("{base}/instances/dwh-1/tables?sort=size&q=orders"))
        .await;
    let text = browser.text("main").await;
    assert!(
        text.contains("orders") && !text.contains("customers"),
        "{text}"
    );
    browser.scripts(true).await;
}

#[tokio::test]
async fn a_person_zooms_sorts_filters_and_walks_by_keys() {
    if !Browser::installed() {
        return;
    }
    let cluster = warehouse().await;
    let desk = Desk::new();
    file(&desk, &instance("dwh-1", &cluster.url("postgres")));
    let daemon = Daemon::start(&desk).await;
    let browser = Browser::start().await;
    remembered(&daemon, &browser).await;
    let base = format!("http://{}", daemon.address());
    zoom(&browser).await;
    sort_and_filter(&browser, &base).await;
    keys(&browser, &base).await;
    // What changes on the server changes on the page, and nobody pressed anything.
    browser
        .open(&format!("{base}/instances/dwh-1/activity"))
        .await;
    browser.script("window.mine = 1").await;
    let holder = cluster.connect("postgres").await;
    holder
        .batch_execute("BEGIN; LOCK TABLE orders")
        .await
        .unwrap();
    let waiter = cluster.connect("postgres").await;
    let watch = async {
        until("the blocking tree is on the page", async || {
            browser.text("main").await.contains("LOCK TABLE orders")
        })
        .await;
        assert_eq!(
            browser.script("return window.mine").await,
            1,
            "the page was not loaded anew"
        );
        keep(&browser, "activity-blocked").await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (waited, ()) = tokio::join!(waiter.batch_execute("SELECT count(*) FROM orders"), watch);
    waited.unwrap();
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// Brushes over a chart: the address becomes one that shows this stretch for ever; `0` leads back.
async fn zoom(browser: &Browser) {
    let area = browser
        .script(
            "const area = document.querySelector('figure[data-chart] .plot > .area');
             area.scrollIntoView({block: 'center'});
             const box = area.getBoundingClientRect();
             return [box.left, box.top, box.width, box.height]",
        )
        .await;
    let side = |index: usize| area[index].as_f64().unwrap();
    let at = |share: f64| {
        let (x, y) = (side(0) + side(2) * share, side(1) + side(3) / 2.0);
        (x as i32, y as i32)
    };
    browser.drag(at(0.4), at(0.8)).await;
    until("the address is frozen", async || {
        let url = browser.url().await;
        url.contains("from=") && url.contains("to=")
    })
    .await;
    until("the page says that it stands still", async || {
        browser
            .script("return document.body.dataset.live === undefined")
            .await
            == true
    })
    .await;
    browser.press(&["0"]).await;
    until("the page is back", async || {
        !browser.url().await.contains("from=")
    })
    .await;
}

async fn sort_and_filter(browser: &Browser, base: &str) {
    browser
        .open(&format!("{base}/instances/dwh-1/tables"))
        .await;
    browser.click("th a[href*='sort=table']").await;
    until("the table is sorted by name", async || {
        browser
            .script("return document.querySelector('th[aria-sort] a')?.textContent ?? ''")
            .await
            != ""
    })
    .await;
    browser.press(&["/"]).await;
    let focused = "return document.activeElement.type";
    assert_eq!(browser.script(focused).await, "search");
    browser.write("main input[type=search]", "orders").await;
    browser.press(&[ENTER]).await;
    until("only orders are left", async || {
        let names = "return [...document.querySelectorAll('main tbody tr')].map(r => r.textContent).join('|')";
        let rows = browser.script(names).await;
        rows.as_str().is_some_and(|rows| rows.contains("orders") && !rows.contains("customers"))
    })
    .await;
    assert!(
        browser.url().await.contains("q=orders"),
        "a filter is an address"
    );
}

async fn keys(browser: &Browser, base: &str) {
    browser.open(base).await;
    browser.press(&["?"]).await;
    assert!(browser.text("dialog#help").await.contains("open the row"));
    browser.press(&[ESCAPE]).await;
    browser.press(&["j", ENTER]).await;
    until("the row is open", async || {
        browser.url().await.contains("/instances/dwh-1")
    })
    .await;
    browser.press(&["g", "n"]).await;
    until("the findings are open", async || {
        browser.url().await.contains("/findings")
    })
    .await;
    browser.press(&[CONTROL, "k"]).await;
    browser.write("dialog#palette input", "dwh-1").await;
    browser.press(&[ENTER]).await;
    until("the palette led there", async || {
        browser.url().await.contains("/instances/dwh-1")
    })
    .await;
}

/// Returns what the page says, whichever it is just now.
async fn says(browser: &Browser) -> String {
    let text = "return document.querySelector('#main')?.textContent ?? ''";
    let text = browser.script(text).await;
    text.as_str().unwrap_or_default().to_owned()
}

/// What is critical fires at once.
const ALERTS: &str =
    "[alert]\n[[alert.rule]]\ncheck = \"*\"\nfor_critical = \"0 s\"\nsamples = \"1 of 1\"\n";

#[tokio::test]
async fn an_alert_comes_live_and_somebody_takes_care_of_it_by_one_key() {
    if !Browser::installed() {
        return;
    }
    let mut cluster = warehouse().await;
    let desk = Desk::new();
    let instances = instance("dwh-1", &cluster.url("postgres"));
    file(&desk, &format!("{instances}{ALERTS}"));
    let daemon = Daemon::start(&desk).await;
    daemon.judged("dwh-1").await;
    let base = format!("http://{}", daemon.address());
    let browser = Browser::start().await;
    browser.open(&format!("{base}/findings")).await;
    browser.script("window.mine = 1").await;
    cluster.kill();
    // The worst stands first, and nobody pressed anything.
    let first = "return document.querySelector('.findings > li[data-alert]')?.textContent ?? ''";
    until("the alert is on the page", async || {
        let row = browser.script(first).await;
        row.as_str().is_some_and(|row| row.contains("server-down"))
    })
    .await;
    let same = browser.script("return window.mine").await;
    assert_eq!(same, 1, "the page was not loaded anew");
    until("title and icon carry how many are red", async || {
        let counts = "return [document.title.match(/^\\((\\d+)\\) Findings/)?.[1],
                     document.querySelector('#icon').getAttribute('href').match(/icon-critical-(\\d+)-/)?.[1]]";
        let counts = browser.script(counts).await;
        counts[0].is_string() && counts[0] == counts[1]
    })
    .await;
    keep(&browser, "findings-alert").await;
    browser.press(&["j", "a"]).await;
    keep(&browser, "findings-acknowledge").await;
    browser.write("dialog input[name=by]", "ayu").await;
    browser
        .write("dialog input[name=note]", "starting it")
        .await;
    browser.press(&[ENTER]).await;
    until("it is acknowledged", async || {
        let text = says(&browser).await;
        text.contains("acknowledged by ayu")
    })
    .await;
    browser.press(&["g", "i"]).await;
    until("the incident says who responded", async || {
        let text = says(&browser).await;
        text.contains("ayu after") && text.contains("dwh-1")
    })
    .await;
    keep(&browser, "incidents-open").await;
    browser
        .click("table.incidents a[href^='/incidents/']")
        .await;
    until("its timeline has the note", async || {
        says(&browser).await.contains("starting it")
    })
    .await;
    keep(&browser, "incident").await;
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test]
async fn nobody_sees_anything_before_signing_in() {
    if !Browser::installed() {
        return;
    }
    let cluster = warehouse().await;
    let desk = Desk::new();
    desk.write(
        "pawang.toml",
        &format!(
            "state_directory = \"state\"\n[serve]\nsign_in = true\n{}",
            instance("dwh-1", &cluster.url("postgres"))
        ),
    );
    desk.write("password", "correct horse battery staple\n");
    let created = desk.pawang(&[
        "account",
        "create",
        "alice",
        "--permission",
        "viewer",
        "--password-file",
        "password",
    ]);
    assert_eq!(created.code, 0, "{created:?}");
    let daemon = Daemon::start(&desk).await;
    daemon.judged("dwh-1").await;
    let base = format!("http://{}", daemon.address());
    let browser = Browser::start().await;
    browser
        .open(&format!("{base}/instances/dwh-1/tables"))
        .await;
    assert!(browser.url().await.contains("/sign-in"));
    assert!(!browser.text("body").await.contains("orders"));
    keep(&browser, "sign-in").await;
    let sign_in = async |password: &str| {
        browser.write("input[name=name]", "alice").await;
        browser.write("input[name=password]", password).await;
        browser.click("main button[type=submit]").await;
    };
    sign_in("wrong").await;
    until("the wrong password is refused", async || {
        browser.url().await.contains("/sign-in") && browser.text("main").await.len() > 40
    })
    .await;
    browser
        .open(&format!("{base}/instances/dwh-1/tables"))
        .await;
    sign_in("correct horse battery staple").await;
    until("the page that was asked for is shown", async || {
        browser.url().await.contains("/instances/dwh-1/tables")
    })
    .await;
    let cookie: Value = browser.script("return document.cookie").await;
    assert_eq!(cookie, "", "no script sees the cookie");
}
