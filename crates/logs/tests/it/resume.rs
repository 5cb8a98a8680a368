//! Each byte once, whatever happens to the files and whenever the process is killed.

use std::cell::Cell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use pawang_logs::engine::{Settings, read_into};
use pawang_logs::input::Input;
use pawang_logs::resume::{Bound, Disk, RealDisk, Step, Store, kept_hours};

use crate::lines::{Random, Seen, choose, log, write};

const SETTINGS: Settings<'static> = Settings {
    threads: 1,
    piece_bytes: 1 << 20,
    choose: &choose,
};

/// Later than any change of a file: what is there is whole.
const LATE: i64 = 1 << 40;

/// A disk that stops for good after so many bytes and operations; it does not wait for the real one.
#[derive(Clone)]
struct Mortal {
    left: Rc<Cell<u64>>,
}

impl Mortal {
    fn new(left: u64) -> Mortal {
        Mortal {
            left: Rc::new(Cell::new(left)),
        }
    }

    fn spend(&self, wanted: u64) -> u64 {
        let granted = wanted.min(self.left.get());
        self.left.set(self.left.get() - granted);
        granted
    }

    fn act(&self, action: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.spend(1) == 0 {
            return Err(io::Error::other("killed"));
        }
        action()
    }
}

impl Disk for Mortal {
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let granted = usize::try_from(self.spend(bytes.len() as u64)).unwrap();
        self.act(|| std::fs::write(path, bytes)).or_else(|error| {
            std::fs::write(path, &bytes[..granted])?;
            Err(error)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.act(|| std::fs::rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.act(|| std::fs::remove_file(path))
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        self.act(|| Ok(()))
    }
}

fn files(directory: &Path) -> Vec<Input> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.into_iter().map(Input::file).collect()
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(bytes).unwrap();
}

fn gz(path: &Path) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&std::fs::read(path).unwrap()).unwrap();
    write(&path.with_extension("gz"), &encoder.finish().unwrap());
}

/// What happens to a log between readings: it grows, is renamed, compressed, copied and truncated, and its name is used again.
const CHAPTERS: usize = 8;

fn chapter(number: usize, logs: &Path, texts: &[Vec<u8>]) {
    let (log, first, second) = (logs.join("pg.log"), logs.join("pg.1"), logs.join("pg.2"));
    let half = |text: &[u8]| text.len() / 2 + 7;
    match number {
        0 => append(&log, &texts[0][..half(&texts[0])]),
        1 => append(&log, &texts[0][half(&texts[0])..]),
        2 => {
            std::fs::rename(&log, &first).unwrap();
            append(&log, &texts[1][..half(&texts[1])]);
        }
        3 => {
            gz(&first);
            append(&log, &texts[1][half(&texts[1])..]);
        }
        4 => {
            std::fs::remove_file(&first).unwrap();
            std::fs::copy(&log, &second).unwrap();
            write(&log, &texts[2][..half(&texts[2])]);
        }
        5 => append(&log, &texts[2][half(&texts[2])..]),
        6 => {
            gz(&second);
            std::fs::remove_file(&second).unwrap();
            std::fs::rename(&log, &first).unwrap();
            append(&log, &texts[3]);
        }
        _ => {}
    }
}

fn texts() -> Vec<Vec<u8>> {
    let mut random = Random(0xabcd_ef01);
    let mut texts: Vec<Vec<u8>> = (0..4)
        .map(|number| log(&mut random, 16 + number * 6, 3_590 + 5_000 * number))
        .collect();
    texts[1].extend(b"2 a record of an earlier hour\nraw is in an hour too\n3 x\n".repeat(2));
    texts
}

fn expected(texts: &[Vec<u8>]) -> Seen {
    let mut all = Seen::default();
    for text in texts {
        let input = Input::reader("text", Box::new(io::Cursor::new(text.clone())));
        let (seen, _) = read_into(vec![input], &SETTINGS, Seen::default()).unwrap();
        all.records.extend(seen.records);
        all.odd.extend(seen.odd);
    }
    sorted(all)
}

fn sorted(mut seen: Seen) -> Seen {
    seen.records.sort();
    seen.odd.sort();
    seen
}

fn open(
    state: &Path,
    disk: impl Disk + 'static,
    step_bytes: u64,
) -> Result<Store<Seen>, pawang_logs::Error> {
    Store::open(state, Box::new(disk), step_bytes)
}

fn total(store: &Store<Seen>) -> Seen {
    sorted(store.sum(i64::MIN..i64::MAX).unwrap())
}

