//! Passwords, tokens and addresses in files: read anew each time, so that one that was changed needs no restart.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pawang_core::Secret;

use super::Trouble;

const BYTES_MAX: u64 = 64 * 1024;

/// Reads the first line of a file that only its owner may read.
pub(super) fn read(path: &Path) -> Result<Secret<String>, Trouble> {
    let shown = path.display();
    let wrong = |problem: &str| Trouble::new(format!("could not read \"{shown}\": {problem}"));
    let file = std::fs::File::open(path).map_err(|error| {
        wrong(&error.to_string())
            .with_hint("its first line is the secret, and only its owner may read it")
    })?;
    let metadata = file.metadata().map_err(|error| wrong(&error.to_string()))?;
    // A file of root may be readable by a group, which is how Debian shares one.
    let forbidden = if metadata.uid() == 0 { 0o027 } else { 0o077 };
    if metadata.is_file() && metadata.mode() & forbidden != 0 {
        return Err(wrong("others may read it").with_hint(format!("chmod 600 {shown}")));
    }
    let mut text = String::new();
    file.take(BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| wrong(&error.to_string()))?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err(wrong("its first line is empty"));
    }
    Ok(Secret::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_first_line_of_a_file_that_is_kept_safe_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for (text, mode, expected) in [
            ("secret\nmore\n", 0o600, Ok("secret")),
            ("  secret ", 0o400, Ok("secret")),
            ("secret\n", 0o644, Err("others may read it")),
            ("\nsecret\n", 0o600, Err("first line is empty")),
        ] {
            let _before = std::fs::remove_file(&path);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match (read(&path), expected) {
                (Ok(secret), Ok(expected)) => assert_eq!(secret.reveal(), expected),
                (Err(trouble), Err(expected)) => {
                    assert!(trouble.what.contains(expected), "{trouble}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }
}
