//! Mail, against a real server.

use pawang_alert::channel::{Channel, Trouble};
use pawang_testbed::{MailServer, Receiver, Reply};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{channel, hasty, message, secret};

struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

fn certificates() -> Certificates {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &issuer).unwrap();
    Certificates {
        authority: authority_certificate.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

struct Post {
    server: MailServer,
    directory: TempDir,
}

impl Post {
    async fn start(tls: &str) -> Post {
        let made = certificates();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("ca.pem"), &made.authority).unwrap();
        Post {
            server: MailServer::start(tls, &made.certificate, &made.key).await,
            directory,
        }
    }

    fn channel(&self, tls: &str, more: Value) -> Channel {
        let mut table = json!({
            "server": "localhost",
            "port": self.server.port(),
            "tls": tls,
            "from": "Pawang <pawang@example.org>",
            "to": ["ayu@example.org"],
        });
        if tls != "none" {
            table["ca_file"] = json!(self.directory.path().join("ca.pem"));
            table["username"] = json!(MailServer::USER[0]);
            table["password_file"] = json!(secret(&self.directory, MailServer::USER[1]));
        }
        for (key, value) in more.as_object().unwrap() {
            table[key] = value.clone();
            if value.is_null() {
                table.as_object_mut().unwrap().remove(key);
            }
        }
        channel("smtp", table)
    }
}

async fn refused(mut channel: Channel, address: Option<&str>) -> Trouble {
    let mut message = message(1, true);
    message.recipient.address = address.map(str::to_owned);
    channel.send(&message).await.unwrap_err()
}

#[tokio::test]
async fn one_alert_is_one_mail_thread() {
    if !MailServer::installed() {
        return;
    }
    for tls in ["starttls", "tls", "none"] {
        let post = Post::start(tls).await;
        let mut channel = post.channel(tls, json!({}));
        channel.send(&message(1, true)).await.unwrap();
        channel.send(&message(2, false)).await.unwrap();
        let mails = post.server.mails();
        assert_eq!(mails.len(), 2, "{tls}");
        assert!(
            mails[0].starts_with("X-Recipients: ayu@example.org"),
            "{}",
            mails[0]
        );
        assert!(
            mails[0].contains("Message-ID: <group-1@pawang>"),
            "{}",
            mails[0]
        );
        assert!(mails[0].contains("multipart/alternative"), "{}", mails[0]);
        assert!(mails[0].contains("text/html"), "{}", mails[0]);
        assert!(!mails[0].contains("In-Reply-To"), "{}", mails[0]);
        assert!(
            mails[1].contains("Message-ID: <group-2@pawang>"),
            "{}",
            mails[1]
        );
        assert!(
            mails[1].contains("In-Reply-To: <group-1@pawang>"),
            "{}",
            mails[1]
        );
        assert!(
            mails[1].contains("References: <group-1@pawang>"),
            "{}",
            mails[1]
        );
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_told_as_that() {
    if !MailServer::installed() {
        return;
    }
    let post = Post::start("starttls").await;
    let wrong = TempDir::new().unwrap();
    let password = json!({ "password_file": secret(&wrong, "wrong") });
    let trouble = refused(post.channel("starttls", password), None).await;
    assert!(
        trouble.what.contains("refused the user or the password"),
        "{trouble}"
    );
    assert!(
        trouble
            .to_string()
            .contains("check username, and the password in"),
        "{trouble}"
    );
    assert!(!trouble.content);
    let untrusted = refused(post.channel("starttls", json!({ "ca_file": null })), None).await;
    assert!(
        untrusted.what.contains("certificate that is not trusted"),
        "{untrusted}"
    );
    assert!(untrusted.hint.unwrap().contains("ca_file"));
    let nobody = refused(
        post.channel("starttls", json!({})),
        Some("nobody@example.org"),
    )
    .await;
    assert!(nobody.what.contains("no such user here"), "{nobody}");
    assert!(nobody.content, "the channel is well, the recipient is not");
    let grey = refused(
        post.channel("starttls", json!({})),
        Some("grey@example.org"),
    )
    .await;
    assert!(grey.what.contains("asks to try again later"), "{grey}");
    assert!(!grey.content);
    let mut again = message(1, true);
    again.recipient.address = Some("grey@example.org".to_owned());
    post.channel("starttls", json!({}))
        .send(&again)
        .await
        .unwrap();
    assert_eq!(post.server.mails().len(), 1);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_gets_no_mail_and_no_password() {
    if !MailServer::installed() {
        return;
    }
    let post = Post::start("none").await;
    let trouble = refused(post.channel("starttls", json!({})), None).await;
    assert!(trouble.to_string().contains("TLS"), "{trouble}");
    assert!(post.server.mails().is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_there_or_is_silent_is_told_as_that() {
    let silent = Receiver::start(vec![Reply::Hang]).await;
    let port: u16 = silent.url("").rsplit(':').next().unwrap().parse().unwrap();
    let table = |server: &str, port: u16| {
        json!({
            "server": server, "port": port, "tls": "none",
            "from": "pawang@example.org", "to": ["ayu@example.org"],
        })
    };
    for (channel, expected) in [
        (
            channel("smtp", table("pawang.invalid", 25)),
            "could not find the address of pawang.invalid:25",
        ),
        (channel("smtp", table("127.0.0.1", 1)), "onnection refused"),
        (
            hasty("smtp", table("127.0.0.1", port)),
            "did not go on within 1 s",
        ),
    ] {
        let trouble = refused(channel, None).await;
        assert!(trouble.what.contains(expected), "{trouble}");
        assert!(!trouble.content);
    }
}

#[tokio::test]
async fn a_webhook_trusts_only_those_it_should() {
    if !MailServer::installed() {
        return;
    }
    // Whatever speaks TLS will do: what counts is whether it is trusted.
    let post = Post::start("tls").await;
    let url = format!("https://localhost:{}/", post.server.port());
    let ca_file = post.directory.path().join("ca.pem");
    let untrusted = refused(channel("webhook", json!({ "url": url })), None).await;
    assert!(
        untrusted.what.contains("could not agree on TLS"),
        "{untrusted}"
    );
    assert!(untrusted.hint.unwrap().contains("ca_file"));
    let trusted = json!({ "url": url, "ca_file": ca_file });
    let trusted = refused(channel("webhook", trusted), None).await;
    assert!(
        !trusted.what.contains("TLS"),
        "it gets as far as HTTP: {trusted}"
    );
    let nowhere = json!({ "url": url, "ca_file": "/nonexistent/ca.pem" });
    let nowhere = refused(channel("webhook", nowhere), None).await;
    assert!(nowhere.what.contains("/nonexistent/ca.pem"), "{nowhere}");
}
