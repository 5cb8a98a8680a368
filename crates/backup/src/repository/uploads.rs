//! Uploads of a bucket that nobody ended: no listing of objects shows them, and their bytes are paid for.
//!
//! A writer that is killed leaves them, and so does one that is not: where the answer to the first request of an upload gets
//! lost, it is asked for again, and nobody ever learns the name of the first.

use std::time::Duration;

use jiff::Timestamp;
use object_store::ClientOptions;
use object_store::aws::AmazonS3;
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody};
use object_store::multipart::MultipartStore;
use object_store::path::Path as ObjectPath;
use object_store::signer::{Method, SignedUrlOptions, Signer};

use super::connector::Connector;

/// So many pages are read at a time; what is behind them is the next run's.
const PAGES_MAX: usize = 100;
/// How long the address of a page holds: it is asked for at once.
const PAGE_LASTS: Duration = Duration::from_secs(300);
/// What a store answers that cannot list uploads: there the rule of the bucket's lifecycle has to end them.
const NOT_OFFERED: [u16; 2] = [405, 501];

/// The way to a bucket's unfinished uploads.
#[derive(Debug)]
pub(super) struct Uploads {
    store: AmazonS3,
    client: HttpClient,
    /// Where the repository is in the bucket.
    prefix: String,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Upload {
    key: String,
    id: String,
    /// By the store's clock.
    began_at: Timestamp,
}

#[derive(Debug, PartialEq, Eq)]
struct Page {
    uploads: Vec<Upload>,
    /// Behind which the next one begins.
    next: Option<(String, String)>,
}

impl Uploads {
    pub(super) fn new(
        store: AmazonS3,
        connector: &Connector,
        prefix: &str,
    ) -> object_store::Result<Uploads> {
        Ok(Uploads {
            client: connector.connect(&ClientOptions::default())?,
            store,
            prefix: prefix.to_owned(),
        })
    }

    /// Gives up those below a folder that began before a time and are not in use; returns how many there were.
    pub(super) async fn sweep(
        &self,
        folder: &str,
        before: Timestamp,
        in_use: &(dyn Fn(&str) -> bool + Sync),
    ) -> object_store::Result<u64> {
        let mut swept = 0;
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let Some(page) = self.page(folder, next).await? else {
                return Ok(swept);
            };
            for upload in page.uploads {
                let path = upload.key.strip_prefix(&self.prefix);
                let path = path.map(|path| path.trim_start_matches('/'));
                let stale = upload.began_at < before && path.is_some_and(|path| !in_use(path));
                if stale && self.give_up(&upload).await? {
                    swept += 1;
                }
            }
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        Ok(swept)
    }

    /// Says whether it was still there.
    async fn give_up(&self, upload: &Upload) -> object_store::Result<bool> {
        let path = ObjectPath::from(upload.key.as_str());
        match self.store.abort_multipart(&path, &upload.id).await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads one page; none where the store does not list uploads.
    async fn page(
        &self,
        folder: &str,
        after: Option<(String, String)>,
    ) -> object_store::Result<Option<Page>> {
        let below = format!("{}/{folder}/", self.prefix);
        let query = [
            ("uploads", String::new()),
            ("prefix", below.trim_start_matches('/').to_owned()),
        ];
        let mut options = SignedUrlOptions::default().with_query(query);
        if let Some((key, id)) = after {
            options = options.with_query([("key-marker", key), ("upload-id-marker", id)]);
        }
        let root = ObjectPath::default();
        let signed = self
            .store
            .signed_url_opts(Method::GET, &root, PAGE_LASTS, &options);
        let url = signed.await?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.as_str().parse().map_err(failed)?;
        let response = self.client.execute(request).await.map_err(failed)?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(failed)?;
        let text = String::from_utf8_lossy(&body);
        if NOT_OFFERED.contains(&status.as_u16()) {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(failed(format!("status {status}: {text}")));
        }
        parse(&text).map(Some).ok_or_else(|| {
            failed("the store's list of unfinished uploads is not of the form that is known")
        })
    }
}

fn failed<E>(source: E) -> object_store::Error
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    object_store::Error::Generic {
        store: "S3",
        source: source.into(),
    }
}

/// Reads the answer to `ListMultipartUploads`.
fn parse(text: &str) -> Option<Page> {
    let (_, body) = text.split_once("<ListMultipartUploadsResult")?;
    let mut parts = body.split("<Upload>");
    let head = parts.next()?;
    // What follows the last upload may be of the whole page.
    let tail = body.rsplit("</Upload>").next()?;
    let of_page = |name| field(head, name).or_else(|| field(tail, name));
    let next = match of_page("IsTruncated").as_deref() {
        Some("true") => {
            let id = of_page("NextUploadIdMarker").unwrap_or_default();
            Some((of_page("NextKeyMarker")?, id))
        }
        _ => None,
    };
    let uploads = parts.map(|part| {
        Some(Upload {
            key: field(part, "Key")?,
            id: field(part, "UploadId")?,
            began_at: field(part, "Initiated")?.parse().ok()?,
        })
    });
    Some(Page {
        uploads: uploads.collect::<Option<_>>()?,
        next,
    })
}

fn field(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    let marks = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    let plain = |text: String, (mark, letter): (&str, &str)| text.replace(mark, letter);
    Some(marks.into_iter().fold(value.trim().to_owned(), plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_uploads_is_read() {
        let text = "<?xml version=\"1.0\"?>\n<ListMultipartUploadsResult xmlns=\"http://s3/\">
            <Bucket>b</Bucket><KeyMarker></KeyMarker><NextKeyMarker>p/a&amp;b</NextKeyMarker>
            <NextUploadIdMarker>2</NextUploadIdMarker><IsTruncated>true</IsTruncated>
            <Upload><Key>p/a</Key><UploadId>1</UploadId><Initiator><ID>x</ID></Initiator>
            <Initiated>2026-11-10T20:48:33.000Z</Initiated></Upload>
            <Upload><Key>p/a&amp;b</Key><UploadId>2</UploadId>
            <Initiated>2026-11-10T20:48:34.000Z</Initiated></Upload></ListMultipartUploadsResult>";
        let upload = |key: &str, id: &str, at: &str| Upload {
            key: key.to_owned(),
            id: id.to_owned(),
            began_at: at.parse().unwrap(),
        };
        let uploads = vec![
            upload("p/a", "1", "2026-11-10T20:48:33Z"),
            upload("p/a&b", "2", "2026-11-10T20:48:34Z"),
        ];
        let next = Some(("p/a&b".to_owned(), "2".to_owned()));
        assert_eq!(parse(text), Some(Page { uploads, next }));
        let empty = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
        let page = parse(empty).unwrap();
        assert_eq!((page.uploads, page.next), (Vec::new(), None));
        for wrong in [
            "",
            "<ListBucketResult></ListBucketResult>",
            "<ListMultipartUploadsResult><Upload><Key>p</Key></Upload>",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
