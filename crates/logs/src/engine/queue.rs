//! Threads that take files and pieces in order, and hand what they found to one place that joins it in order.
//!
//! What is finished and cannot be joined yet is bounded: a thread that is ahead waits, unless its work is what the joining waits for.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::merge::{Merge, Piece};
use super::open::{Opened, open, splittable};
use super::part::Counting;
use super::piece::{Plain, scan};
use super::stream::{self, Target};
use super::window::Window;
use super::{Part, Settings, THREADS_MAX};
use crate::format::Remarks;
use crate::input::Input;
use crate::report::SourceFile;

/// Finished or taken pieces per thread that may be ahead of what is joined.
const AHEAD: usize = 2;

/// A place in the order: the number of the input and the number within it.
type Place = (usize, u64);

/// What a thread found, in the order in which it is to be joined.
enum Message<P> {
    Begin(SourceFile),
    Part { part: P, bytes: u64, records: u64 },
    Trouble(String),
    Remarks(Remarks),
    Piece(Box<Piece<P>>),
}

/// What stands at a place.
struct Slot<P> {
    messages: Vec<Message<P>>,
    /// Whether the next place is that of the next input.
    last: bool,
}

struct State<P> {
    inputs: Vec<Option<Input>>,
    next_input: usize,
    /// Inputs that are being opened, and may have pieces.
    opening: usize,
    /// Plain files with pieces left to take.
    open: BTreeMap<usize, (Arc<Plain>, u64)>,
    slots: BTreeMap<Place, Slot<P>>,
    /// Pieces that are being scanned.
    taken: usize,
    /// The place that is joined next.
    cursor: Place,
    /// A thread panicked.
    failed: bool,
}

struct Shared<P> {
    state: Mutex<State<P>>,
    changed: Condvar,
    ahead: usize,
    piece_bytes: u64,
    since: Option<i64>,
    /// The floor of what was joined.
    floor: AtomicU64,
}

enum Task {
    Open(usize, Input),
    Piece(usize, u64, Arc<Plain>),
}

/// Reads inputs with several threads.
pub(crate) fn read_together<P: Part>(
    inputs: Vec<Input>,
    settings: &Settings<'_>,
    merge: &mut Merge<P>,
) {
    let threads = settings.threads.clamp(1, THREADS_MAX);
    let shared = Shared {
        state: Mutex::new(State {
            inputs: inputs.into_iter().map(Some).collect(),
            next_input: 0,
            opening: 0,
            open: BTreeMap::new(),
            slots: BTreeMap::new(),
            taken: 0,
            cursor: (0, 0),
            failed: false,
        }),
        changed: Condvar::new(),
        ahead: threads * AHEAD,
        piece_bytes: settings.piece_bytes.max(1),
        since: merge.part().since(),
        floor: AtomicU64::new(merge.part().floor()),
    };
    std::thread::scope(|scope| {
        for number in 0..threads {
            let fresh = merge.fresh();
            let shared = &shared;
            std::thread::Builder::new()
                .name(format!("logs-{number}"))
                .spawn_scoped(scope, move || work(shared, settings, &fresh))
                .expect("the system has a thread to give");
        }
        let _guard = Guard(&shared);
        while let Some(slot) = shared.next() {
            for message in slot.messages {
                match message {
                    Message::Begin(file) => merge.begin(file),
                    Message::Part {
                        part,
                        bytes,
                        records,
                    } => merge.absorb(part, bytes, records),
                    Message::Trouble(text) => merge.trouble(text),
                    Message::Remarks(remarks) => merge.remarks(remarks),
                    Message::Piece(piece) => merge.piece(*piece),
                }
            }
            shared.floor.store(merge.part().floor(), Relaxed);
        }
    });
}

/// Ends the other threads when one panics, so that the panic is seen.
struct Guard<'a, P>(&'a Shared<P>);

impl<P> Drop for Guard<'_, P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().failed = true;
            self.0.changed.notify_all();
        }
    }
}

fn work<P: Part>(shared: &Shared<P>, settings: &Settings<'_>, fresh: &P) {
    let _guard = Guard(shared);
    let mut window = Window::default();
    // One part for all pieces of the thread, so that what it has learnt from one helps with the next.
    let mut part = fresh.fresh();
    while let Some(task) = shared.take() {
        part.raise(shared.floor.load(Relaxed));
        match task {
            Task::Piece(input, number, plain) => {
                let start = number * shared.piece_bytes;
                let until = plain.size.min(start.saturating_add(shared.piece_bytes));
                let mut sink = Counting {
                    part: &mut part,
                    records: 0,
                };
                let scanned = scan(&plain, start..until, &mut window, &mut sink);
                let records = sink.records;
                let last = until == plain.size;
                let piece = Piece {
                    plain,
                    start,
                    until,
                    scanned,
                    part: part.hand_over(),
                    records,
                };
                // The file's own message stands before its first piece.
                shared.post(
                    (input, number + 1),
                    vec![Message::Piece(Box::new(piece))],
                    last,
                    true,
                );
            }
            Task::Open(number, input) => {
                read_input(shared, settings, &mut part, number, input, &mut window)
            }
        }
    }
}

