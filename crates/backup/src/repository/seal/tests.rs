//! What is sealed comes back for those it is for, and any other byte anywhere is an error that says so.

use std::io::Read;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use proptest::prelude::*;
use ring::hmac;

use super::*;

const PATH: &str = "cluster/7-18/wal/00000001/0/000000010000000000000001.zst";
const CHUNK: usize = 64 << 10;

fn keys(identity: &Identity) -> Arc<Keys> {
    Arc::new(Keys {
        recipients: vec![identity.recipient()],
        identities: vec![identity.clone()],
        ..Keys::default()
    })
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|place| (place * 31 + place / 251) as u8)
        .collect()
}

/// Seals as parts are: piece by piece.
fn streamed(recipients: &[Recipient], path: &str, content: &[u8], piece: usize) -> Vec<u8> {
    let mut sealed = Vec::new();
    let mut sealer = Sealer::new(recipients, path).unwrap();
    for piece in content.chunks(piece.max(1)) {
        sealer.write(piece, &mut sealed).unwrap();
    }
    sealer.finish(&mut sealed).unwrap();
    sealed
}

fn flaw(result: std::io::Result<Vec<u8>>) -> SealError {
    SealError::of(&result.unwrap_err())
        .expect("an error of sealing")
        .clone()
}

#[test]
fn every_length_around_a_chunk_comes_back() {
    let identity = Identity::generate().unwrap();
    let other = Identity::generate().unwrap();
    let keys = keys(&identity);
    let recipients = [other.recipient(), identity.recipient()];
    for bytes in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7] {
        let content = content(bytes);
        for sealed in [
            streamed(&recipients, PATH, &content, 1000),
            streamed(&recipients, PATH, &content, CHUNK),
            seal(&recipients, PATH, &[7; 32], &content).unwrap(),
        ] {
            assert_eq!(open(&keys, PATH, &sealed).unwrap(), content, "{bytes}");
        }
        let sealed = seal(&recipients, PATH, &[7; 32], &content).unwrap();
        let told = sealed_bytes(&recipients, PATH, bytes as u64).unwrap();
        assert_eq!(sealed.len() as u64, told, "{bytes}");
    }
}

#[test]
fn what_is_cut_anywhere_is_an_error() {
    let identity = Identity::generate().unwrap();
    let keys = keys(&identity);
    let sealed = streamed(&[identity.recipient()], PATH, &content(2 * CHUNK), CHUNK);
    let step = CHUNK + 16;
    let payload = sealed.len() - 2 * step;
    for length in (0..payload + 40).chain([
        payload + step - 1,
        payload + step,
        payload + step + 1,
        sealed.len() - 1,
    ]) {
        let error = flaw(open(&keys, PATH, &sealed[..length]));
        match length {
            _ if length < payload - 16 => {
                assert!(matches!(error, SealError::Header(_)), "{length}: {error}")
            }
            _ if length < payload + 16 => assert_eq!(error, SealError::Truncated(0), "{length}"),
            _ if length == payload + step => assert_eq!(error, SealError::Truncated(1)),
            _ => assert!(
                matches!(error, SealError::Chunk(_) | SealError::Truncated(_)),
                "{length}: {error}"
            ),
        }
    }
    let longer = [&sealed[..], b"x"].concat();
    assert_eq!(flaw(open(&keys, PATH, &longer)), SealError::Chunk(2));
}

#[test]
fn chunks_stay_where_they_were_sealed() {
    let identity = Identity::generate().unwrap();
    let keys = keys(&identity);
    let sealed = streamed(&[identity.recipient()], PATH, &content(4 * CHUNK), CHUNK);
    let step = CHUNK + 16;
    let payload = sealed.len() - 4 * step;
    let chunk = |place: usize| &sealed[payload + place * step..payload + (place + 1) * step];
    let arranged = |order: &[usize]| {
        let chunks = order.iter().map(|place| chunk(*place));
        let mut bytes = sealed[..payload].to_vec();
        chunks.for_each(|chunk| bytes.extend_from_slice(chunk));
        open(&keys, PATH, &bytes)
    };
    assert_eq!(arranged(&[0, 1, 2, 3]).unwrap(), content(4 * CHUNK));
    assert_eq!(flaw(arranged(&[1, 0, 2, 3])), SealError::Chunk(1));
    assert_eq!(flaw(arranged(&[0, 2, 1, 3])), SealError::Chunk(2));
    assert_eq!(flaw(arranged(&[0, 1, 3])), SealError::Chunk(3));
    assert_eq!(flaw(arranged(&[0, 1, 2])), SealError::Truncated(3));
    assert_eq!(flaw(arranged(&[0, 0, 1, 2, 3])), SealError::Chunk(2));
    // Of two objects for the same recipients the one's chunks are no chunks of the other.
    let other = streamed(&[identity.recipient()], PATH, &content(4 * CHUNK), CHUNK);
    let mixed = [&sealed[..payload + step], &other[payload + step..]].concat();
    assert_eq!(flaw(open(&keys, PATH, &mixed)), SealError::Chunk(2));
}

