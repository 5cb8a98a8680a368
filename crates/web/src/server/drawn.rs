//! Pages that were drawn a moment ago: when something changes, everybody who has the same page open asks for it at
//! once, and it is drawn once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::HeaderMap;
use tokio::sync::OnceCell;

use super::compress;
use crate::problem::Problem;

/// How long a page may be told again: ages on it are in seconds.
const AGE_MAX: Duration = Duration::from_secs(1);
/// Pages that are kept at the same time.
const KEPT_MAX: usize = 64;
/// Longer pages are not kept.
const BYTES_MAX: usize = 1 << 20;

/// What a page depends on besides the present: its address, and who looks (by the secret in its forms).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Path and parameters.
    pub address: String,
    /// Who looks.
    pub secret: String,
}

/// A page that was drawn.
pub(crate) struct Drawn {
    plain: Bytes,
    compressed: OnceLock<Bytes>,
}

/// Pages that were drawn a moment ago.
#[derive(Default)]
pub(crate) struct Pages(Mutex<HashMap<Key, Kept>>);

#[derive(Clone)]
struct Kept {
    since: Instant,
    /// The count of changes of the present when drawing began.
    change: u64,
    page: Arc<OnceCell<Arc<Drawn>>>,
}

impl Drawn {
    /// Returns the page as it was drawn.
    pub(crate) fn plain(&self) -> Bytes {
        self.plain.clone()
    }

    /// Returns the page as it is sent, and whether that is compressed.
    pub(crate) fn body(&self, headers: &HeaderMap) -> (Bytes, bool) {
        if !compress::accepts_gzip(headers) {
            return (self.plain.clone(), false);
        }
        let compressed = self
            .compressed
            .get_or_init(|| compress::compressed(&self.plain).map_or(Bytes::new(), Bytes::from));
        match compressed.is_empty() {
            true => (self.plain.clone(), false),
            false => (compressed.clone(), true),
        }
    }
}

impl Pages {
    /// Returns the page of a moment ago, or draws it; whoever asks meanwhile gets the same.
    ///
    /// # Errors
    /// It cannot be drawn; the next one who asks tries again.
    pub(crate) async fn get(
        &self,
        key: Key,
        change: u64,
        draw: impl Future<Output = Result<Vec<u8>, Problem>>,
    ) -> Result<Arc<Drawn>, Problem> {
        let page = self.place(key, change);
        let drawn = page.get_or_try_init(async || {
            let plain = Bytes::from(draw.await?);
            Ok(Arc::new(Drawn {
                plain,
                compressed: OnceLock::new(),
            }))
        });
        drawn.await.cloned()
    }

    /// Forgets all pages: somebody changed something, and wants to see it.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn place(&self, key: Key, change: u64) -> Arc<OnceCell<Arc<Drawn>>> {
        let mut pages = self.lock();
        let usable = |kept: &Kept| {
            let short = kept
                .page
                .get()
                .is_none_or(|drawn| drawn.plain.len() <= BYTES_MAX);
            kept.change == change && kept.since.elapsed() < AGE_MAX && short
        };
        if let Some(kept) = pages.get(&key).filter(|kept| usable(kept)) {
            return Arc::clone(&kept.page);
        }
        pages.retain(|_, kept| usable(kept));
        let page = Arc::new(OnceCell::new());
        if pages.len() < KEPT_MAX {
            let kept = Kept {
                since: Instant::now(),
                change,
                page: Arc::clone(&page),
            };
            pages.insert(key, kept);
        }
        page
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use axum::http::StatusCode;

    use super::*;

    fn key(secret: &str) -> Key {
        Key {
            address: "/".to_owned(),
            secret: secret.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_page_is_drawn_once_for_everybody_who_sees_the_same() {
        let (pages, drawn) = (Pages::default(), Cell::new(0));
        let draw = async || {
            drawn.set(drawn.get() + 1);
            tokio::task::yield_now().await;
            Ok(b"page".to_vec())
        };
        let (one, two) = tokio::join!(
            pages.get(key("a"), 1, draw()),
            pages.get(key("a"), 1, draw())
        );
        assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()));
        assert_eq!(drawn.get(), 1);
        pages.get(key("b"), 1, draw()).await.unwrap();
        assert_eq!(drawn.get(), 2, "another person");
        pages.get(key("a"), 2, draw()).await.unwrap();
        assert_eq!(drawn.get(), 3, "something changed");
        pages.clear();
        pages.get(key("a"), 2, draw()).await.unwrap();
        assert_eq!(drawn.get(), 4, "somebody changed something");
    }

    #[tokio::test]
    async fn what_could_not_be_drawn_is_tried_again() {
        let pages = Pages::default();
        let fails = async { Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no")) };
        assert!(pages.get(key("a"), 1, fails).await.is_err());
        let draws = async { Ok(b"page".to_vec()) };
        assert!(pages.get(key("a"), 1, draws).await.is_ok());
    }
}
