//! Mail: text and HTML, and one thread per group.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use maud::{DOCTYPE, html};
use pawang_config::{SmtpConfig, SmtpTls};
use pawang_core::alert::{Message, Notice};

use super::{Trouble, render, secret};

/// Longer subjects are cut.
const SUBJECT_MAX: usize = 200;
/// What follows the `@` of our message ids.
const ID_HOST: &str = "pawang";

pub(super) struct Smtp {
    server: String,
    port: u16,
    tls: SmtpTls,
    ca_file: Option<PathBuf>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    from: Mailbox,
    to: Vec<Mailbox>,
    /// Made when it is first needed: reading the certificates of the system takes milliseconds.
    parameters: Option<TlsParameters>,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Smtp {
    pub(super) fn new(config: &SmtpConfig) -> Result<Smtp, Trouble> {
        let port = config.port.unwrap_or(match config.tls {
            SmtpTls::Starttls => 587,
            SmtpTls::Tls => 465,
            SmtpTls::None => 25,
        });
        if config.username.is_some() != config.password_file.is_some() {
            return Err(Trouble::new(
                "it has only one of username and password_file",
            ));
        }
        let to: Result<Vec<Mailbox>, Trouble> =
            config.to.iter().map(|address| mailbox(address)).collect();
        Ok(Smtp {
            server: config.server.clone(),
            port,
            tls: config.tls,
            ca_file: config.ca_file.clone(),
            username: config.username.clone(),
            password_file: config.password_file.clone(),
            from: mailbox(&config.from)?,
            to: to?,
            parameters: None,
        })
    }

    pub(super) async fn send(
        &mut self,
        message: &Message,
        timeout: Duration,
    ) -> Result<(), Trouble> {
        let to = match &message.recipient.address {
            Some(address) => vec![mailbox(address).map_err(Trouble::for_good)?],
            None => self.to.clone(),
        };
        if to.is_empty() {
            return Err(Trouble::new("there is nobody to send mail to")
                .with_hint("set to = [\"...\"], or send to a contact")
                .for_good());
        }
        let mail = mail(message, &self.from, to)?;
        let shown = format!("{}:{}", self.server, self.port);
        let attempt = async {
            self.find(&shown).await?;
            let transport = self.transport(timeout)?;
            let sent = transport.send(mail).await;
            sent.map_err(|error| self.refused(&shown, &error))
        };
        match tokio::time::timeout(timeout, attempt).await {
            Ok(sent) => sent.map(drop),
            Err(_) => Err(Trouble::new(format!(
                "{shown} did not go on within {} s",
                timeout.as_secs_f32()
            ))
            .with_hint("check port and tls: a server that waits for TLS does not greet")),
        }
    }

    /// Asks for the address first, so that a wrong name is told as that.
    async fn find(&self, shown: &str) -> Result<(), Trouble> {
        let found = tokio::net::lookup_host((self.server.as_str(), self.port)).await;
        found.map(drop).map_err(|error| {
            let what = format!("could not find the address of {shown}: {error}");
            Trouble::new(what).with_hint("check server, and the name server")
        })
    }

    fn transport(
        &mut self,
        timeout: Duration,
    ) -> Result<AsyncSmtpTransport<Tokio1Executor>, Trouble> {
        let tls = match self.tls {
            SmtpTls::None => Tls::None,
            SmtpTls::Starttls => Tls::Required(self.parameters()?),
            SmtpTls::Tls => Tls::Wrapper(self.parameters()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&*self.server)
            .port(self.port)
            .hello_name(hello())
            .timeout(Some(timeout))
            .tls(tls);
        if let (Some(username), Some(path)) = (&self.username, &self.password_file) {
            let password = secret::read(path)?;
            let password = password.reveal().clone();
            builder = builder.credentials(Credentials::new(username.clone(), password));
        }
        Ok(builder.build())
    }

    fn parameters(&mut self) -> Result<TlsParameters, Trouble> {
        if let Some(parameters) = &self.parameters {
            return Ok(parameters.clone());
        }
        let certificates = pawang_http::certificates(self.ca_file.as_deref())
            .map_err(|error| Trouble::new(error.to_string()))?;
        let wrong = |error: lettre::transport::smtp::Error| {
            Trouble::new(format!("cannot set up TLS: {error}"))
        };
        let mut builder =
            TlsParameters::builder(self.server.clone()).certificate_store(CertificateStore::None);
        for certificate in certificates {
            let certificate = Certificate::from_der(certificate.to_vec()).map_err(wrong)?;
            builder = builder.add_root_certificate(certificate);
        }
        let parameters = builder.build_rustls().map_err(wrong)?;
        Ok(self.parameters.insert(parameters).clone())
    }

    fn refused(&self, shown: &str, error: &lettre::transport::smtp::Error) -> Trouble {
        let code = error.status().map(u16::from);
        let words = render::one_line(&pawang_http::chain(error));
        let words = render::cut(&words, 300);
        let what = |did: &str| Trouble::new(format!("{shown} {did}: {words}"));
        match code {
            Some(530 | 534 | 535 | 538) => what("refused the user or the password").with_hint(
                self.password_file.as_ref().map_or_else(
                    || "set username and password_file".to_owned(),
                    |path| format!("check username, and the password in \"{}\"", path.display()),
                ),
            ),
            // Servers that keep strangers waiting for a while answer like this, and so do full mailboxes.
            Some(400..=499) => what("asks to try again later"),
            // 554 at the greeting is about us and not about the mail, but there is no way to tell them apart.
            Some(550..=553) => what("refused the mail or its recipient").for_good(),
            Some(_) => what("refused the mail"),
            None if pawang_http::is_certificate(error) => {
                what("has a certificate that is not trusted")
                    .with_hint("name the certificate that signs the server's in ca_file")
            }
            None if error.is_tls() || error.is_client() => {
                what("cannot agree on TLS or signing in")
                    .with_hint("check port and tls = \"starttls\", \"tls\" or \"none\"")
            }
            None => Trouble::new(format!("could not send mail by {shown}: {words}"))
                .with_hint("check server, port and tls"),
        }
    }
}

fn mailbox(address: &str) -> Result<Mailbox, Trouble> {
    address.parse().map_err(|error| {
        Trouble::new(format!("\"{address}\" is no mail address: {error}"))
            .with_hint("\"Pawang <pawang@example.org>\"")
    })
}

fn hello() -> ClientId {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_str().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    match host.parse::<IpAddr>() {
        Err(_) if !host.is_empty() && host.chars().all(plain) => ClientId::Domain(host.to_owned()),
        _ => ClientId::Domain("localhost".to_owned()),
    }
}

/// Returns the mail: one thread per group, by the id of its first message.
fn mail(message: &Message, from: &Mailbox, to: Vec<Mailbox>) -> Result<lettre::Message, Trouble> {
    let first = message_id(&format!("{}-1", message.thread));
    let id = match message.sequence {
        1 => first.clone(),
        _ => message_id(&message.key),
    };
    let subject = render::cut(&render::subject(message), SUBJECT_MAX);
    let mut builder = lettre::Message::builder()
        .from(from.clone())
        .mailbox(lettre::message::header::To::from(
            to.into_iter().collect::<Mailboxes>(),
        ))
        .date(std::time::SystemTime::from(message.created_at))
        .message_id(Some(id.clone()))
        .subject(subject);
    if id != first {
        builder = builder.in_reply_to(first.clone()).references(first);
    }
    let fingerprints: Vec<&str> = message
        .notices
        .iter()
        .take(20)
        .map(|notice| notice.fingerprint.as_str())
        .collect();
    for (name, value) in [
        ("Auto-Submitted", "auto-generated"),
        ("X-Pawang-Alert", &render::one_line(&fingerprints.join(" "))),
        ("X-Pawang-Priority", message.priority.as_str()),
    ] {
        let name = HeaderName::new_from_ascii(name.to_owned()).expect("it is ASCII");
        builder = builder.raw_header(HeaderValue::new(name, value.to_owned()));
    }
    let parts = MultiPart::alternative_plain_html(render::text(message), page(message));
    let built = builder.multipart(parts);
    built.map_err(|error| Trouble::new(format!("could not write the mail: {error}")).for_good())
}

/// Ids have a few letters only; the same text always gives the same id.
fn message_id(key: &str) -> String {
    let plain = |c: char| {
        let fits = c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if fits {
            c.to_string()
        } else {
            format!("={:x}", u32::from(c))
        }
    };
    let key: String = key.chars().map(plain).collect();
    format!("<{key}@{ID_HOST}>")
}

/// Returns the message as HTML that mail clients show: styles inline, no pictures, no fixed background.
fn page(message: &Message) -> String {
    let lead = render::lead(message);
    let page = html! {
        (DOCTYPE)
        html {
            head {
                meta charset="utf-8";
                meta name="color-scheme" content="light dark";
                meta name="supported-color-schemes" content="light dark";
            }
            body style="font-family:sans-serif;font-size:15px;line-height:1.4;max-width:44em" {
                h1 style="font-size:18px;margin:0 0 8px" { (render::subject(message)) }
                @if !lead.is_empty() { p { (lead) } }
                @for notice in &message.notices { (section(notice)) }
                @for note in render::notes(message) { p { em { (note) } } }
                @if let Some(link) = &message.link { p { a href=(link) { "Open the dashboard" } } }
            }
        }
    };
    page.into_string()
}

fn section(notice: &Notice) -> maud::Markup {
    let border = format!(
        "border-left:4px solid {};padding:2px 0 2px 12px;margin:16px 0",
        render::colour(notice)
    );
    html! {
        div style=(border) {
            h2 style="font-size:16px;margin:0 0 6px" { "[" (render::state(notice).to_uppercase()) "] " (notice.title) }
            table style="border-collapse:collapse;font-size:14px" {
                @for (name, value) in render::facts(notice) {
                    tr {
                        td style="padding:1px 12px 1px 0;vertical-align:top;opacity:.75" { (name) }
                        td style="padding:1px 0;vertical-align:top" { (value) }
                    }
                }
            }
            @if !notice.causes.is_empty() {
                p style="margin:8px 0 2px" { "Probable causes" }
                ul style="margin:0" { @for cause in &notice.causes { li { (cause) } } }
            }
            @if notice.firing && !notice.remedy.is_empty() {
                p style="margin:8px 0 2px" { "To do" }
                pre style="margin:0;padding:6px 8px;border:1px solid #8886;white-space:pre-wrap" { (notice.remedy) }
            }
            @if let Some(runbook) = &notice.runbook { p { a href=(runbook) { "Runbook" } } }
            @if let Some(link) = &notice.link { p { a href=(link) { "Show it" } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::render::tests::message;

    fn formatted(message: &Message) -> String {
        let from = mailbox("Pawang <pawang@example.org>").unwrap();
        let mail = mail(message, &from, vec![mailbox("ayu@example.org").unwrap()]).unwrap();
        String::from_utf8(mail.formatted()).unwrap()
    }

    #[test]
    fn all_mails_of_a_group_are_one_thread() {
        let mut first = message();
        first.sequence = 1;
        let first = formatted(&first);
        assert!(
            first.contains("Message-ID: <default-1-1@pawang>"),
            "{first}"
        );
        assert!(!first.contains("In-Reply-To"), "{first}");
        let next = formatted(&message());
        for line in [
            "Message-ID: <default-1-mail@pawang>",
            "In-Reply-To: <default-1-1@pawang>",
            "References: <default-1-1@pawang>",
            "Auto-Submitted: auto-generated",
            "X-Pawang-Alert: 00c0ffee00c0ffee",
            "Subject: P1 critical dwh-1: disk is 97 % full",
        ] {
            assert!(next.contains(line), "{line:?} is not in\n{next}");
        }
    }

    #[test]
    fn nothing_gets_into_headers_that_does_not_belong_there() {
        let mut message = message();
        message.subject = "x\r\nBcc: evil@example.org\n\nbody".to_owned();
        message.key = "a b>\r\nBcc: x".to_owned();
        let mail = formatted(&message);
        let head = mail.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(
            head.contains("Subject: x Bcc: evil@example.org body"),
            "{head}"
        );
    }

    #[test]
    fn the_page_escapes_what_others_wrote() {
        let page = page(&message());
        assert!(page.contains("disk &lt;of&gt;"), "{page}");
        assert!(page.contains("color-scheme"), "{page}");
    }
}