#[test]
fn an_object_is_bound_to_its_name() {
    let identity = Identity::generate().unwrap();
    let keys = keys(&identity);
    let sealed = seal(&[identity.recipient()], PATH, &[7; 32], b"content").unwrap();
    let elsewhere = "cluster/7-18/wal/00000001/0/000000010000000000000002.zst";
    assert_eq!(
        flaw(open(&keys, elsewhere, &sealed)),
        SealError::OtherObject(PATH.to_owned())
    );
    // The name in the header is authenticated.
    let text = String::from_utf8_lossy(&sealed).into_owned();
    let at = text.find(PATH).unwrap();
    let mut renamed = sealed;
    renamed[at..at + PATH.len()].copy_from_slice(elsewhere.as_bytes());
    assert!(
        matches!(flaw(open(&keys, elsewhere, &renamed)), SealError::Header(told) if told.contains("changed"))
    );
}

#[test]
fn a_repeated_object_is_known_without_a_key() {
    let identity = Identity::generate().unwrap();
    let recipients = [identity.recipient()];
    let sealed = seal(&recipients, PATH, &[7; 32], b"content").unwrap();
    assert!(same(PATH, &[7; 32], &sealed));
    assert!(!same(PATH, &[8; 32], &sealed), "another content");
    assert!(
        !same("cluster/7-18/wal/x", &[7; 32], &sealed),
        "another name"
    );
    for place in [sealed.len() - 1, sealed.len() - 20] {
        let mut rotten = sealed.clone();
        rotten[place] ^= 1;
        assert!(
            !same(PATH, &[7; 32], &rotten),
            "what is stored is not what was sealed"
        );
    }
    assert!(!same(PATH, &[7; 32], b"content"));
}

#[test]
fn keys_are_spelled_as_age_does() {
    // The pair of the specification's examples: zeros and ones would be no test of the order of bits.
    let identity = Identity::of(std::array::from_fn(|place| place as u8));
    let text = identity.text();
    assert!(text.reveal().starts_with("AGE-SECRET-KEY-1"));
    assert_eq!(text.reveal().len(), 74);
    let back: Identity = text.reveal().parse().unwrap();
    assert_eq!(back.recipient(), identity.recipient());
    let recipient = identity.recipient().to_string();
    assert_eq!((recipient.len(), &recipient[..4]), (62, "age1"));
    assert_eq!(recipient.parse(), Ok(identity.recipient()));
    assert!(!format!("{identity:?} {:?}", keys(&identity)).contains("SECRET"));
    let turned: String = recipient.chars().rev().collect();
    let mut typing = recipient.clone().into_bytes();
    typing[20] = if typing[20] == b'q' { b'p' } else { b'q' };
    let typing = String::from_utf8(typing).unwrap();
    for wrong in [
        "",
        "age1",
        &recipient[..61],
        &recipient.to_uppercase(),
        &turned,
        &typing,
        text.reveal(),
    ] {
        assert!(wrong.parse::<Recipient>().is_err(), "{wrong}");
    }
    for wrong in [
        "",
        recipient.as_str(),
        &text.reveal().to_lowercase(),
        "AGE-PLUGIN-YUBIKEY-1QQQQ",
    ] {
        assert!(wrong.parse::<Identity>().is_err(), "{wrong}");
    }
}

#[test]
fn keys_that_are_not_here_are_told_apart() {
    let identity = Identity::generate().unwrap();
    let other = Identity::generate().unwrap();
    let sealed = streamed(&[identity.recipient()], PATH, b"content", 9);
    let nobody = Arc::new(Keys::default());
    let error = flaw(open(&nobody, PATH, &sealed));
    assert!(
        matches!(&error, SealError::NoIdentity(told) if told.contains("identity_file")),
        "{error}"
    );
    let error = flaw(open(&keys(&other), PATH, &sealed));
    assert_eq!(
        error,
        SealError::OtherRecipients(other.recipient().to_string())
    );
    assert!(error.by_keys());
    // After a rotation both are in the file.
    let both = Arc::new(Keys {
        identities: vec![other.clone(), identity.clone()],
        ..Keys::default()
    });
    assert_eq!(open(&both, PATH, &sealed).unwrap(), b"content");
    let names = [identity.recipient().to_string()];
    assert_eq!(both.locked_for(&names), None);
    assert!(matches!(
        keys(&other).locked_for(&names),
        Some(SealError::OtherRecipients(_))
    ));
    assert!(matches!(
        nobody.locked_for(&names),
        Some(SealError::NoIdentity(_))
    ));
}

