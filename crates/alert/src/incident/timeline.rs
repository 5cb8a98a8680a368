//! The timeline: what was written down while the incident went on, and what else happened meanwhile.

use pawang_core::Timestamp;
use pawang_core::alert::{Entry, EntryKind};

/// Something that happened meanwhile and is no entry: from the journal, or a change that was seen at the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: EntryKind,
    /// Who, where somebody did it.
    pub by: Option<String>,
    /// What, in one sentence.
    pub text: String,
}

/// Returns entries and what else happened in one order, without repetitions.
pub fn timeline(entries: &[Entry], others: &[Line]) -> Vec<Line> {
    let mut lines: Vec<Line> = entries
        .iter()
        .map(|entry| Line {
            at: entry.at,
            kind: entry.kind,
            by: entry.by.clone(),
            text: entry.text.clone(),
        })
        .chain(others.iter().cloned())
        .collect();
    // Stable: what was written down at one instant keeps its order.
    lines.sort_by_key(|line| line.at);
    let mut kept: Vec<Line> = Vec::with_capacity(lines.len());
    for line in lines {
        let told = kept
            .iter()
            .rev()
            .take_while(|before| before.at == line.at)
            .any(|before| before.text == line.text && before.by == line.by);
        if !told {
            kept.push(line);
        }
    }
    kept
}
