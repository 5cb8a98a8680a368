//! The pages about the log of a server: what was read, what is behind each number, and why there is nothing.

use std::path::{Path, PathBuf};

use pawang_core::{Blind, Timestamp};
use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::{PIECE_BYTES, Settings};
use pawang_logs::input::Input;
use pawang_logs::resume::{RealDisk, STEP_BYTES, Store, directory_of};
use pawang_logs::tally::Tally;
use pawang_store::live::{LogError, LogPosition, LogStatus};
use pawang_testbed::{Browser, until};

use crate::estate::{Estate, now, settings};
use crate::http::Client;

const PAGE: &str = "/instances/dwh-1/logs";

/// An estate whose server is down, which makes no difference to its log.
async fn estate() -> Estate {
    let mut estate = Estate::new();
    let gone = "postgresql://u@127.0.0.1:1/postgres?connect_timeout=1";
    estate.watch("dwh-1", "prod", gone);
    estate.look().await;
    estate
}

/// Writes a log of the last minutes, with what nobody would choose.
fn write(path: &Path, now: Timestamp) {
    let mut text = String::new();
    let mut add = |seconds: i64, sqlstate: &str, what: &str| {
        let at = now - jiff::SignedDuration::from_secs(600 - seconds);
        let at = at.strftime("%Y-%m-%d %H:%M:%S%.3f UTC");
        text.push_str(&format!("{at} [77] {sqlstate} app@shop {what}\n"));
    };
    for number in 0..7 {
        add(number, "22012", "ERROR:  division by zero");
    }
    for number in 0..3 {
        let what = format!("ERROR:  relation \"<script>{number}\" does not exist");
        add(20 + number, "42P01", &what);
    }
    for number in 0..5 {
        let what = format!(
            "LOG:  duration: {number}50.0 ms  statement: select * from orders where id = 471{number}"
        );
        add(30 + number, "00000", &what);
    }
    add(
        50,
        "28P01",
        "FATAL:  could not connect with password=planted-role",
    );
    add(51, "00000", "LOG:  <b>nobody knows this text</b>");
    std::fs::write(path, text).unwrap();
}

/// Reads a log as the daemon does.
fn read(estate: &Estate, files: &[PathBuf], now: Timestamp) {
    let state = directory_of(estate.store.directory(), "dwh-1");
    let mut store = Store::<Tally>::open(&state, Box::new(RealDisk), STEP_BYTES).unwrap();
    let settings = Settings {
        threads: 1,
        piece_bytes: PIECE_BYTES,
        choose: &|head| choose(head, &Wish::default()),
    };
    let inputs: Vec<Input> = files.iter().map(Input::file).collect();
    let later = now.as_second() + 3_600;
    store.run(&inputs, &settings, later).unwrap();
    let status = LogStatus {
        directory: Some(PathBuf::from("/var/log/postgresql")),
        files: files.to_vec(),
        prefix: Some("%m [%p] %e %q%u@%d ".to_owned()),
        zone: Some("UTC".to_owned()),
        read_at: Some(now),
        ..LogStatus::default()
    };
    estate.live.put_log("dwh-1", Some(status));
}

