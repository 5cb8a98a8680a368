//! What a person names, as files in the order of their content.

use std::path::Path;

use pawang_logs::input::{Found, expand};

use crate::lines::write;

fn names(found: &Found, below: &Path) -> (Vec<String>, Vec<(String, String)>) {
    let short = |name: &str| name.replace(&format!("{}/", below.display()), "");
    (
        found
            .inputs
            .iter()
            .map(|input| short(&input.name))
            .collect(),
        found
            .skipped
            .iter()
            .map(|skipped| (short(&skipped.name), skipped.why.clone()))
            .collect(),
    )
}

#[test]
fn directories_and_patterns_are_sorted_by_their_first_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write(
        &path.join("b.log"),
        b"2026-08-21 08:00:00 UTC [1] LOG:  first\n",
    );
    write(
        &path.join("a.log"),
        b"raw\n2026-08-21 09:00:00 UTC [1] LOG:  second\n",
    );
    write(
        &path.join("a.log.1.zst"),
        &zstd::encode_all(&b"2026-08-21 07:00:00 UTC [1] LOG:  old\n"[..], 1).unwrap(),
    );
    write(
        &path.join("c.json"),
        b"{\"timestamp\":\"2026-08-21 10:00:00.000 UTC\"}\n",
    );
    write(
        &path.join("c.log"),
        b"2026-08-21 10:00:00 UTC [1] LOG:  the same\n",
    );
    write(&path.join("notes"), b"nothing of a log\n");
    write(&path.join("core.log"), b"\x7fELF\0\0\0");
    write(&path.join("current_logfiles"), b"stderr log/b.log\n");
    write(&path.join("empty.log"), b"");
    std::fs::create_dir(path.join("below")).unwrap();
    let name = |name: &str| path.join(name).display().to_string();
    let (inputs, skipped) = names(&expand(&[path.display().to_string()], None), path);
    assert_eq!(inputs, ["a.log.1.zst", "b.log", "a.log", "c.json"]);
    let skipped: Vec<_> = skipped
        .iter()
        .map(|(name, why)| (name.as_str(), why.as_str()))
        .collect();
    let expected = [
        ("below", "it is no file"),
        ("core.log", "it does not look like a log"),
        ("current_logfiles", "it is no log by its name"),
        ("empty.log", "it is empty"),
        ("notes", "it does not look like a log"),
        ("c.log", "the same log is read from its json file"),
    ];
    assert_eq!(skipped, expected);
    let (inputs, skipped) = names(
        &expand(&[name("[ab].log"), name("b.log"), name("none*")], None),
        path,
    );
    assert_eq!(inputs, ["b.log", "a.log"]);
    let expected = [
        ("none*", "no file has such a name"),
        ("b.log", "it was named twice"),
    ];
    let skipped: Vec<_> = skipped
        .iter()
        .map(|(name, why)| (name.as_str(), why.as_str()))
        .collect();
    assert_eq!(skipped, expected);
    let found = expand(
        &["-".to_owned(), name("missing.log"), "-".to_owned()],
        Some(Box::new(std::io::empty())),
    );
    let (inputs, skipped) = names(&found, path);
    assert_eq!(inputs, ["missing.log", "-"]);
    assert_eq!(skipped[0].1, "standard input can be read once only");
}
