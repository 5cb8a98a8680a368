//! What all requests share beside the site itself.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use tokio::sync::{Semaphore, watch};

use super::drawn::Pages;
use super::readers::Readers;
use crate::Site;
use crate::auth::{Doors, token};
use crate::problem::Problem;

/// Streams of events at the same time, each an open page of somebody.
const STREAMS_MAX: usize = 128;
/// Scrapes of `/metrics` at the same time; each holds a thread.
const SCRAPES_MAX: usize = 4;
/// Passwords that are verified at the same time; each takes 19 MiB and a core.
const HASHINGS_MAX: usize = 2;

/// What all requests share beside the site itself.
pub(crate) struct Shared {
    /// Live, store, settings, orders.
    pub site: Arc<Site>,
    /// Readers of the history.
    pub readers: Arc<Readers>,
    /// Pages that were drawn a moment ago.
    pub pages: Pages,
    /// Counts the changes of the present.
    pub changes: watch::Receiver<u64>,
    /// How often whom was refused.
    pub doors: Doors,
    /// What forms carry where nobody signs in.
    pub open_csrf: String,
    /// Room for event streams.
    pub streams: Arc<Semaphore>,
    /// Room for scrapes.
    pub scrapes: Arc<Semaphore>,
    /// Room for the verification of passwords.
    pub hashings: Arc<Semaphore>,
    /// Turns true when the server stops.
    pub stop: watch::Receiver<bool>,
    /// Whether a proxy in front ends TLS, and says whose request it is.
    pub behind_proxy: bool,
}

impl Shared {
    /// Returns what all requests share.
    pub(crate) fn new(site: Arc<Site>, own_tls: bool, stop: watch::Receiver<bool>) -> Shared {
        Shared {
            readers: Arc::new(Readers::new(site.store.clone())),
            pages: Pages::default(),
            changes: site.live.watch(),
            doors: Doors::default(),
            open_csrf: token::random(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            scrapes: Arc::new(Semaphore::new(SCRAPES_MAX)),
            hashings: Arc::new(Semaphore::new(HASHINGS_MAX)),
            behind_proxy: site.settings.secure && !own_tls,
            site,
            stop,
        }
    }

    /// Says whether everybody must sign in: also as soon as there is an account, unless the configuration says that
    /// nobody must; and when there were accounts that are lost, since whoever made them wanted the door shut. Reads the store: call it where a thread may block.
    ///
    /// # Errors
    /// The store does not answer; nobody may come in then.
    pub(crate) fn signs_in(&self) -> Result<bool, Problem> {
        let (settings, state) = (&self.site.settings, self.site.store.state());
        Ok(settings.sign_in
            || state.accounts_lost()?
            || (settings.sign_in_configured.is_none() && state.has_accounts()?))
    }

    /// Returns the address of whoever asks: the last one that the proxy in front saw, else the other end.
    ///
    /// Only the last entry of `X-Forwarded-For` is the proxy's own word; the ones before are the visitor's.
    pub(crate) fn address(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        match self.behind_proxy {
            true => forwarded(headers).unwrap_or(peer),
            false => peer,
        }
    }
}

fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?;
    let last = last.to_str().ok()?.rsplit(',').next()?;
    last.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_proxys_own_word_counts() {
        for (values, address) in [
            (&[][..], None),
            (&["192.0.2.1"], Some([192, 0, 2, 1])),
            (&["10.0.0.1, 192.0.2.1"], Some([192, 0, 2, 1])),
            (&["10.0.0.1", "192.0.2.1"], Some([192, 0, 2, 1])),
            (&["192.0.2.1, nonsense"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            assert_eq!(forwarded(&headers), address.map(IpAddr::from), "{values:?}");
        }
    }
}
