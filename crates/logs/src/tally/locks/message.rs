//! The texts that the server writes about locks.

use crate::extract::{after, process, scaled, until};

/// What a message says of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// It goes on.
    Waits,
    /// It is over.
    Acquired,
    /// It was a deadlock.
    Deadlocked,
    /// A lock was not to be had, and nobody wanted to wait (since 18).
    Refused,
}

/// A wait as one message tells it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wait<'a> {
    /// What the message says of it.
    pub(super) verb: Verb,
    /// The process that waits.
    pub(super) pid: u32,
    /// Lock mode.
    pub(super) mode: &'a [u8],
    /// What is locked.
    pub(super) object: &'a [u8],
    /// How long it has waited, in microseconds.
    pub(super) told: u64,
}

/// Reads `process 1 still waiting for ShareLock on transaction 734 after 200.1 ms` and its relatives.
pub(super) fn wait(message: &[u8]) -> Option<Wait<'_>> {
    const VERBS: [(&str, Verb); 5] = [
        (" still waiting for ", Verb::Waits),
        (" acquired ", Verb::Acquired),
        (" avoided deadlock for ", Verb::Waits),
        (" detected deadlock while waiting for ", Verb::Deadlocked),
        (" could not obtain ", Verb::Refused),
    ];
    let (pid, rest) = process(message.strip_prefix(b"process ")?)?;
    let (rest, verb) = VERBS
        .iter()
        .find_map(|(text, verb)| Some((rest.strip_prefix(text.as_bytes())?, *verb)))?;
    let mode = until(rest, " on ");
    let object = after(rest, " on ")?;
    // The last mark counts: an object's words cannot have it, but to read them is cheaper than to know them.
    let (object, told) = match memchr::memmem::rfind(object, b" after ") {
        Some(end) => (
            &object[..end],
            scaled(&object[end + " after ".len()..], 1_000)?,
        ),
        None if verb == Verb::Refused => (object, 0),
        None => return None,
    };
    Some(Wait {
        verb,
        pid,
        mode,
        object: until(object, " by rearranging queue order"),
        told,
    })
}

/// Returns the holders of `Process holding the lock: 1. Wait queue: 2, 3.` or `Processes holding the lock: 1, 4. Wait queue: .`, at most
/// `most`.
pub(super) fn holders(detail: &[u8], most: usize) -> Vec<u32> {
    let Some(list) = after(detail, " holding the lock: ") else {
        return Vec::new();
    };
    let list = until(list, ".");
    let numbers = list.split(|&byte| byte == b',');
    numbers
        .filter_map(|number| process(number.trim_ascii()).map(|(pid, _)| pid))
        .take(most)
        .collect()
}

/// Returns what is locked without what makes each row, page or transaction another: `transaction`, `tuple of relation 16384 of database 5`.
pub(super) fn object_kind(object: &[u8]) -> Vec<u8> {
    const SINGLE: [&str; 4] = [
        "transaction",
        "virtual transaction",
        "advisory lock",
        "user lock",
    ];
    const PARTS: [&str; 3] = ["tuple ", "page ", "extension "];
    let single = SINGLE.iter().find(|kind| {
        let rest = object.strip_prefix(kind.as_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&b' '))
    });
    if let Some(kind) = single {
        return kind.as_bytes().to_vec();
    }
    if object.starts_with(b"speculative token ") {
        return b"speculative token".to_vec();
    }
    let part = PARTS
        .iter()
        .find(|part| object.starts_with(part.as_bytes()));
    match (part, memchr::memmem::find(object, b"of relation ")) {
        (Some(part), Some(start)) => [part.as_bytes(), &object[start..]].concat(),
        _ => object.to_vec(),
    }
}

/// One line of the DETAIL of a deadlock.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Who waits.
    pub(super) waiter: u32,
    /// For whom.
    pub(super) holder: u32,
    /// Lock mode.
    pub(super) mode: &'a [u8],
    /// What is locked.
    pub(super) object: &'a [u8],
    /// What the waiter was running; empty when the detail does not say.
    pub(super) statement: &'a [u8],
}

/// Reads the DETAIL of a deadlock: first who waits for whom, then the statement of each, which may have line ends. At most `most` lines.
pub(super) fn deadlock(detail: &[u8], most: usize) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut rest = detail;
    while lines.len() < most {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let Some(line) = edge(&rest[..end]) else {
            break;
        };
        lines.push(line);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    for index in 0..lines.len() {
        let Some(start) = statement_start(rest, lines[index].waiter) else {
            break;
        };
        let text = &rest[start..];
        let next = lines.get(index + 1).and_then(|next| {
            memchr::memmem::find(text, format!("\nProcess {}: ", next.waiter).as_bytes())
        });
        let end = next.unwrap_or(text.len());
        lines[index].statement = &text[..end];
        rest = text.get(end + 1..).unwrap_or_default();
    }
    lines
}

