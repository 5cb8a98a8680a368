//! The pages about the log of a server: what was read, what is behind each number, and why there is nothing.

use std::path::{Path, PathBuf};

use pawang_core::{Blind, Timestamp};
use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::{PIECE_BYTES, Settings};
use pawang_logs::input::Input;
use pawang_logs::resume::{RealDisk, STEP_BYTES, Store, directory_of};
use pawang_logs::tally::Tally;
use pawang_store::live::LogStatus;

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