fn read_input<P: Part>(
    shared: &Shared<P>,
    settings: &Settings<'_>,
    part: &mut P,
    number: usize,
    input: Input,
    window: &mut Window,
) {
    let opened = open(input, settings, shared.since, window);
    if let Opened::Plain(plain, _) = &opened
        && plain.size > shared.piece_bytes
        && splittable(&plain.chosen)
        && let Opened::Plain(plain, file) = opened
    {
        shared.post((number, 0), vec![Message::Begin(file)], false, false);
        return shared.opened(Some((number, Arc::new(plain))));
    }
    shared.opened(None);
    let mut poster = Poster {
        shared,
        part,
        place: (number, 0),
        messages: Vec::new(),
    };
    match opened {
        Opened::Nothing(file) => poster.begin(file),
        Opened::Plain(plain, file) => {
            stream::read_plain(&plain, file, shared.piece_bytes, window, &mut poster);
        }
        Opened::Stream(stream) => stream::read(stream, settings, window, &mut poster),
    }
    shared.post(poster.place, poster.messages, true, false);
}

/// Hands the parts of a stream over.
struct Poster<'a, P> {
    shared: &'a Shared<P>,
    part: &'a mut P,
    place: Place,
    messages: Vec<Message<P>>,
}

impl<P: Part> Target<P> for Poster<'_, P> {
    fn begin(&mut self, file: SourceFile) {
        self.messages.push(Message::Begin(file));
    }

    fn part(&mut self) -> &mut P {
        self.part
    }

    fn flush(&mut self, bytes: u64, records: u64) {
        let part = self.part.hand_over();
        self.part.raise(self.shared.floor.load(Relaxed));
        self.messages.push(Message::Part {
            part,
            bytes,
            records,
        });
        let messages = std::mem::take(&mut self.messages);
        self.shared.post(self.place, messages, false, false);
        self.place.1 += 1;
    }

    fn trouble(&mut self, text: String) {
        self.messages.push(Message::Trouble(text));
    }

    fn remarks(&mut self, remarks: Remarks) {
        self.messages.push(Message::Remarks(remarks));
    }
}

impl<P> Shared<P> {
    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<P>>) -> MutexGuard<'a, State<P>> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what to do next, the earliest first; none when nothing is left.
    fn take(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.failed {
                return None;
            }
            let room = state.slots.len() + state.taken < self.ahead;
            if let Some((&input, (plain, next))) = state.open.first_key_value() {
                let (plain, next) = (Arc::clone(plain), *next);
                if room || state.cursor == (input, next + 1) {
                    state.taken += 1;
                    if (next + 1).saturating_mul(self.piece_bytes) >= plain.size {
                        state.open.remove(&input);
                    } else {
                        state.open.insert(input, (Arc::clone(&plain), next + 1));
                    }
                    return Some(Task::Piece(input, next, plain));
                }
            } else if state.next_input < state.inputs.len() {
                let number = state.next_input;
                if room || state.cursor == (number, 0) {
                    state.next_input += 1;
                    state.opening += 1;
                    let input = state.inputs[number].take().expect("each is taken once");
                    return Some(Task::Open(number, input));
                }
            } else if state.opening == 0 {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// Says that an input was opened, and whether it has pieces.
    fn opened(&self, pieces: Option<(usize, Arc<Plain>)>) {
        let mut state = self.lock();
        state.opening -= 1;
        if let Some((number, plain)) = pieces {
            state.open.insert(number, (plain, 0));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Puts what was found at its place, when there is room for it.
    fn post(&self, place: Place, messages: Vec<Message<P>>, last: bool, taken: bool) {
        let mut state = self.lock();
        // A piece that was taken had its room then; the first words on an input are small.
        while !taken
            && place.1 > 0
            && state.cursor != place
            && state.slots.len() >= self.ahead
            && !state.failed
        {
            state = self.wait(state);
        }
        state.taken -= usize::from(taken);
        state.slots.insert(place, Slot { messages, last });
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for what is to be joined next; none when everything was, or when a thread panicked.
    fn next(&self) -> Option<Slot<P>> {
        let mut state = self.lock();
        loop {
            if state.failed || state.cursor.0 == state.inputs.len() {
                return None;
            }
            let cursor = state.cursor;
            if let Some(slot) = state.slots.remove(&cursor) {
                state.cursor = if slot.last {
                    (cursor.0 + 1, 0)
                } else {
                    (cursor.0, cursor.1 + 1)
                };
                drop(state);
                self.changed.notify_all();
                return Some(slot);
            }
            state = self.wait(state);
        }
    }
}