#[tokio::test]
async fn every_number_leads_to_its_records() {
    let estate = estate().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.log");
    write(&file, now());
    read(&estate, &[file], now());
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    let page = client.get(PAGE).await.text();
    for part in [
        "division by zero",
        "22012",
        "select * from orders where id",
        "division-by-zero",
        "nobody knows this text",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    for part in ["<script>0", "<b>nobody", "planted-role", "4711"] {
        assert!(!page.contains(part), "{part}: {page}");
    }
    let log = client.json("/api/v1/instances/dwh-1/logs").await;
    assert_eq!(
        (&log["records"], &log["unclassified"]),
        (&17.into(), &1.into())
    );
    assert_eq!(log["severities"]["ERROR"], 10);
    let records = "/api/v1/instances/dwh-1/logs/records";
    let mut followed = 0;
    for (list, parameter, key, count) in [
        ("kinds", "kind", "kind", "count"),
        ("errors", "error", "id", "count"),
        ("statements", "statement", "id", "calls"),
    ] {
        for row in log[list].as_array().unwrap() {
            let query = format!("?{parameter}={}", row[key].as_str().unwrap());
            let found = client.json(&format!("{records}{query}")).await;
            let number = found["records"].as_array().unwrap().len();
            assert_eq!(row[count], number, "{row}: {found}");
            let page = client.get(&format!("{PAGE}/records{query}")).await.text();
            assert!(page.matches("li data-key=").count() == number, "{page}");
            assert!(!page.contains("planted-role") && !page.contains("<script>0"));
            followed += 1;
        }
    }
    assert!(followed > 6, "{followed}");
    let worst = client
        .json(&format!("{records}?severity=error&q=ZERO&limit=2"))
        .await;
    assert_eq!(
        (worst["records"].as_array().unwrap().len(), &worst["cut"]),
        (2, &"records".into())
    );
    let wrong = client.get(&format!("{PAGE}/records?severity=awful")).await;
    assert_eq!(wrong.status, 400);
    served.stop().await;
}

#[tokio::test]
async fn the_live_tail_is_what_the_script_appends_to() {
    let estate = estate().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.log");
    write(&file, now());
    read(&estate, &[file], now());
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    for (path, most) in [(PAGE.to_owned(), 15), (format!("{PAGE}/records"), 200)] {
        let page = client.get(&path).await.text();
        let list = format!("<ol class=\"records\" data-tail data-most=\"{most}\"><li data-key=");
        assert!(page.contains(&list), "{page}");
        assert_eq!(page.matches(" data-at=\"1").count(), 17.min(most), "{page}");
        // Without a script nothing can be paused.
        let button =
            "<button type=\"button\" data-pause aria-pressed=\"false\" hidden>Pause</button>";
        assert!(page.contains(button), "{page}");
        let script = page.split("src=\"/assets/tail-").nth(1).unwrap();
        let script = format!("/assets/tail-{}", script.split('"').next().unwrap());
        assert_eq!(client.get(&script).await.status, 200, "{script}");
        let frozen = client
            .get(&format!(
                "{path}?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z"
            ))
            .await
            .text();
        assert!(
            !frozen.contains("data-pause") && !frozen.contains("/assets/tail-"),
            "{frozen}"
        );
    }
    served.stop().await;
}

/// Writes so many more records, each with its own number, and says that something changed.
fn more(estate: &Estate, file: &Path, from: usize, count: usize) {
    let at = now().strftime("%Y-%m-%d %H:%M:%S%.3f UTC");
    let lines = (from..from + count)
        .map(|number| format!("{at} [78] 00000 app@shop LOG:  record number {number}.\n"));
    let mut open = std::fs::File::options().append(true).open(file).unwrap();
    std::io::Write::write_all(&mut open, lines.collect::<String>().as_bytes()).unwrap();
    let status = estate.live.log("dwh-1").unwrap();
    estate
        .live
        .put_log("dwh-1", Some(LogStatus::clone(&status)));
}

/// Waits until the first row of the list is that record.
async fn newest(browser: &Browser, number: usize) {
    let wanted = format!("record number {number}.");
    until(&format!("{wanted} is on the page"), async || {
        let first = "return document.querySelector('[data-tail] > li')?.textContent ?? ''";
        let shown = browser.script(first).await;
        shown.as_str().unwrap_or_default().contains(&wanted)
    })
    .await;
}

async fn count_of(browser: &Browser, query: &str) -> u64 {
    let count = format!("return document.querySelectorAll({query:?}).length");
    browser.script(&count).await.as_u64().unwrap()
}

#[tokio::test]
async fn new_records_are_added_to_an_open_page_which_keeps_its_place() {
    if !Browser::installed() {
        return;
    }
    let estate = estate().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.log");
    write(&file, now());
    read(&estate, std::slice::from_ref(&file), now());
    more(&estate, &file, 0, 150);
    let served = estate.serve(settings()).await;
    let browser = Browser::start().await;
    let base = format!("http://{}{PAGE}", served.address);
    browser.open(&base).await;
    browser
        .script("document.querySelector('[data-tail] > li').mine = 1")
        .await;
    more(&estate, &file, 150, 5);
    newest(&browser, 154).await;
    let mine =
        "return [...document.querySelectorAll('[data-tail] > li')].findIndex((row) => row.mine)";
    assert_eq!(browser.script(mine).await, 5, "the row is another one");
    assert_eq!(count_of(&browser, "[data-tail] > li").await, 20);
    browser.open(&format!("{base}/records")).await;
    assert_eq!(count_of(&browser, "[data-tail] > li").await, 172);
    let place =
        "return [window.row.isConnected, Math.round(window.row.getBoundingClientRect().top)]";
    let scroll = "window.row = document.querySelectorAll('[data-tail] > li')[80];
         window.row.scrollIntoView();";
    browser.script(scroll).await;
    let before = browser.script(place).await;
    more(&estate, &file, 155, 30);
    newest(&browser, 184).await;
    assert_eq!(browser.script(place).await, before);
    assert_eq!(count_of(&browser, "[data-tail] > li.new").await, 30);
    keep(&browser, "log-tail-live").await;
    browser.script("scrollTo(0, 0)").await;
    browser.click("[data-pause]").await;
    assert_eq!(browser.text("[data-pause]").await, "Go on");
    more(&estate, &file, 185, 20);
    browser.click("[data-pause]").await;
    newest(&browser, 204).await;
    assert_eq!(count_of(&browser, "[data-tail] > li").await, 222);
    // More at once than a look shows, and in the end more than a page keeps.
    for from in [205, 505, 805] {
        more(&estate, &file, from, 300);
        newest(&browser, from + 299).await;
    }
    assert_eq!(count_of(&browser, "[data-tail] > li[data-key]").await, 500);
    assert!(count_of(&browser, "[data-tail] > li:not([data-key])").await >= 2);
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    served.stop().await;
}

/// Keeps a picture for people to look at.
async fn keep(browser: &Browser, name: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let picture = browser.picture().await;
    std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
}

#[tokio::test]
async fn a_search_unpacks_files_and_says_what_it_left() {
    let estate = estate().await;
    let directory = tempfile::tempdir().unwrap();
    let (plain, cut) = (
        directory.path().join("server.log"),
        directory.path().join("server.log.1.gz"),
    );
    write(&plain, now());
    let text = std::fs::read(&plain).unwrap();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packer, &text.repeat(3)).unwrap();
    let packed = packer.finish().unwrap();
    std::fs::write(&cut, &packed).unwrap();
    read(&estate, &[plain.clone(), cut.clone()], now());
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    let records = "/api/v1/instances/dwh-1/logs/records?q=zero";
    let found = client.json(records).await;
    assert_eq!(found["records"].as_array().unwrap().len(), 4 * 7, "{found}");
    assert_eq!(
        (&found["left-out"], &found["unopened"]),
        (&serde_json::json!({}), &0.into())
    );
    std::fs::write(&cut, &packed[..packed.len() - 9]).unwrap();
    let page = client.get(&format!("{PAGE}/records?q=zero")).await.text();
    assert!(
        page.contains("1 file was not searched, or not whole"),
        "{page}"
    );
    assert!(
        page.contains("its gz data is cut short or damaged"),
        "{page}"
    );
    served.stop().await;
}

