//! One compressed file, from its beginning to its end: there is no way to its end but through all of it.

use std::fs::File;
use std::io::{Read, Seek};

use jiff::Timestamp;

use super::file::{HEAD_BYTES, Head};
use super::{Cut, Search, Stretch};
use crate::engine::stream::stopped;
use crate::engine::window::Window;
use crate::engine::{Choose, Chosen};
use crate::error::cause;
use crate::input::{Peeked, is_archive, peel};

/// Unpacked bytes between two looks at the limits.
const STEP_BYTES: u64 = 1024 * 1024;
/// How many times what may be read it may be when it is unpacked: a file that unpacks to more is made to do harm.
const UNPACKED_TIMES_MAX: u64 = 16;

/// What is being unpacked.
struct Packed<'a> {
    file: &'a File,
    reader: Peeked<Box<dyn Read + 'a>>,
    layers: Vec<&'static str>,
    /// Bytes of the file that were counted.
    counted: u64,
}

impl Search<'_> {
    /// Looks into a compressed file, or says what of it was not searched.
    pub(super) fn packed(
        &mut self,
        file: &File,
        head: &Head<'_>,
        choose: &Choose<'_>,
    ) -> Result<(), String> {
        let (mut reader, layers) = peel(Box::new(file)).map_err(|error| cause(&error))?;
        if is_archive(&mut reader) {
            return Err("it is an archive".to_owned());
        }
        let bytes = reader.peek(HEAD_BYTES);
        if bytes.is_empty() {
            let ended = reader.read(&mut [0; 1]).map(drop);
            return ended.map_err(|error| stopped(&cause(&error), &layers, 0));
        }
        let chosen = head.choose(bytes, choose)?;
        if self.is_late(&chosen, bytes) {
            return Ok(());
        }
        let packed = Packed {
            file,
            reader,
            layers,
            counted: 0,
        };
        self.unpack(packed, &chosen)
    }

    fn unpack(&mut self, mut packed: Packed<'_>, chosen: &Chosen) -> Result<(), String> {
        let mut window = Window::default();
        let mut scanner = (chosen.make)();
        let mut lines = std::collections::VecDeque::new();
        let (mut dropped, mut at) = (false, None);
        let unsearched = loop {
            let before = window.base();
            let mut stretch = Stretch {
                matcher: &mut self.matcher,
                most: self.limits.records,
                lines,
                dropped,
                first_at: None,
            };
            let until = before.saturating_add(STEP_BYTES);
            window.scan(
                &mut packed.reader,
                scanner.as_mut(),
                until,
                false,
                &mut stretch,
            );
            let first_at = stretch.first_at;
            (lines, dropped) = (stretch.lines, stretch.dropped);
            at = first_at.or(at);
            self.count(&mut packed, window.base() - before);
            if window.ended() && (window.rest().is_empty() || window.base() == before) {
                break None;
            }
            if self.late(first_at) {
                break None;
            }
            if let Some(cut) = self.enough() {
                break Some(cut);
            }
        };
        self.found.records.extend(lines.into_iter().rev());
        if let Some(why) = window.trouble() {
            return Err(stopped(&why, &packed.layers, window.base()));
        }
        if unsearched.is_some() {
            self.found.cut = unsearched;
            return Err(partly(&packed, window.base(), at));
        }
        if dropped {
            self.found.cut = Some(Cut::Records);
        }
        Ok(())
    }

    /// Counts what was read of the file, and what it unpacked to.
    fn count(&mut self, packed: &mut Packed<'_>, unpacked: u64) {
        let read_to = packed.file.stream_position().unwrap_or(packed.counted);
        self.read_bytes += read_to.saturating_sub(packed.counted);
        packed.counted = read_to;
        self.found.bytes += unpacked;
    }

    /// Says why no more is unpacked, whatever was found: the newest records are at the end.
    fn enough(&self) -> Option<Cut> {
        let unpacked_max = self.limits.bytes.saturating_mul(UNPACKED_TIMES_MAX);
        if self.read_bytes >= self.limits.bytes || self.found.bytes >= unpacked_max {
            Some(Cut::Bytes)
        } else if (self.limits.stop)() {
            Some(Cut::Time)
        } else {
            None
        }
    }
}

/// Says that only the beginning of a file was searched, and up to when.
fn partly(packed: &Packed<'_>, bytes: u64, at: Option<i64>) -> String {
    let layers = packed.layers.iter().rev().copied();
    let layers = layers.collect::<Vec<_>>().join(".");
    let upto = at.and_then(|at| Timestamp::from_microsecond(at).ok());
    let upto = upto.map(|at| at.strftime(", up to %Y-%m-%d %H:%M:%S UTC,").to_string());
    let upto = upto.unwrap_or_default();
    format!(
        "its {layers} data is read from the beginning: the first {bytes} bytes{upto} were searched, what follows was not"
    )
}
