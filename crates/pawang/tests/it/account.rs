//! `pawang account`, `pawang token` and `pawang journal`.
#![expect(
    clippy::disallowed_methods,
    reason = "a terminal is made by a program, script"
)]

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::program::Desk;

const PASSWORD: &str = "correct horse";

/// Returns a desk with a data directory of its own and a password file.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("pawang.toml", "[serve]\ndata_directory = \"data\"\n");
    desk.write("password.txt", &format!("{PASSWORD}\nsecond line\n"));
    desk
}

fn create<'a>(name: &'a str, permission: &'a str) -> Vec<&'a str> {
    let words = "account create --password-file password.txt --permission";
    words.split(' ').chain([permission, name]).collect()
}

#[test]
fn accounts_are_made_listed_replaced_and_removed_and_the_journal_knows() {
    let desk = desk();
    assert_eq!(desk.pawang(&["account", "list"]).code, 0);
    assert!(!desk.path("data").exists(), "reading makes nothing");
    assert_eq!(desk.pawang(&create("alice", "admin")).code, 0);
    assert_eq!(desk.pawang(&create("bob", "viewer")).code, 0);
    let again = desk.pawang(&create("bob", "admin"));
    again.is_clear_error(4, &["already an account \"bob\"", "--replace"]);
    let mut replaced = create("bob", "operator");
    replaced.push("--replace");
    assert_eq!(desk.pawang(&replaced).code, 0);
    let list = desk.pawang(&["account", "list"]);
    let names: Vec<&str> = list
        .stdout
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(names, ["alice", "bob"]);
    let json = desk.pawang(&["account", "list", "--json"]);
    assert_eq!(
        json.data("pawang.account.list/1")[1]["permission"],
        "operator"
    );
    assert!(!json.stdout.contains("argon2"), "{json:?}");
    assert_eq!(desk.pawang(&["account", "remove", "alice"]).code, 0);
    let gone = desk.pawang(&["account", "remove", "alice"]);
    gone.is_clear_error(2, &["there is no account \"alice\""]);
    let journal = desk.pawang(&["journal", "list"]).stdout;
    let actions: Vec<&str> = journal
        .lines()
        .filter_map(|line| line.split('\t').nth(3))
        .collect();
    let expected = [
        "account.remove",
        "account.create",
        "account.create",
        "account.create",
    ];
    assert_eq!(actions, expected);
    let shown = desk.pawang(&["journal", "show", "1", "--json"]);
    assert_eq!(
        shown.data("pawang.journal.show/1")["entry"]["action"],
        actions[actions.len() - 1]
    );
    desk.pawang(&["journal", "show", "4711"])
        .is_clear_error(2, &["the journal has no record 4711"]);
    assert!(journal.contains("cli:") && !journal.contains(PASSWORD));
    let mode = std::fs::metadata(desk.path("data/state.db"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn names_and_passwords_that_cannot_be_are_refused() {
    let desk = desk();
    desk.write("short.txt", "1234567\n");
    desk.write("long.txt", &"x".repeat(1_025));
    for (name, file, words) in [
        ("a b", "password.txt", "cannot be the name of an account"),
        ("", "password.txt", "cannot be the name of an account"),
        ("alice", "short.txt", "at least 8 characters"),
        ("alice", "long.txt", "at most 1024 bytes"),
        ("alice", "missing.txt", "could not read password file"),
    ] {
        let words_of = [
            "account",
            "create",
            name,
            "--permission",
            "admin",
            "--password-file",
            file,
        ];
        desk.pawang(&words_of).is_clear_error(2, &[words]);
    }
    let nowhere = desk.pawang(&["account", "create", "alice", "--permission", "king"]);
    assert_eq!(nowhere.code, 2);
    assert!(desk.pawang(&["account", "list"]).stdout.is_empty());
}

#[test]
fn a_token_is_shown_once_and_kept_nowhere() {
    let desk = desk();
    let words = [
        "token",
        "create",
        "ci",
        "--permission",
        "operator",
        "--expires",
        "90d",
    ];
    let made = desk.pawang(&words);
    let token = made.stdout.trim();
    assert!(
        token.starts_with("pawang_") && token.len() == 71,
        "{made:?}"
    );
    assert!(!made.stderr.contains(token));
    desk.pawang(&words)
        .is_clear_error(4, &["already a token \"ci\""]);
    let list = desk.pawang(&["token", "list", "--json"]);
    let tokens = list.data("pawang.token.list/1");
    assert_eq!(
        (&tokens[0]["name"], &tokens[0]["expired"]),
        (&"ci".into(), &false.into())
    );
    assert!(tokens[0]["expires_at"].is_string() && !list.stdout.contains(token));
    for name in ["state.db", "state.db-wal"] {
        let bytes = std::fs::read(desk.path("data").join(name)).unwrap_or_default();
        assert!(
            !bytes
                .windows(token.len())
                .any(|part| part == token.as_bytes()),
            "{name}"
        );
    }
    for wrong in ["0s", "-1d", "tomorrow", "5 GB"] {
        let words = [
            "token",
            "create",
            "x",
            "--permission",
            "viewer",
            "--expires",
            wrong,
        ];
        assert_eq!(desk.pawang(&words).code, 2, "{wrong}");
    }
    assert_eq!(desk.pawang(&["token", "remove", "ci"]).code, 0);
    desk.pawang(&["token", "remove", "ci"])
        .is_clear_error(2, &["there is no token \"ci\""]);
}

#[test]
fn the_journal_shows_who_changed_it_behind_pawangs_back() {
    let desk = desk();
    assert_eq!(desk.pawang(&create("alice", "admin")).code, 0);
    assert_eq!(desk.pawang(&create("bob", "viewer")).code, 0);
    let good = desk.pawang(&["journal", "verify"]);
    assert!(
        good.code == 0 && good.stdout.starts_with("good: 2 records"),
        "{good:?}"
    );
    let path = desk.path("data/state.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let needle = b"\"object\":\"alice\"";
    let found = bytes
        .windows(needle.len())
        .position(|part| part == needle)
        .unwrap();
    bytes[found + needle.len() - 6..][..5].copy_from_slice(b"mallo");
    std::fs::write(&path, bytes).unwrap();
    let broken = desk.pawang(&["journal", "verify"]);
    assert!(
        broken.code == 1 && broken.stdout.starts_with("BROKEN at record 1"),
        "{broken:?}"
    );
    let json = desk.pawang(&["journal", "verify", "--json"]);
    assert_eq!(json.data("pawang.journal.verify/1")["broken"]["id"], 1);
}

/// A person at a terminal.
struct Person {
    script: Child,
    screen: ChildStdout,
    seen: String,
}

impl Person {
    fn starts(desk: &Desk, words: &str) -> Person {
        let command = format!("{} {words}", env!("CARGO_BIN_EXE_pawang"));
        // Bounded, since a question that never comes would be waited for without end.
        let mut script = Command::new("timeout")
            .args([
                "30",
                "script",
                "--quiet",
                "--return",
                "--command",
                &command,
                "/dev/null",
            ])
            .current_dir(desk.path(""))
            .env("HOME", desk.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let screen = script.stdout.take().unwrap();
        Person {
            script,
            screen,
            seen: String::new(),
        }
    }

    /// Waits for the question and types the answer.
    fn answers(&mut self, question: &str, keys: &str) {
        let (mut byte, before) = ([0], self.seen.len());
        // The same question is asked again after a wrong answer.
        while !self.seen[before..].ends_with(question) {
            let read = self.screen.read(&mut byte).unwrap();
            assert_eq!(read, 1, "the screen ended: {}", self.seen);
            self.seen.push(char::from(byte[0]));
        }
        let stdin = self.script.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
    }

    /// Returns the exit code and all that was on the screen.
    fn ends(mut self) -> (i32, String) {
        self.screen.read_to_string(&mut self.seen).unwrap();
        (self.script.wait().unwrap().code().unwrap(), self.seen)
    }
}

#[test]
fn a_password_is_typed_twice_and_never_shown() {
    let desk = desk();
    let mut person = Person::starts(&desk, "account create alice --permission admin");
    person.answers("Password of alice: ", "short\r");
    person.answers(
        "Password of alice: ",
        "wrong word\u{15}correct horsf\u{7f}e\r",
    );
    person.answers("Once more: ", "correct horse\r");
    let (code, screen) = person.ends();
    assert_eq!(code, 0, "{screen}");
    assert!(
        screen.contains("at least 8 characters") && screen.contains("was made"),
        "{screen}"
    );
    assert!(
        !screen.contains("short") && !screen.contains("hors"),
        "{screen}"
    );
    let mut person = Person::starts(&desk, "account create bob --permission admin");
    person.answers("Password of bob: ", "correct ho\u{3}");
    let (code, screen) = person.ends();
    assert!(
        code == 130 && screen.contains("interrupted"),
        "{code}: {screen}"
    );
    assert_eq!(desk.pawang(&["account", "list"]).stdout.lines().count(), 1);
}
