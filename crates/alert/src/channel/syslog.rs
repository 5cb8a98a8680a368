//! The system log, by RFC 5424: the local socket, UDP, or TCP with octet counting. One line per alert.

use std::path::PathBuf;

use pawang_config::SyslogConfig;
use pawang_core::Level;
use pawang_core::alert::{Message, Notice};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};

use super::{Trouble, render};

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];
/// Longer lines are cut; most receivers take 8 KiB.
const LINE_BYTES_MAX: usize = 8_000;
const LOCAL: &str = "/dev/log";

#[derive(Debug)]
pub(super) struct Syslog {
    facility: usize,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Socket(PathBuf),
    Udp(String),
    Tcp(String),
}

impl Syslog {
    pub(super) fn new(config: &SyslogConfig) -> Result<Syslog, Trouble> {
        let name = config.facility.as_deref().unwrap_or("daemon");
        let facility = FACILITIES.iter().position(|known| *known == name);
        let facility = facility.ok_or_else(|| {
            Trouble::new(format!("there is no facility \"{name}\""))
                .with_hint("facility = \"daemon\" or \"local0\" to \"local7\"")
        })?;
        let address = config.address.as_deref().unwrap_or(LOCAL);
        let way = match address.split_once("://") {
            Some(("udp", host)) if has_port(host) => Way::Udp(host.to_owned()),
            Some(("tcp", host)) if has_port(host) => Way::Tcp(host.to_owned()),
            None if address.starts_with('/') => Way::Socket(address.into()),
            _ => {
                return Err(Trouble::new("its address cannot be used").with_hint(
                    "address = \"/dev/log\", \"udp://host:514\" or \"tcp://host:514\"",
                ));
            }
        };
        Ok(Syslog { facility, way })
    }

    pub(super) async fn send(&mut self, message: &Message) -> Result<(), Trouble> {
        let lines = lines(message, self.facility);
        let (shown, sent) = match &self.way {
            Way::Socket(path) => (path.display().to_string(), socket(path, &lines).await),
            Way::Udp(host) => (host.clone(), udp(host, &lines).await),
            Way::Tcp(host) => (host.clone(), tcp(host, &lines).await),
        };
        sent.map_err(|error| {
            Trouble::new(format!(
                "could not write to the system log at {shown}: {error}"
            ))
            .with_hint("check address, and that a log daemon listens there")
        })
    }
}

fn has_port(host: &str) -> bool {
    let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    matches!(port, Some(Ok(_)))
}

async fn socket(path: &std::path::Path, lines: &[String]) -> std::io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    for line in lines {
        socket.send(line.as_bytes()).await?;
    }
    Ok(())
}

async fn udp(host: &str, lines: &[String]) -> std::io::Result<()> {
    let mut addresses = tokio::net::lookup_host(host).await?;
    let address = addresses.next().ok_or(std::io::ErrorKind::NotFound)?;
    let any = if address.is_ipv6() {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    for line in lines {
        socket.send(line.as_bytes()).await?;
    }
    Ok(())
}

async fn tcp(host: &str, lines: &[String]) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(host).await?;
    for line in lines {
        let framed = format!("{} {line}", line.len());
        stream.write_all(framed.as_bytes()).await?;
    }
    // An orderly end, so that what was sent is not lost with the connection.
    stream.shutdown().await
}

fn lines(message: &Message, facility: usize) -> Vec<String> {
    if message.notices.is_empty() {
        let text = render::subject(message);
        return vec![line(message, facility, 5, "-", &data(message, None), &text)];
    }
    let lines = message.notices.iter().map(|notice| {
        let severity = match (notice.firing, notice.level) {
            (false, _) => 5,
            (true, Some(Level::Critical)) => 2,
            _ => 4,
        };
        let check = notice.labels.get("check").map_or("-", String::as_str);
        let mut text = format!(
            "[{}] {}",
            render::state(notice).to_uppercase(),
            notice.title
        );
        if let Some(value) = render::value(notice) {
            text = format!("{text}; {value}");
        }
        if let Some(link) = &notice.link {
            text = format!("{text}; {link}");
        }
        let data = data(message, Some(notice));
        line(
            message,
            facility,
            severity,
            check,
            &data,
            &render::one_line(&text),
        )
    });
    lines.collect()
}

fn line(
    message: &Message,
    facility: usize,
    severity: usize,
    id: &str,
    data: &str,
    text: &str,
) -> String {
    let uname = rustix::system::uname();
    let host = word(uname.nodename().to_str().unwrap_or("-"), 255);
    let process = std::process::id();
    let priority = facility * 8 + severity;
    let at = message.created_at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
    let id = word(id, 32);
    let mut line = format!("<{priority}>1 {at} {host} pawang {process} {id} {data} \u{feff}{text}");
    line.truncate(line.floor_char_boundary(LINE_BYTES_MAX));
    line
}

/// Structured data under the number that RFC 5612 gives to examples.
fn data(message: &Message, notice: Option<&Notice>) -> String {
    let label = |name: &str| {
        let labels = notice.map(|notice| &notice.labels);
        labels
            .and_then(|labels| labels.get(name))
            .map_or("", String::as_str)
    };
    let fingerprint = notice.map_or("", |notice| &notice.fingerprint);
    let state = notice.map_or("", render::state);
    let pairs = [
        ("key", message.key.as_str()),
        ("priority", message.priority.as_str()),
        ("state", state),
        ("fingerprint", fingerprint),
        ("check", label("check")),
        ("instance", label("instance")),
        ("database", label("database")),
        ("object", label("object")),
    ];
    let mut data = "[pawang@32473".to_owned();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        let value = render::cut(&render::one_line(value), 200);
        let value = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace(']', "\\]");
        data = format!("{data} {name}=\"{value}\"");
    }
    format!("{data}]")
}

/// Names are ASCII without blanks.
fn word(text: &str, bytes_max: usize) -> String {
    let word: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(bytes_max)
        .collect();
    if word.is_empty() {
        "-".to_owned()
    } else {
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::render::tests::{message, over};

    #[test]
    fn lines_are_those_of_rfc_5424() {
        let mut message = message();
        message.notices[0]
            .labels
            .insert("object".to_owned(), r#"a"b]c\d"#.to_owned());
        let line = &lines(&message, 3)[0];
        assert!(
            line.starts_with("<26>1 2026-11-21T18:04:00.000000Z "),
            "{line}"
        );
        assert!(
            line.contains(" disk-space [pawang@32473 key=\"default-1-mail\""),
            "{line}"
        );
        assert!(line.contains(r#" object="a\"b\]c\\d"]"#), "{line}");
        assert!(line.contains("\u{feff}[CRITICAL] disk <of>"), "{line}");
        assert!(lines(&over(), 23)[0].starts_with("<189>1 "));
    }

    #[test]
    fn addresses_are_read() {
        for (address, good) in [
            ("/dev/log", true),
            ("udp://log.example.org:514", true),
            ("tcp://[::1]:601", true),
            ("udp://log.example.org", false),
            ("http://x:1", false),
            ("log", false),
        ] {
            let config = SyslogConfig {
                address: Some(address.to_owned()),
                facility: None,
            };
            assert_eq!(Syslog::new(&config).is_ok(), good, "{address}");
        }
    }
}
