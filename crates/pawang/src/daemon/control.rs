//! The daemon's Unix socket: one line in, `reload`, `status`, `present NAME`, `look NAME`, `order JSON` or `external JSON`, and one line of JSON out.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pawang_alert::channel::accept;
use pawang_core::alert;
use pawang_core::{Kind, Report};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::alerting::Alerting;

const SOCKET_FILE: &str = "pawang.sock";
/// No order is longer; a thousand fingerprints are some 20 kB.
const ORDER_BYTES_MAX: u64 = 64 << 10;
/// What is no order is told back so far.
const ECHOED_CHARACTERS_MAX: usize = 200;
/// No answer is longer; ten thousand tables of one instance are some 20 MB.
const ANSWER_BYTES_MAX: u64 = 128 << 20;
/// Whoever connects says what he wants within this time.
const ORDER_WAIT: Duration = Duration::from_secs(2);
/// The daemon answers within this time; reading a configuration does not take longer.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// The address of a Unix socket may have 107 bytes.
const ADDRESS_BYTES_MAX: usize = 107;
/// After an error of the listener, so that it does not spin.
const PAUSE: Duration = Duration::from_millis(200);

/// An order, and where its answer goes.
pub(super) struct Order {
    /// What is wanted.
    pub wanted: Wanted,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

/// What can be wanted of a daemon.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// Read the configuration again.
    Reload,
    /// Say how it is doing.
    Status,
    /// Say what is known of an instance.
    Present(String),
    /// Look at an instance now: something was changed there.
    Look(String),
    /// Do something about alerts, silences, windows or incidents.
    Alert(Box<alert::Order>),
    /// Take alerts of somebody else, as Alertmanager's webhook writes them.
    External(serde_json::Value),
}

impl Wanted {
    /// Returns its line on the wire.
    fn line(&self) -> String {
        match self {
            Wanted::Reload => "reload".to_owned(),
            Wanted::Status => "status".to_owned(),
            Wanted::Present(name) => format!("present {name}"),
            Wanted::Look(name) => format!("look {name}"),
            Wanted::Alert(order) => {
                let order = serde_json::to_string(order);
                format!("order {}", order.expect("texts and times become JSON"))
            }
            Wanted::External(alerts) => format!("external {alerts}"),
        }
    }

    /// Reads a line of the wire.
    fn read(line: &str) -> Option<Wanted> {
        match line.split_once(' ') {
            None if line == "reload" => Some(Wanted::Reload),
            None if line == "status" => Some(Wanted::Status),
            Some(("present", name)) => Some(Wanted::Present(name.to_owned())),
            Some(("look", name)) => Some(Wanted::Look(name.to_owned())),
            Some(("order", order)) => serde_json::from_str(order).ok().map(Wanted::Alert),
            Some(("external", alerts)) => serde_json::from_str(alerts).ok().map(Wanted::External),
            _ => None,
        }
    }
}

/// What the daemon answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// It was done; here is what there is to know.
    Done(serde_json::Value),
    /// It was not done, and why.
    Refused(Vec<Told>),
}

/// A report as it goes over the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    /// What was tried and did not work.
    pub primary: String,
    /// The facts around it.
    pub detail: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// What kind of failure it is.
    pub kind: Kind,
}

impl From<&Report> for Told {
    fn from(report: &Report) -> Told {
        Told {
            primary: report.primary.clone(),
            detail: report.detail.clone(),
            hint: report.hint.clone(),
            kind: report.kind,
        }
    }
}

impl Told {
    /// Returns the report that it was.
    pub(crate) fn report(self) -> Report {
        Report {
            primary: self.primary,
            detail: self.detail,
            hint: self.hint,
            kind: self.kind,
        }
    }
}

/// Returns the path of the socket in a data directory.
fn path_of(directory: &Path) -> PathBuf {
    directory.join(SOCKET_FILE)
}

/// Calls `open` with a path of the socket that is short enough; the directory is held open meanwhile.
fn with_short_path<T>(
    directory: &Path,
    open: impl FnOnce(&Path) -> std::io::Result<T>,
) -> std::io::Result<T> {
    let path = path_of(directory);
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return open(&path);
    }
    let handle = std::fs::File::open(directory)?;
    let short = format!("/proc/self/fd/{}/{SOCKET_FILE}", handle.as_raw_fd());
    open(Path::new(&short))
}

/// Begins to listen; only whoever may use the data directory may connect.
///
/// # Errors
/// The directory refuses a socket.
pub(super) fn listen(directory: &Path) -> Result<UnixListener, Report> {
    let path = path_of(directory);
    // The lock of the data directory is held: a socket that is there was left by a process that is no more.
    let _ = std::fs::remove_file(&path);
    let bind = with_short_path(directory, |path| UnixListener::bind(path));
    let listener = bind.and_then(|listener| {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        Ok(listener)
    });
    listener.map_err(|error| {
        Report::new(
            Kind::Refused,
            format!("could not listen on socket \"{}\"", path.display()),
        )
        .with_detail(error.to_string())
    })
}

/// Removes the socket at the end.
pub(super) fn remove(directory: &Path) {
    let _ = std::fs::remove_file(path_of(directory));
}