#[test]
fn identity_files_that_cannot_be_used_are_told_when_they_are_needed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pawang.identity");
    let identity = Identity::generate().unwrap();
    let now = "2026-11-22T08:00:00Z".parse().unwrap();
    let problem = |keys: Keys| keys.locked().expect("nothing can be opened").to_string();
    assert!(problem(Keys::load(&[], Some(&path)).unwrap()).contains("could not read it"));
    let put = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Keys::load(&[], Some(&path)).unwrap()
    };
    let text = identity.file_text(now);
    assert!(problem(put(text.reveal(), 0o640)).contains("mode 640"));
    assert!(problem(put("# only a comment\n", 0o600)).contains("no identity"));
    let wrong = problem(put(&text.reveal().replace("KEY-1", "KEY-1Q"), 0o600));
    assert!(wrong.contains("line 3"), "{wrong}");
    assert!(!wrong.contains("KEY-1Q"), "{wrong}");
    let keys = put(text.reveal(), 0o600);
    assert_eq!(keys.identities[0].recipient(), identity.recipient());
    assert!(Keys::load(&["age1".to_owned()], None).is_err());
}

/// A header as the specification's vectors bend it, with an authentication that fits.
struct Bent {
    introduction: &'static str,
    before: String,
    recipient: String,
    mac: fn(String) -> String,
}

/// What a header is bent around.
struct Bench {
    keys: Arc<Keys>,
    file_key: [u8; 16],
    payload: Vec<u8>,
    /// The lines of its one recipient.
    line: String,
    body: String,
}

impl Bench {
    fn new() -> Bench {
        let identity = Identity::generate().unwrap();
        let file_key = [9; 16];
        let mut payload = Vec::new();
        let mut sealer = Sealer::of_payload(&file_key).unwrap();
        sealer.write(b"content", &mut payload).unwrap();
        sealer.finish(&mut payload).unwrap();
        let recipients = [identity.recipient()];
        let header = Header::write(&recipients, &Stamp::named(PATH), &file_key).unwrap();
        let text = String::from_utf8(header).unwrap();
        let mut lines = text.lines().skip(1).map(str::to_owned);
        Bench {
            keys: keys(&identity),
            file_key,
            payload,
            line: lines.next().unwrap(),
            body: lines.next().unwrap(),
        }
    }

    fn right(&self) -> Bent {
        Bent {
            introduction: "age-encryption.org/v1",
            before: String::new(),
            recipient: format!("{}\n{}\n", self.line, self.body),
            mac: |mac| format!(" {mac}\n"),
        }
    }

    fn before(&self, before: &str) -> std::io::Result<Vec<u8>> {
        let before = before.to_owned();
        self.opened(&Bent {
            before,
            ..self.right()
        })
    }

    fn recipient(&self, line: &str, body: &str) -> std::io::Result<Vec<u8>> {
        self.opened(&Bent {
            recipient: format!("{line}\n{body}\n"),
            ..self.right()
        })
    }

    fn opened(&self, bent: &Bent) -> std::io::Result<Vec<u8>> {
        let head = format!(
            "{}\n{}{}---",
            bent.introduction, bent.before, bent.recipient
        );
        let key = derive(&[], &self.file_key, "header");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let mac = BASE64.encode(hmac::sign(&key, head.as_bytes()));
        let head = format!("{head}{}", (bent.mac)(mac));
        open(&self.keys, PATH, &[head.as_bytes(), &self.payload].concat())
    }
}

fn is_no_header(result: std::io::Result<Vec<u8>>, what: &str) {
    let error = flaw(result);
    assert!(matches!(error, SealError::Header(_)), "{what:?}: {error}");
}