fn edge(line: &[u8]) -> Option<Line<'_>> {
    let (waiter, rest) = process(line.strip_prefix(b"Process ")?)?;
    let rest = rest.strip_prefix(b" waits for ")?;
    let (holder, _) = process(after(rest, "; blocked by process ")?)?;
    let rest = until(rest, "; blocked by process ");
    Some(Line {
        waiter,
        holder,
        mode: until(rest, " on "),
        object: after(rest, " on ")?,
        statement: b"",
    })
}

fn statement_start(text: &[u8], pid: u32) -> Option<usize> {
    let mark = format!("Process {pid}: ");
    text.starts_with(mark.as_bytes()).then_some(mark.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_waits_are_read() {
        let check = |text: &'static str, verb, mode: &str, object: &str, told| {
            let wait = wait(text.as_bytes()).expect("it is one");
            assert_eq!((wait.verb, wait.pid, wait.told), (verb, 7, told), "{text}");
            assert_eq!(
                (wait.mode, wait.object),
                (mode.as_bytes(), object.as_bytes())
            );
        };
        check(
            "process 7 still waiting for ShareLock on transaction 734 after 200.103 ms",
            Verb::Waits,
            "ShareLock",
            "transaction 734",
            200_103,
        );
        check(
            "process 7 acquired AccessExclusiveLock on relation 16384 of database 5 after 1234.500 ms",
            Verb::Acquired,
            "AccessExclusiveLock",
            "relation 16384 of database 5",
            1_234_500,
        );
        check(
            "process 7 detected deadlock while waiting for ShareLock on transaction 731 after 200.146 ms",
            Verb::Deadlocked,
            "ShareLock",
            "transaction 731",
            200_146,
        );
        check(
            "process 7 avoided deadlock for ShareLock on relation 1 of database 2 by rearranging queue order after 1000.000 ms",
            Verb::Waits,
            "ShareLock",
            "relation 1 of database 2",
            1_000_000,
        );
        check(
            "process 7 could not obtain ExclusiveLock on tuple (0,1) of relation 1 of database 2",
            Verb::Refused,
            "ExclusiveLock",
            "tuple (0,1) of relation 1 of database 2",
            0,
        );
        assert_eq!(wait(b"process 7 still waiting for nothing"), None);
        assert_eq!(wait(b"process x acquired A on b after 1 ms"), None);
    }

    #[test]
    fn holders_are_listed() {
        assert_eq!(
            holders(b"Process holding the lock: 24223. Wait queue: 24227.", 9),
            [24_223]
        );
        assert_eq!(
            holders(b"Processes holding the lock: 1, 2, 3. Wait queue: 4, 5.", 2),
            [1, 2]
        );
        assert_eq!(holders(b"", 9), [0_u32; 0]);
    }

    #[test]
    fn objects_lose_what_is_theirs_alone() {
        let check = |object: &str, expected: &str| {
            assert_eq!(
                String::from_utf8_lossy(&object_kind(object.as_bytes())),
                expected
            );
        };
        check("transaction 734", "transaction");
        check("virtual transaction 3/12", "virtual transaction");
        check("advisory lock [5,0,7,1]", "advisory lock");
        check(
            "relation 16384 of database 5",
            "relation 16384 of database 5",
        );
        check(
            "tuple (0,1) of relation 16384 of database 5",
            "tuple of relation 16384 of database 5",
        );
        check(
            "extension of relation 1 of database 5",
            "extension of relation 1 of database 5",
        );
        check(
            "object 1 of class 2 of database 3",
            "object 1 of class 2 of database 3",
        );
    }

    #[test]
    fn a_deadlock_has_its_statements() {
        let detail = b"Process 1 waits for ShareLock on transaction 731; blocked by process 2.
Process 2 waits for ShareLock on transaction 733; blocked by process 1.
Process 1: update t
set v = 'Process 9: x'
Process 2: begin; update t";
        let lines = deadlock(detail, 9);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].waiter, lines[0].holder), (1, 2));
        assert_eq!(lines[0].object, b"transaction 731");
        assert_eq!(lines[0].statement, b"update t\nset v = 'Process 9: x'");
        assert_eq!(lines[1].statement, b"begin; update t");
        assert_eq!(deadlock(b"", 9), []);
        assert_eq!(deadlock(detail, 1).len(), 1);
    }
}