/// Goes through all chapters with a disk that dies after so much, and once more soon after, and returns what it never spent.
fn live(texts: &[Vec<u8>], random: &mut Random, first: u64) -> (Seen, Step, u64) {
    let logs = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut disk = Mortal::new(first);
    let mut deaths = 0;
    let mut last = Step::default();
    for number in 0..CHAPTERS {
        chapter(number, logs.path(), texts);
        let now = if number + 1 == CHAPTERS { LATE } else { 0 };
        loop {
            let found = open(state.path(), disk.clone(), 800)
                .and_then(|mut store| store.run(&files(logs.path()), &SETTINGS, now));
            match found {
                Ok(step) => {
                    last = step;
                    break;
                }
                Err(error) => {
                    assert_eq!(disk.left.get(), 0, "{error}");
                    deaths += 1;
                    disk = Mortal::new(if deaths < 3 {
                        random.below(3_000)
                    } else {
                        u64::MAX
                    });
                }
            }
        }
    }
    let store = open(state.path(), RealDisk, 800).unwrap();
    let names = std::fs::read_dir(state.path()).unwrap().count();
    assert_eq!(names, store.hours().count() + 2, "nothing is left over");
    (total(&store), last, disk.left.get())
}

/// Kills at a thousand points, a quarter of them in each test: all of them take a busy machine longer than a test may.
fn kill_at_every_fourth_of_a_thousand_points(quarter: u64) {
    let texts = texts();
    let expected = expected(&texts);
    let mut random = Random(77 + quarter);
    let (seen, step, left) = live(&texts, &mut random, u64::MAX);
    assert!(seen == expected);
    assert_eq!(
        (
            step.gaps,
            step.source.files.iter().all(|file| file.trouble.is_none())
        ),
        (Vec::new(), true)
    );
    let spent = u64::MAX - left;
    for kill in (quarter..1_000).step_by(4) {
        let point = kill * spent / 1_000 + random.below(spent / 1_000);
        let (seen, step, _) = live(&texts, &mut random, point);
        assert!(seen == expected, "killed after {point} of {spent}");
        assert_eq!(step.gaps, Vec::new(), "killed after {point} of {spent}");
    }
}

#[test]
fn any_of_a_thousand_kills_changes_nothing_1() {
    kill_at_every_fourth_of_a_thousand_points(0);
}

#[test]
fn any_of_a_thousand_kills_changes_nothing_2() {
    kill_at_every_fourth_of_a_thousand_points(1);
}

#[test]
fn any_of_a_thousand_kills_changes_nothing_3() {
    kill_at_every_fourth_of_a_thousand_points(2);
}

#[test]
fn any_of_a_thousand_kills_changes_nothing_4() {
    kill_at_every_fourth_of_a_thousand_points(3);
}

