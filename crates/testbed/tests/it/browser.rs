//! A browser that is driven, and that leaves nothing behind.

use pawang_testbed::{Browser, until};

#[tokio::test]
async fn a_page_is_read_typed_into_and_its_complaints_are_heard() {
    if !Browser::installed() {
        return;
    }
    let browser = Browser::start().await;
    browser
        .open("data:text/html,<title>t</title><p id=a>one</p><input id=b><script>console.error('wrong')</script>")
        .await;
    assert_eq!(browser.text("#a").await, "one");
    browser.write("#b", "typed").await;
    assert_eq!(
        browser
            .script("return document.querySelector('#b').value")
            .await,
        "typed"
    );
    let complaints = browser.complaints().await;
    assert!(
        complaints.iter().any(|text| text.contains("wrong")),
        "{complaints:?}"
    );
    browser.resize(390, 844, false).await;
    assert_eq!(browser.script("return innerWidth").await, 390);
    assert!(browser.picture().await.len() > 1_000);
    drop(browser);
    until("no process of the browser is left", async || {
        let processes = std::fs::read_dir("/proc").unwrap();
        let own = format!("user-data-dir=/tmp/pawang-{}-", std::process::id());
        !processes.filter_map(Result::ok).any(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&own)
        })
    })
    .await;
}
