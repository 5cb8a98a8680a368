//! Where a server is.

use hyper::Uri;

use crate::Error;

/// Where a server is, and what is asked there.
#[derive(Clone, Debug)]
pub struct Place {
    pub(crate) secure: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub path: String,
    /// Name and password that the address itself carries.
    pub user_info: Option<String>,
}

impl Place {
    /// Takes an address apart.
    ///
    /// # Errors
    /// It is none of HTTP.
    pub fn parse(url: &str) -> Result<Place, Error> {
        let wrong = |problem| Error::Address { problem };
        let uri: Uri = url.trim().parse().map_err(|_| wrong("it is no address"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it must begin with http:// or https://")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("it names no host"))?.to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Ok(Place {
            secure,
            host,
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            path: path.to_owned(),
            user_info: authority.rsplit_once('@').map(|(user, _)| decode(user)),
        })
    }

    /// Returns host and port.
    pub fn shown(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Returns the same server with another path behind the one that the address has.
    #[must_use]
    pub fn below(&self, path: &str) -> Place {
        Place {
            path: format!("{}{path}", self.path.trim_end_matches('/')),
            ..self.clone()
        }
    }
}

/// Undoes the percent encoding of an address.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, more.get(..2).and_then(hex)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (url, shown, path, user) in [
            (
                "http://p:9090/api/v1/write",
                "p:9090",
                "/api/v1/write",
                None,
            ),
            ("https://mimir", "mimir:443", "/", None),
            (
                "https://a%40b:c@mimir/push?x=1",
                "mimir:443",
                "/push?x=1",
                Some("a@b:c"),
            ),
            ("http://[::1]:9090/w", "[::1]:9090", "/w", None),
        ] {
            let place = Place::parse(url).unwrap();
            assert_eq!(place.shown(), shown);
            assert_eq!(place.path, path);
            assert_eq!(place.user_info.as_deref(), user);
        }
        for url in [
            "",
            "prometheus:9090",
            "ftp://x",
            "http://",
            "/api/v1/write",
            "http://a b",
        ] {
            assert!(Place::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_path_is_put_behind_the_one_that_is_there() {
        for (url, expected) in [
            ("http://am:9093", "/api/v2/alerts"),
            ("http://am:9093/", "/api/v2/alerts"),
            ("http://am/alerts/", "/alerts/api/v2/alerts"),
        ] {
            let place = Place::parse(url).unwrap().below("/api/v2/alerts");
            assert_eq!(place.path, expected);
        }
    }
}
