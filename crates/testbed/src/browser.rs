//! A headless Chromium that is driven over the WebDriver protocol.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::cluster::free_port;
use crate::guard::Guard;
use crate::owner;
use crate::until::DEADLINE;

const POLL: Duration = Duration::from_millis(20);
const ORDER: Duration = Duration::from_secs(60);
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The name under which WebDriver hides the id of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Keys that have no character, as WebDriver writes them.
pub const ENTER: &str = "\u{e007}";
/// The key that leaves.
pub const ESCAPE: &str = "\u{e00c}";
/// Held while the next key is pressed.
pub const CONTROL: &str = "\u{e009}";

/// A browser with one window; it ends on drop, and also when the process is killed.
pub struct Browser {
    guard: Guard,
    port: u16,
    session: String,
}

impl Browser {
    /// Tells whether Chromium and its driver are installed.
    ///
    /// # Panics
    ///
    /// When they are not and `$PAWANG_REQUIRE_PG` is 1.
    pub fn installed() -> bool {
        let found = ["chromium", "chromedriver"].iter().all(|program| {
            let mut command = owner::command("/usr/bin/env");
            owner::output(command.args([program, "--version"]))
                .status
                .success()
        });
        assert!(
            found || !crate::version::required(),
            "chromium is not installed (hint: apt-get install chromium chromium-driver)"
        );
        found
    }