#[test]
fn hours_are_kept_apart_and_add_up() {
    let (logs, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(
        &logs.path().join("a.log"),
        b"3599 a\n3600 b\n7300 c\n10 late\nraw\n7301 d\n",
    );
    let mut store = open(state.path(), RealDisk, 1 << 20).unwrap();
    let step = store.run(&files(logs.path()), &SETTINGS, LATE).unwrap();
    assert_eq!((step.source.bytes, step.source.files[0].records), (40, 5));
    assert_eq!(store.hours().collect::<Vec<_>>(), [0, 1, 2]);
    let of = |hours| {
        store
            .sum(hours)
            .unwrap()
            .records
            .iter()
            .map(|record| record.0 / 1_000_000)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (of(0..1), of(1..3), of(0..9)),
        (
            vec![3599, 10],
            vec![3600, 7300, 7301],
            vec![3599, 10, 3600, 7300, 7301]
        )
    );
    assert_eq!(store.sum(0..1).unwrap().odd.len(), 1);
    let error = open(state.path(), RealDisk, 1)
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(error.contains("lock"), "{error}");
    assert_eq!(
        store.run(&files(logs.path()), &SETTINGS, LATE).unwrap(),
        Step::default()
    );
}

#[test]
fn what_was_lost_is_reported() {
    let (logs, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = logs.path().join("pg.log");
    write(&path, b"1 one\n2 two\n3 three\n");
    let mut store = open(state.path(), RealDisk, 1 << 20).unwrap();
    let step = store.run(&files(logs.path()), &SETTINGS, 0).unwrap();
    // The last record may go on.
    assert_eq!((step.source.files[0].records, step.gaps.len()), (2, 0));
    write(&path, b"9 truncated and begun again\n");
    let step = store.run(&files(logs.path()), &SETTINGS, LATE).unwrap();
    assert_eq!(
        (
            step.source.files[0].records,
            step.gaps.len(),
            step.gaps[0].bytes
        ),
        (1, 1, 8)
    );
    // The old content turns up, compressed: nothing is missing any more.
    let old = logs.path().join("old");
    write(&old, b"1 one\n2 two\n3 three\n4 four\n");
    gz(&old);
    std::fs::remove_file(&old).unwrap();
    let step = store.run(&files(logs.path()), &SETTINGS, LATE).unwrap();
    assert_eq!(
        (
            step.source.files.len(),
            step.source.files[0].records,
            step.gaps.len()
        ),
        (1, 2, 0)
    );
    assert_eq!(total(&store).records.len(), 5);
    std::fs::remove_file(&path).unwrap();
    assert!(
        store
            .run(&files(logs.path()), &SETTINGS, LATE)
            .unwrap()
            .gaps
            .is_empty()
    );
}

#[test]
fn a_record_too_long_is_cut_once_over_many_readings() {
    let (logs, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = logs.path().join("pg.log");
    let mut store = open(state.path(), RealDisk, 1 << 20).unwrap();
    append(&path, b"1 one\n2 two ");
    for _ in 0..5 {
        append(&path, &b"zzzzzzzzz\n\t".repeat(200_000));
        store.run(&files(logs.path()), &SETTINGS, 0).unwrap();
    }
    append(&path, b"end\n3 three\n4 four\n");
    store.run(&files(logs.path()), &SETTINGS, LATE).unwrap();
    let times: Vec<i64> = total(&store)
        .records
        .iter()
        .map(|record| record.0 / 1_000_000)
        .collect();
    assert_eq!((times, total(&store).odd.len()), (vec![1, 2, 3, 4], 0));
}

/// Does nothing unless the directory that it is started in is one that the test below has prepared.
#[test]
fn child() {
    if Path::new("prepared").exists() {
        let mut store = open(Path::new("state"), RealDisk, 2_000).unwrap();
        store
            .run(&files(Path::new("logs")), &SETTINGS, LATE)
            .unwrap();
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a process must be there to be killed"
)]
fn a_killed_process_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (logs, state) = (home.path().join("logs"), home.path().join("state"));
    std::fs::create_dir(&logs).unwrap();
    write(&home.path().join("prepared"), b"");
    let mut text = Vec::new();
    let mut random = Random(22);
    let mut killed = 0;
    for round in 0..30 {
        // A process that comes to its end before it is killed must leave something to do to the next one.
        let new = log(&mut Random(21 + round), 200, 3_000 + 200 * round);
        append(&logs.join("pg.log"), &new);
        text.extend(new);
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "resume::child"])
            .current_dir(home.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let seen = || std::fs::read(state.join("manifest")).unwrap_or_default();
        for _ in 0..=random.below(3) {
            let before = seen();
            while seen() == before && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
        }
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
    }
    let mut store = open(&state, RealDisk, 2_000).unwrap();
    store.run(&files(&logs), &SETTINGS, LATE).unwrap();
    assert!(killed > 0);
    assert!(total(&store) == expected(&[text]));
}

#[test]
fn a_bound_leaves_the_rest_for_the_next_reading() {
    let (logs, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut random = Random(5);
    let texts: Vec<Vec<u8>> = (0..3)
        .map(|number| log(&mut random, 60_000, 3_600 * number))
        .collect();
    for (number, text) in texts.iter().enumerate() {
        write(&logs.path().join(format!("{number}.log")), text);
    }
    let bytes: usize = texts.iter().map(Vec::len).sum();
    assert!(bytes > 3 << 20, "{bytes} are too few to be cut");
    let mut store = open(state.path(), RealDisk, 1 << 20).unwrap();
    let (mut steps, mut read, mut more) = (0, 0, true);
    while more {
        let stop = || steps == 1;
        let bound = Bound {
            bytes: 2 << 20,
            stop: &stop,
        };
        let step = store
            .run_within(&files(logs.path()), &SETTINGS, LATE, &bound)
            .unwrap();
        assert!(step.source.bytes <= 3 << 20, "{}", step.source.bytes);
        read += step.source.bytes;
        more = step.more;
        assert_eq!(store.behind_bytes(), bytes as u64 - read);
        steps += 1;
    }
    assert!(steps > 2, "{steps}");
    assert_eq!(read, bytes as u64);
    assert!(total(&store) == expected(&texts));
}

#[test]
fn hours_that_are_dropped_are_not_read_again() {
    let (logs, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = logs.path().join("a.log");
    write(&path, b"10 a\n3600 b\n7200 c\n");
    let mut store = open(state.path(), RealDisk, 1 << 20).unwrap();
    store.run(&files(logs.path()), &SETTINGS, LATE).unwrap();
    let mut seen = kept_hours(state.path()).unwrap();
    assert_eq!((seen.span(), seen.count()), (Some((0, 2)), 3));
    store.forget(2).unwrap();
    store.forget(2).unwrap();
    append(&path, b"7300 d\n");
    store.run(&files(logs.path()), &SETTINGS, LATE).unwrap();
    // It had looked before: it sees the hours as they are now.
    let sum: Seen = seen.sum(0..10).unwrap();
    let at = |seen: &Seen| -> Vec<i64> {
        let records = seen.records.iter();
        records.map(|record| record.0 / 1_000_000).collect()
    };
    assert_eq!(
        (at(&sum), at(&total(&store))),
        (vec![7200, 7300], vec![7200, 7300])
    );
    assert_eq!(seen.span(), Some((2, 2)));
    drop(store);
    let store = open(state.path(), RealDisk, 1 << 20).unwrap();
    assert_eq!(store.hours().collect::<Vec<_>>(), [2]);
    let names = std::fs::read_dir(state.path()).unwrap().count();
    assert_eq!(names, 3, "nothing is left over");
}