/// Answers one after the other, until it is dropped.
pub(super) async fn serve(listener: UnixListener, orders: mpsc::Sender<Order>, alerting: Alerting) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = answer(stream, &orders, &alerting).await {
                    tracing::debug!("an order was not answered: {error}");
                }
            }
            Err(error) => {
                tracing::warn!("could not accept on the control socket: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(
    mut stream: UnixStream,
    orders: &mpsc::Sender<Order>,
    alerting: &Alerting,
) -> std::io::Result<()> {
    let answer = match timeout(ORDER_WAIT, read_order(&mut stream)).await {
        Ok(Ok(Wanted::Alert(order))) => ask_alerts(*order, alerting).await,
        Ok(Ok(Wanted::External(alerts))) => take_external(&alerts, alerting).await,
        Ok(Ok(wanted)) => ask(wanted, orders).await,
        Ok(Err(told)) => Answer::Refused(vec![told]),
        Err(_) => Answer::Refused(vec![told("no order came in time", None)]),
    };
    let mut line = serde_json::to_vec(&answer).map_err(std::io::Error::other)?;
    line.push(b'\n');
    timeout(ORDER_WAIT, stream.write_all(&line)).await??;
    stream.shutdown().await
}

async fn read_order(stream: &mut UnixStream) -> Result<Wanted, Told> {
    let mut bytes = Vec::new();
    let mut limited = stream.take(ORDER_BYTES_MAX);
    loop {
        let read = limited.read_buf(&mut bytes).await;
        let read =
            read.map_err(|error| told("could not read the order", Some(error.to_string())))?;
        if read == 0 || bytes.contains(&b'\n') {
            break;
        }
    }
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let word = String::from_utf8_lossy(line);
    let word = word.trim();
    Wanted::read(word).ok_or_else(|| {
        let word: String = word.chars().take(ECHOED_CHARACTERS_MAX).collect();
        let primary = format!("there is no order \"{}\"", word.escape_debug());
        told(
            &primary,
            Some(
                "expected reload, status, present NAME, look NAME, order JSON or external JSON"
                    .to_owned(),
            ),
        )
    })
}

async fn ask(wanted: Wanted, orders: &mpsc::Sender<Order>) -> Answer {
    let (answer, receiver) = oneshot::channel();
    let busy = || Answer::Refused(vec![told("the daemon is busy or about to end", None)]);
    if orders.try_send(Order { wanted, answer }).is_err() {
        return busy();
    }
    match timeout(ANSWER_WAIT, receiver).await {
        Ok(Ok(answer)) => answer,
        _ => busy(),
    }
}

async fn ask_alerts(order: alert::Order, alerting: &Alerting) -> Answer {
    match timeout(ANSWER_WAIT, alerting.order(order)).await {
        Ok(Ok(done)) => Answer::Done(serde_json::to_value(done).unwrap_or_default()),
        Ok(Err(report)) => Answer::Refused(vec![Told::from(&report)]),
        Err(_) => Answer::Refused(vec![told("the daemon is busy or about to end", None)]),
    }
}

async fn take_external(alerts: &serde_json::Value, alerting: &Alerting) -> Answer {
    let alerts = match accept(alerts.to_string().as_bytes()) {
        Ok(alerts) => alerts,
        Err(report) => return Answer::Refused(vec![Told::from(&report)]),
    };
    let count = alerts.len();
    match timeout(ANSWER_WAIT, alerting.external(alerts)).await {
        Ok(true) => Answer::Done(count.into()),
        _ => Answer::Refused(vec![told("the daemon is busy or about to end", None)]),
    }
}

fn told(primary: &str, detail: Option<String>) -> Told {
    Told {
        primary: primary.to_owned(),
        detail,
        hint: None,
        kind: Kind::Usage,
    }
}

/// Asks the daemon of a data directory; for the command line.
///
/// # Errors
/// No daemon runs there, or it does not answer.
pub(crate) fn order(directory: &Path, wanted: &Wanted) -> Result<Answer, Report> {
    use std::io::{Read, Write};

    let nobody = |error: std::io::Error| {
        Report::new(
            Kind::Target,
            format!(
                "no pawang serve answers for data directory \"{}\"",
                directory.display()
            ),
        )
        .with_detail(error.to_string())
        .with_hint("pawang serve")
    };
    let line = wanted.line();
    if line.len() as u64 >= ORDER_BYTES_MAX {
        let report = Report::new(Kind::Usage, "cannot order so much at once");
        let detail = format!("{} bytes of at most {ORDER_BYTES_MAX}", line.len());
        return Err(report.with_detail(detail).with_hint("order it in parts"));
    }
    let connect = |path: &Path| std::os::unix::net::UnixStream::connect(path);
    let mut stream = with_short_path(directory, connect).map_err(nobody)?;
    let mut exchange = || -> std::io::Result<Vec<u8>> {
        let most = ORDER_WAIT + ANSWER_WAIT;
        stream.set_read_timeout(Some(most))?;
        stream.set_write_timeout(Some(most))?;
        writeln!(stream, "{line}")?;
        let mut bytes = Vec::new();
        (&mut stream)
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = exchange().map_err(nobody)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Report::new(Kind::Target, "could not read the daemon's answer")
            .with_detail(error.to_string())
    })
}