#[test]
fn stanzas_are_read_as_the_specification_says() {
    let bench = Bench::new();
    let line = "A".repeat(64);
    let long = format!("-> long a b\n{line}\n{line}\n\n");
    let others = "-> X25519-not x\nAA\n";
    for before in ["", "-> grease\n\n", "-> a!~ b\"#\nAAAA\n", &long, others] {
        assert_eq!(bench.before(before).unwrap(), b"content", "{before}");
    }
    let longer = format!("-> a\n{line}A\n\n");
    let endless = format!("-> a\n{line}\n");
    for before in [
        "-> \n\n",
        "->\n\n",
        "->x\n\n",
        "-> a  b\n\n",
        "-> a \n\n",
        "-> \u{e9}\n\n",
        "- > a\n\n",
        "-> a\x01\n\n",
        "-> a\r\n\n",
        "-> a\nAA==\n",
        "-> a\nAB\n",
        "-> a\nA A\n",
        "-> a\nAA\r\n",
        "\n",
        "-> a\n",
        "-> a\nAAAA\nAAAA\n",
        &longer,
        &endless,
    ] {
        is_no_header(bench.before(before), before);
    }
}

#[test]
fn recipients_are_read_as_the_specification_says() {
    let bench = Bench::new();
    let Bench { line, body, .. } = &bench;
    let share = &line["-> X25519 ".len()..];
    let of = |bytes: &[u8]| format!("-> X25519 {}", BASE64.encode(bytes));
    for line in [
        "-> X25519".to_owned(),
        format!("{line} more"),
        of(&[0; 32]),
        of(&[7; 33]),
        of(&[7; 31]),
        format!("-> X25519 {share}="),
        format!("-> X25519 {}", &share[1..]),
    ] {
        is_no_header(bench.recipient(&line, body), &line);
    }
    for body in [&body[..40], &format!("{body}AA"), ""] {
        is_no_header(bench.recipient(line, body), body);
    }
    // The name of a kind is exact, and then there is nobody for whom it is.
    let small = line.replace("X25519", "x25519");
    assert!(flaw(bench.recipient(&small, body)).by_keys());
}

#[test]
fn authentications_and_versions_are_read_as_the_specification_says() {
    let bench = Bench::new();
    let macs: [fn(String) -> String; 7] = [
        |mac| format!("{mac}\n"),
        |mac| format!("  {mac}\n"),
        |mac| format!(" {mac} \n"),
        |_| "\n".to_owned(),
        |mac| format!(" {}\n", &mac[..42]),
        |mac| format!(" {mac}\r\n"),
        |_| format!(" {}\n", "A".repeat(43)),
    ];
    for mac in macs {
        let bent = Bent {
            mac,
            ..bench.right()
        };
        is_no_header(bench.opened(&bent), &mac("mac".repeat(14)));
    }
    let version = |introduction| {
        let bent = Bent {
            introduction,
            ..bench.right()
        };
        bench.opened(&bent)
    };
    for newer in ["age-encryption.org/v2", "age-encryption.org/v1\r"] {
        let error = flaw(version(newer));
        assert!(matches!(error, SealError::Version(_)), "{error}");
    }
    for other in ["", "age", "-----BEGIN AGE ENCRYPTED FILE-----"] {
        is_no_header(version(other), other);
    }
    let begun = b"age-encryption.org/v1\n-> ".to_vec();
    let endless = [begun, vec![b'a'; HEADER_BYTES_MAX]].concat();
    is_no_header(open(&bench.keys, PATH, &endless), "no end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_content_comes_back(bytes in 0usize..200_000, piece in 1usize..100_000, taken in 1usize..70_000) {
        let identity = Identity::of([5; 32]);
        let content = content(bytes);
        let sealed = streamed(&[identity.recipient()], PATH, &content, piece);
        let mut opener = Opener::new(&sealed[..], keys(&identity), PATH);
        let mut back = Vec::new();
        let mut buffer = vec![0; taken];
        loop {
            match opener.read(&mut buffer).unwrap() {
                0 => break,
                read => back.extend_from_slice(&buffer[..read]),
            }
        }
        prop_assert_eq!(back, content);
    }

    #[test]
    fn no_other_byte_is_taken(place in 0usize..66_000, bit in 0u32..8) {
        let identity = Identity::of([5; 32]);
        let mut sealed = streamed(&[identity.recipient()], PATH, &content(CHUNK + 100), CHUNK);
        let place = place % sealed.len();
        sealed[place] ^= 1 << bit;
        prop_assert!(open(&keys(&identity), PATH, &sealed).is_err());
    }

    #[test]
    fn any_bytes_are_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), begun in any::<bool>()) {
        let identity = Identity::of([5; 32]);
        let begin: &[u8] = if begun { b"age-encryption.org/v1\n-> X25519 " } else { b"" };
        let sealed = [begin, &bytes].concat();
        prop_assert!(open(&keys(&identity), PATH, &sealed).is_err());
        prop_assert!(!same(PATH, &[0; 32], &sealed));
    }
}
