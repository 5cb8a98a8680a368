//! What all channels by HTTP share: an address, a token, one request, and what its answer means.

use std::path::PathBuf;
use std::time::Duration;

use pawang_core::Secret;
use pawang_http::{Answer, Client, Error, Place, Request};

use super::{Trouble, secret};

/// Longest words of a target that are shown.
const WORDS_MAX: usize = 300;

/// Where a target is, as the configuration says it.
#[derive(Clone, Debug, Default)]
pub(super) struct Address {
    /// The address, and the file that holds it instead.
    pub url: Option<Secret<String>>,
    pub url_file: Option<PathBuf>,
    /// The file with a bearer token.
    pub token_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
}

/// The way to one target.
#[derive(Debug)]
pub(super) struct Outlet {
    pub address: Address,
    /// The connection, and the address that it leads to.
    open: Option<(Secret<String>, Client)>,
}

/// One request.
pub(super) struct Post<'a> {
    /// Behind the path of the address.
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
    pub timeout: Duration,
}

impl Outlet {
    /// Makes the way to an address, which must be one as far as it is known already.
    pub(super) fn new(address: Address) -> Result<Outlet, Trouble> {
        match (&address.url, &address.url_file) {
            (Some(_), Some(_)) => Err(Trouble::new("it has both url and url_file")),
            (None, None) => Err(Trouble::new("it has no url")
                .with_hint("url = \"https://...\", or url_file for one with a token in it")),
            (Some(url), None) => match Place::parse(url.reveal()) {
                Ok(_) => Ok(Outlet {
                    address,
                    open: None,
                }),
                Err(error) => Err(Trouble::new(format!("its url cannot be used: {error}"))),
            },
            (None, Some(_)) => Ok(Outlet {
                address,
                open: None,
            }),
        }
    }

    /// Posts once, and says what came back.
    pub(super) async fn post(&mut self, post: Post<'_>) -> Result<Answer, Trouble> {
        let url = match (&self.address.url, &self.address.url_file) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => secret::read(path)?,
            (None, None) => return Err(Trouble::new("it has no url")),
        };
        let token = self.address.token_file.as_deref();
        let token = token.map(secret::read).transpose()?;
        let full = Secret::new(format!("{}\n{}", url.reveal(), post.path));
        let mut client = match self.open.take() {
            Some((of, client)) if of == full => client,
            _ => {
                let place = Place::parse(url.reveal())
                    .map_err(|error| Trouble::new(format!("its url cannot be used: {error}")))?;
                let place = match post.path {
                    "" => place,
                    path => place.below(path),
                };
                Client::new(place, self.address.ca_file.as_deref())
                    .map_err(|error| Trouble::new(error.to_string()))?
            }
        };
        let bearer = token.map(|token| format!("Bearer {}", token.reveal()));
        let basic = client.place().user_info.as_deref().map(pawang_http::basic);
        let mut headers = vec![("content-type", "application/json")];
        headers.retain(|(name, _)| !post.headers.iter().any(|(own, _)| own == name));
        headers.extend_from_slice(post.headers);
        if let Some(authorization) = bearer.as_deref().or(basic.as_deref()) {
            headers.push(("authorization", authorization));
        }
        let request = Request {
            headers: &headers,
            body: Some(post.body),
            timeout: post.timeout,
        };
        let answer = client.ask(&request).await;
        let shown = client.place().shown();
        let answer = answer.map_err(|error| unanswered(&shown, &error))?;
        self.open = Some((full, client));
        Ok(answer)
    }

    /// Posts once; the error is why it was not taken.
    pub(super) async fn send(&mut self, post: Post<'_>) -> Result<(), Trouble> {
        let answer = self.post(post).await?;
        judge(&self.shown(), &answer)
    }

    /// Returns host and port.
    pub(super) fn shown(&self) -> String {
        let open = self.open.as_ref();
        open.map_or_else(String::new, |(_, client)| client.place().shown())
    }
}

fn unanswered(shown: &str, error: &Error) -> Trouble {
    let trouble = Trouble::new(format!("could not reach {shown}: {error}"));
    match error {
        Error::Name { .. } => trouble.with_hint("check the host in url, and the name server"),
        Error::Connect { .. } => {
            trouble.with_hint("check host and port in url, and that it is running")
        }
        Error::Tls {
            certificate: true, ..
        } => trouble.with_hint("name the certificate that signs the server's in ca_file"),
        Error::Tls { .. } => trouble.with_hint("check that url and port speak https"),
        _ => trouble,
    }
}

/// Returns what an answer means.
///
/// Answers that say nothing about the message but about the way to the target (a wrong token, a wrong path, a proxy) are
/// no refusal of the message: whoever repairs it loses nothing.
pub(super) fn judge(shown: &str, answer: &Answer) -> Result<(), Trouble> {
    let status = answer.status;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let words = answer.line();
    let words = &words[..words.floor_char_boundary(WORDS_MAX)];
    let mut what = format!("{shown} answered with HTTP status {status}");
    if !words.is_empty() && !words.starts_with('<') {
        what = format!("{what}: {words}");
    }
    let trouble = Trouble {
        retry_after: answer.retry_after,
        ..Trouble::new(what)
    };
    Err(match status {
        300..=399 => redirected(shown, answer),
        401 | 403 => trouble.with_hint("check the token or the password"),
        404 | 405 | 410 => trouble.with_hint("check the path in url"),
        400 | 406 | 409 | 411 | 413..=415 | 422 => trouble.for_good(),
        _ => trouble,
    })
}

/// The new address may carry a token, so only where it leads is shown.
fn redirected(shown: &str, answer: &Answer) -> Trouble {
    let location = answer.location.as_deref().unwrap_or_default();
    let to = match location.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}/...")
        }
        None => "another path".to_owned(),
    };
    let status = answer.status;
    Trouble::new(format!("{shown} answered {status} to {to}"))
        .with_hint("redirects are not followed; write that address into url")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_what_to_do() {
        for (status, taken, content) in [
            (200, true, false),
            (202, true, false),
            (204, true, false),
            (302, false, false),
            (400, false, true),
            (401, false, false),
            (404, false, false),
            (413, false, true),
            (422, false, true),
            (429, false, false),
            (500, false, false),
            (503, false, false),
        ] {
            let answer = Answer {
                status,
                ..Answer::default()
            };
            let result = judge("h:80", &answer);
            assert_eq!(result.is_ok(), taken, "{status}");
            let trouble = result.err().unwrap_or_default();
            assert_eq!(trouble.content, content, "{status}");
        }
    }

    #[test]
    fn a_redirect_is_told_without_its_secrets() {
        for (location, expected) in [
            (
                "https://u:pw@hooks.example.org/T0/secret?token=x",
                "https://hooks.example.org/...",
            ),
            ("/T0/secret/", "another path"),
        ] {
            let answer = Answer {
                status: 302,
                location: Some(location.to_owned()),
                ..Answer::default()
            };
            let trouble = judge("h:80", &answer).unwrap_err();
            assert!(trouble.what.ends_with(expected), "{trouble}");
            assert!(trouble.to_string().contains("write that address into url"));
            assert!(!trouble.to_string().contains("secret"));
        }
    }
}