    /// Starts a browser with a window of 1280 by 900.
    pub async fn start() -> Browser {
        // The driver does not listen to SIGTERM; the guard ends the browser that it leaves.
        let mut guard = Guard::new("KILL");
        let port = free_port();
        let directory = guard.directory().to_string_lossy().into_owned();
        guard.start(&[
            "/usr/bin/env",
            &format!("HOME={directory}"),
            "chromedriver",
            &format!("--port={port}"),
        ]);
        let mut browser = Browser {
            guard,
            port,
            session: String::new(),
        };
        browser.ready().await;
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--window-size=1280,900",
            &format!("--user-data-dir={directory}/profile"),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        }}});
        let answer = browser.call("POST", "/session", &wanted).await;
        let session = answer["sessionId"].as_str();
        browser.session = session.expect("WebDriver names its session").to_owned();
        browser
    }

    /// Opens an address and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.order("url", &json!({ "url": url })).await;
    }

    /// Returns the address that is shown.
    pub async fn url(&self) -> String {
        let answer = self
            .call(
                "GET",
                &format!("/session/{}/url", self.session),
                &Value::Null,
            )
            .await;
        answer.as_str().unwrap_or_default().to_owned()
    }

    /// Runs the body of a function in the page and returns what it returns.
    pub async fn script(&self, body: &str) -> Value {
        self.order("execute/sync", &json!({"script": body, "args": []}))
            .await
    }

    /// Returns the text that a person sees of the first element that matches, without any script in the page.
    pub async fn text(&self, selector: &str) -> String {
        let element = self.find(selector).await;
        let path = format!("/session/{}/element/{element}/text", self.session);
        let answer = self.call("GET", &path, &Value::Null).await;
        answer.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks on the first element that matches.
    pub async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        self.order(&format!("element/{element}/click"), &json!({}))
            .await;
    }

    /// Types into the first element that matches.
    pub async fn write(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.order(
            &format!("element/{element}/value"),
            &json!({ "text": text }),
        )
        .await;
    }

    /// Presses keys one after the other, wherever the focus is; a modifier holds until the end.
    pub async fn press(&self, keys: &[&str]) {
        let down = keys
            .iter()
            .map(|key| json!({"type": "keyDown", "value": key}));
        let up = keys
            .iter()
            .rev()
            .map(|key| json!({"type": "keyUp", "value": key}));
        let modified = keys.first() == Some(&CONTROL);
        let actions: Vec<Value> = if modified {
            down.chain(up).collect()
        } else {
            let each = |key: &&str| {
                [
                    json!({"type": "keyDown", "value": key}),
                    json!({"type": "keyUp", "value": key}),
                ]
            };
            keys.iter().flat_map(each).collect()
        };
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.order("actions", &json!({ "actions": [keyboard] }))
            .await;
    }

    /// Presses the mouse at one point of the window, moves it to another, and lets go.
    pub async fn drag(&self, from: (i32, i32), to: (i32, i32)) {
        let go =
            |(x, y): (i32, i32), ms| json!({"type": "pointerMove", "duration": ms, "x": x, "y": y});
        let middle = ((from.0 + to.0) / 2, (from.1 + to.1) / 2);
        let actions = json!([
            go(from, 0),
            {"type": "pointerDown", "button": 0},
            go(middle, 50),
            go(to, 50),
            {"type": "pointerUp", "button": 0},
        ]);
        let mouse = json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions});
        self.order("actions", &json!({ "actions": [mouse] })).await;
    }

    /// Gives the page so much room, on a screen of that kind: `mobile` also means touch and no hover.
    pub async fn resize(&self, width: u32, height: u32, mobile: bool) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    /// Switches scripts of pages off or on.
    pub async fn scripts(&self, on: bool) {
        self.devtools(
            "Emulation.setScriptExecutionDisabled",
            json!({ "value": !on }),
        )
        .await;
    }

    /// Makes the page believe that the person prefers this colour scheme, `light` or `dark`.
    pub async fn scheme(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    /// Gives a command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.order(
            "goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
        .await
    }

    /// Returns everything wrong that the console has said since the last time: errors and warnings.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.order("se/log", &json!({"type": "browser"})).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let wrong = entries
            .into_iter()
            .filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")));
        wrong
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Returns a picture of the whole page, as PNG.
    pub async fn picture(&self) -> Vec<u8> {
        let parameters = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.devtools("Page.captureScreenshot", parameters).await;
        let text = answer["data"].as_str().unwrap_or_default();
        BASE64_STANDARD.decode(text).expect("pictures are base64")
    }

    async fn find(&self, selector: &str) -> String {
        let wanted = json!({"using": "css selector", "value": selector});
        let answer = self.order("element", &wanted).await;
        answer[ELEMENT]
            .as_str()
            .expect("an element has an id")
            .to_owned()
    }

    async fn order(&self, order: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}/{order}", self.session), body)
            .await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = timeout(ORDER, ask(self.port, method, path, body)).await;
        let answer = answer.ok().flatten();
        let (status, answer) = answer.unwrap_or_else(|| {
            panic!(
                "the browser does not answer {path} {body}\n{}",
                self.guard.log_tail()
            )
        });
        let value = &answer["value"];
        assert!(
            status == 200,
            "{path} {body}: {}: {}",
            value["error"],
            value["message"]
        );
        value.clone()
    }

    async fn ready(&self) {
        let deadline = Instant::now() + DEADLINE;
        while !matches!(
            ask(self.port, "GET", "/status", &Value::Null).await,
            Some((200, _))
        ) {
            assert!(
                self.guard.alive() && Instant::now() < deadline,
                "chromedriver does not answer\n{}",
                self.guard.log_tail()
            );
            sleep(POLL).await;
        }
    }
}

/// The driver keeps connections open, so the answer ends where its head says.
async fn ask(port: u16, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let split = loop {
        if stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
        if let Some(split) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break split;
        }
        assert!(
            answer.len() < HEAD_BYTES_MAX,
            "the driver's head is too long"
        );
    };
    let head = String::from_utf8_lossy(&answer[..split]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?;
    let length: usize = length.trim().parse().ok()?;
    let mut content = answer.split_off(split + 4);
    while content.len() < length {
        if stream.read_buf(&mut content).await.ok()? == 0 {
            return None;
        }
    }
    Some((status, serde_json::from_slice(&content).ok()?))
}
