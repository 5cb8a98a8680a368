//! What a store's refusal means, in words for people.

use std::error::Error as StdError;
use std::io::ErrorKind;

/// What is wrong, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) detail: &'static str,
    pub(crate) hint: &'static str,
}

const KEY: &str = "mend access_key and secret_key_file of its [[repository]] in pawang.toml";
const ROOM: &str = "pawang backup expire --dry-run";

/// The codes of S3's protocol, which reach us only inside the text of the answer.
const CODES: [(&str, Trouble); 9] = [
    (
        "InvalidAccessKeyId",
        trouble("the store does not know the access key", KEY),
    ),
    (
        "SignatureDoesNotMatch",
        trouble("the secret key does not belong to the access key", KEY),
    ),
    (
        "ExpiredToken",
        trouble("the temporary key has expired", KEY),
    ),
    (
        "RequestTimeTooSkewed",
        Trouble {
            detail: "the clocks of this machine and of the store differ by too much",
            hint: "timedatectl status",
        },
    ),
    (
        "NoSuchBucket",
        trouble(
            "the bucket does not exist",
            "make it, or mend place of its [[repository]] in pawang.toml",
        ),
    ),
    (
        "PermanentRedirect",
        trouble(
            "the bucket is in another region than the settings say",
            "mend region of its [[repository]] in pawang.toml",
        ),
    ),
    (
        "AccessDenied",
        trouble(
            "the store does not allow it to this key",
            "allow the key to list, read, write and delete in the bucket",
        ),
    ),
    (
        "SlowDown",
        trouble(
            "the store asks to slow down, and did so for as long as it was tried again",
            "set bandwidth in its [[repository]] of pawang.toml",
        ),
    ),
    (
        "QuotaExceeded",
        trouble("the store has no more room for this key", ROOM),
    ),
];

const fn trouble(detail: &'static str, hint: &'static str) -> Trouble {
    Trouble { detail, hint }
}

/// Returns what an error of a store means, where it is one that is known.
pub(crate) fn of(error: &(dyn StdError + 'static)) -> Option<Trouble> {
    let mut next = Some(error);
    let mut denied = false;
    while let Some(error) = next {
        let text = error.to_string();
        let code = |code: &str| text.contains(&format!("<Code>{code}</Code>"));
        if let Some((_, trouble)) = CODES.iter().find(|(name, _)| code(name)) {
            return Some(*trouble);
        }
        if let Some(kind) = error
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind)
            && let Some(trouble) = of_file(kind)
        {
            return Some(trouble);
        }
        denied |= matches!(
            error.downcast_ref(),
            Some(
                object_store::Error::PermissionDenied { .. }
                    | object_store::Error::Unauthenticated { .. }
            )
        );
        next = error.source();
    }
    denied.then_some(trouble(
        "the store does not allow it: the key is wrong, or lacks the permission",
        KEY,
    ))
}

/// Returns what the operating system said, where it was asked.
pub(crate) fn file_error(error: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return Some(error.kind());
        }
        next = error.source();
    }
    None
}

fn of_file(kind: ErrorKind) -> Option<Trouble> {
    match kind {
        ErrorKind::StorageFull => Some(trouble("no space is left on the repository's disk", ROOM)),
        ErrorKind::QuotaExceeded => Some(trouble("the repository's disk quota is used up", ROOM)),
        ErrorKind::ReadOnlyFilesystem => Some(trouble(
            "the repository's file system is mounted read-only",
            "mount it for writing",
        )),
        ErrorKind::PermissionDenied => Some(trouble(
            "the operating system denies it: Pawang runs as another user than the one who owns the repository",
            "run Pawang as the owner of the repository's folder",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_a_store_are_told_in_words() {
        let answer = |body: &str| object_store::Error::Generic {
            store: "S3",
            source: format!("status 403: <Error><Code>{body}</Code></Error>").into(),
        };
        let skewed = of(&answer("RequestTimeTooSkewed")).unwrap();
        assert_eq!(skewed.hint, "timedatectl status");
        let no_bucket = of(&answer("NoSuchBucket")).unwrap();
        assert_eq!(no_bucket.detail, "the bucket does not exist");
        assert!(no_bucket.hint.starts_with("make it, or mend place"));
        // Whoever is told so may be in that very command.
        for (code, trouble) in CODES {
            assert!(!trouble.hint.contains("backup check"), "{code}");
        }
        assert_eq!(of(&answer("SomethingElse")), None);
        let full = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(std::io::Error::from(ErrorKind::StorageFull)),
        };
        assert!(of(&full).unwrap().detail.contains("no space"));
        assert_eq!(file_error(&full), Some(ErrorKind::StorageFull));
        assert_eq!(file_error(&answer("SlowDown")), None);
    }
}
