//! Telling the prefixes of a log from a sample of it.

use std::collections::HashSet;

use super::infer::{infer, label_positions};
use super::{Fields, PLACES_MAX, PREFIXES_MAX, Prefix, Reading};
use crate::language::words::Label;
use crate::time::Clock;

/// How much of a sample is looked at.
const SAMPLE_BYTES_MAX: usize = 1024 * 1024;
/// Most lines of it that are compared with each prefix.
const LINES_MAX: usize = 2000;
/// A further prefix must explain at least this share of the lines that look like a record.
const SHARE_MIN: f64 = 0.002;

/// Ends of fields that are tried for each line on average with one prefix: a line that has another takes some hundreds.
const PLACES_PER_LINE: u32 = 500;

/// What a field without a grammar costs by itself, so that a name with a separator in it is not taken for two.
const FIELD_COST: usize = 6;

/// Prefixes that are common: PostgreSQL's own, of distributions, of clouds, of the documentation of log analysers.
const CANDIDATES: &[&str] = &[
    "%m [%p] ",
    "%m [%p] %q%u@%d ",
    "%t [%p] ",
    "%t [%p]: ",
    "%t [%p-%l] %q%u@%d ",
    "%t:%r:%u@%d:[%p]:",
    "%m:%r:%u@%d:[%p]:%l:%e:%s:%v:%x:%c:%q%a:",
    "%t-%c-",
    "%m-%c-",
    "%t-%c-user=%u,db=%d,app=%a,client=%h-",
    "%m [%p]: [%l-1] db=%d,user=%u ",
    "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%m [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: [%l-1] user=%u,db=%d ",
    "%t [%p]: user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: db=%d,user=%u,app=%a,client=%h ",
    "user=%u,db=%d,app=%a,client=%h ",
    "%m [%p] user=%u,db=%d,app=%a,client=%h ",
    "%m [%p] %q[user=%u,db=%d,app=%a] ",
    "%m %u@%d [%p] ",
    "%m [%p] %u@%d ",
    "%m %p %u@%d from %h [vxid:%v txid:%x] [%i] ",
    "%m [%p] %r %a %u@%d ",
    "%m [%p:%l] [%d] %u ",
    "%n [%p] ",
    "%n %p %l ",
    "sql_error_code = %e time_ms = \"%m\" pid=\"%p\" proc_start_time=\"%s\" session_id=\"%c\" vtid=\"%v\" tid=\"%x\" \
     log_line=\"%l\" %qdatabase=\"%d\" connection_source=\"%r\" user=\"%u\" application_name=\"%a\" ",
    "",
];

/// A prefix that a log seems to be written with.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// The prefix.
    pub prefix: Prefix,
    /// The share of the lines that look like a record which this prefix explains and those before it do not, from 0 to 1.
    pub match_rate: f64,
}

/// Tells which prefixes together explain most of a sample of a log; empty when no line looks like a record.
///
/// The sum of the rates is what the set explains. Where several prefixes explain the same lines, the one wins that leaves least to fields
/// without a grammar.
pub fn detect(sample: &[u8]) -> Vec<Guess> {
    let lines = record_like(sample);
    let inferred = infer(&lines);
    let mut known = HashSet::new();
    let mut candidates: Vec<Candidate> = CANDIDATES
        .iter()
        .map(|text| (*text).to_string())
        .chain(inferred)
        .filter(|text| known.insert(text.clone()))
        .map(|text| Candidate::new(&text, &lines))
        .collect();
    let mut left = vec![true; lines.len()];
    let mut guesses = Vec::new();
    while guesses.len() < PREFIXES_MAX && !candidates.is_empty() {
        let scores: Vec<Score> = candidates.iter().map(|one| one.score(&left)).collect();
        let most = scores.iter().map(|score| score.lines).max().unwrap_or(0);
        let enough = (lines.len() as f64 * SHARE_MIN).max(1.0);
        if (most as f64) < enough {
            break;
        }
        // One in a hundred lines is no reason to prefer a prefix whose names swallow what is structure.
        let near = most - most / 100;
        let best = (0..candidates.len())
            .filter(|index| scores[*index].lines >= near)
            .min_by_key(|index| {
                (
                    scores[*index].loose / scores[*index].lines,
                    scores[*index].steps,
                    *index,
                )
            });
        let Some(best) = best else { break };
        let candidate = candidates.swap_remove(best);
        let rate = scores[best].lines as f64 / lines.len() as f64;
        for (left, cost) in left.iter_mut().zip(&candidate.costs) {
            *left = *left && cost.is_none();
        }
        guesses.push(Guess {
            prefix: candidate.prefix,
            match_rate: rate,
        });
    }
    guesses
}

/// Returns lines of a sample that hold a label near their beginning.
fn record_like(sample: &[u8]) -> Vec<&[u8]> {
    let cut = sample.len() > SAMPLE_BYTES_MAX;
    let sample = &sample[..sample.len().min(SAMPLE_BYTES_MAX)];
    let mut lines: Vec<&[u8]> = sample.split(|byte| *byte == b'\n').collect();
    if cut {
        lines.pop();
    }
    lines.retain(|line| line.first() != Some(&b'\t') && label_positions(line).next().is_some());
    // Spread over the sample, since the setting may change in the middle.
    let step = lines.len().div_ceil(LINES_MAX).max(1);
    lines.into_iter().step_by(step).collect()
}

struct Candidate {
    prefix: Prefix,
    /// For each line that it explains, how much of it is left to fields without a grammar.
    costs: Vec<Option<usize>>,
}

struct Score {
    lines: usize,
    /// In hundredths of a byte.
    loose: usize,
    steps: usize,
}

impl Candidate {
    fn new(text: &str, lines: &[&[u8]]) -> Candidate {
        let prefix = Prefix::new(text);
        let mut clock = Clock::default();
        let mut fields = Fields::default();
        let count = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        let mut places = PLACES_MAX.saturating_add(count.saturating_mul(PLACES_PER_LINE));
        let costs = lines.iter().map(|line| {
            let reading = prefix.read_with(line, &mut clock, &mut fields, None, &mut places);
            let whole = reading == Reading::Whole;
            (whole && !fields.disagrees()).then(|| looseness(&fields))
        });
        let costs = costs.collect();
        Candidate { prefix, costs }
    }

    fn score(&self, left: &[bool]) -> Score {
        let costs = self.costs.iter().zip(left).filter(|(_, left)| **left);
        let mut score = Score {
            lines: 0,
            loose: 0,
            steps: self.prefix.len(),
        };
        let fields = self.prefix.free_fields() * FIELD_COST;
        for cost in costs.filter_map(|(cost, _)| *cost) {
            score.lines += 1;
            score.loose += (cost + fields) * 100;
        }
        score
    }
}

/// How much of a line is in fields that take anything; what no name should hold weighs more.
fn looseness(fields: &Fields<'_>) -> usize {
    let free = [
        fields.user,
        fields.database,
        fields.application,
        fields.host,
        fields.local_address,
        fields.backend,
        fields.command,
    ];
    let weight = |byte: &u8| match byte {
        b'=' | b'[' | b']' | b'(' | b')' | b',' => 8,
        b' ' | b':' | b'/' | b'@' => 3,
        _ => 1,
    };
    let names: usize = free.iter().flat_map(|field| field.iter().map(weight)).sum();
    // A line's primary label tells more than that of a further part, which a message may quote.
    names + usize::from(matches!(fields.label, Some(Label::Part(_))))
}