#[tokio::test]
async fn how_far_the_log_was_read_is_on_the_setup_page_and_in_the_api() {
    let estate = estate().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.log");
    write(&file, now());
    read(&estate, &[file], now());
    let mut status = LogStatus::clone(&estate.live.log("dwh-1").unwrap());
    status.behind_bytes = 4_096;
    (status.lost_files, status.lost_bytes) = (2, 2_048);
    status.last_error = Some(LogError {
        at: now(),
        what: "server.log: it <b>ends</b> early".to_owned(),
    });
    let position = |name: &str, compressed| LogPosition {
        name: name.to_owned(),
        bytes: 9_000,
        read_to: 8_000,
        compressed,
        whole: compressed,
    };
    status.positions = vec![position("old.log.gz", true), position("server.log", false)];
    estate.live.put_log("dwh-1", Some(status));
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    let page = client.get("/instances/dwh-1/setup").await.text();
    let (_, section) = page.split_once("id=\"log\"").unwrap();
    let section = section.split("</section>").next().unwrap();
    for part in [
        "4.0 kB",
        "2.0 kB",
        " of 2 files",
        "old.log.gz",
        "whole, compressed",
        "being read",
        "byte 8000",
        "it &lt;b&gt;ends&lt;/b&gt; early",
        "unclassified",
        "gaps",
    ] {
        assert!(section.contains(part), "{part}: {section}");
    }
    let daemon = client.json("/api/v1/daemon").await;
    let log = client.json("/api/v1/instances/dwh-1/logs").await;
    let reading = &daemon["logs"]["dwh-1"];
    assert_eq!(reading, &log["reading"]);
    assert_eq!(reading["files"][1]["read-to"], 8_000, "{reading}");
    assert_eq!(reading["lost-bytes"], 2_048);
    assert_eq!((&log["gaps"], &log["unclassified"]), (&0.into(), &1.into()));
    served.stop().await;
}

#[tokio::test]
async fn why_there_is_nothing_is_told() {
    let estate = estate().await;
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    let page = client.get(PAGE).await.text();
    assert!(page.contains("The log is not read"), "{page}");
    let blind = Blind::NotLocal {
        what: "the server log".to_owned(),
    };
    let status = LogStatus {
        blind: Some(blind),
        troubles: vec!["a.log: permission denied".to_owned()],
        ..LogStatus::default()
    };
    estate.live.put_log("dwh-1", Some(status));
    for path in [PAGE, "/instances/dwh-1/logs/records"] {
        let page = client.get(path).await.text();
        assert!(page.contains("only be read on the server"), "{page}");
        assert!(page.contains("run pawang on that machine"), "{page}");
    }
    let page = client.get(PAGE).await.text();
    assert!(page.contains("a.log: permission denied"), "{page}");
    // A state that was damaged is no log without records.
    let state = directory_of(estate.store.directory(), "dwh-1");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join("manifest"), "damaged").unwrap();
    let page = client.get(&format!("{PAGE}?range=24h")).await.text();
    assert!(page.contains("is damaged"), "{page}");
    served.stop().await;
}
