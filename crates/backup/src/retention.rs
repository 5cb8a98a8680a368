//! What may be deleted: a policy and what is known of the backups, in; one decision for each backup, with its reasons, out.
//!
//! Pure: nothing is read or deleted here ([`expire`] does). The rules that no policy can change (invariant I6): a chain lives
//! or dies as a whole; what is held, in use or being restored stays; the newest chain stays, the newest that is proven, and
//! the newest without wrong pages; what the future or a broken clock says is kept. A backup with wrong pages, or that failed a
//! test, does not count towards what a policy keeps while there are others.

mod expire;
mod wal;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

pub use expire::{Expired, Outcome, expire};
pub use wal::WalNeed;

use crate::repository::{BackupId, Position, State};

/// What a person wants to keep; a rule that is not set keeps nothing by itself, and without any rule everything is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// So many of the newest full backups, with what stands on them.
    pub keep_fulls: Option<u32>,
    /// Everything that is younger.
    pub keep_age: Option<SignedDuration>,
    /// Any moment of so long ago can be recovered.
    pub window: Option<SignedDuration>,
    /// The newest chain of each of so many days (of UTC, as are the rest).
    pub daily: u32,
    /// The newest chain of each of so many weeks.
    pub weekly: u32,
    /// The newest chain of each of so many months.
    pub monthly: u32,
    /// The newest chain of each of so many years.
    pub yearly: u32,
    /// How long a tomb lies before its backup is deleted.
    pub grace: SignedDuration,
}

/// What is known of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub backup: BackupId,
    /// The backup that it stands on.
    pub parent: Option<BackupId>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Where its replay begins.
    pub start: Position,
    /// Where it becomes consistent.
    pub stop: Position,
    /// What it is worth.
    pub state: State,
    /// Whether no page was wrong when it was taken, and nothing was found wrong since.
    pub clean: bool,
    /// Why it is held, when it is.
    pub held: Option<String>,
    /// Who works with it, when somebody does.
    pub leased: Option<String>,
    /// When its tomb was laid, by the store's clock, when it has one.
    pub tomb_at: Option<Timestamp>,
}

/// What becomes of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It stays.
    Keep,
    /// A tomb is laid on it, or lies there until the grace is over.
    Tomb,
    /// It is deleted.
    Delete,
}

/// What becomes of a backup, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Which.
    pub backup: BackupId,
    /// What becomes of it.
    pub fate: Fate,
    /// Why, one sentence each.
    pub why: Vec<String>,
}

/// What becomes of all backups of a cluster, and of its WAL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// One decision for each backup, in the order in which they were given.
    pub decisions: Vec<Decision>,
    /// Which WAL is needed while what is kept, or only has a tomb, exists.
    pub wal: WalNeed,
}

impl Policy {
    /// Says whether it has any rule; without one nothing is ever deleted.
    pub fn any(&self) -> bool {
        let calendar = [self.daily, self.weekly, self.monthly, self.yearly];
        let counted = calendar.iter().any(|count| *count > 0);
        self.keep_fulls.is_some() || self.keep_age.is_some() || self.window.is_some() || counted
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = match self.fate {
            Fate::Keep => "keep",
            Fate::Tomb => "tomb",
            Fate::Delete => "delete",
        };
        write!(f, "{fate:<6}  {}  {}", self.backup, self.why.join("; "))
    }
}

/// A full backup with all that stands on it, directly or not.
struct Chain<'a> {
    members: Vec<&'a Known>,
    /// Why it stays.
    why: Vec<String>,
    /// Whether any moment after it must be recoverable, so that the WAL behind it stays as well.
    continuous: bool,
    /// Whether it begins with a full backup: otherwise it cannot be restored.
    whole: bool,
}

impl Chain<'_> {
    fn newest(&self) -> Timestamp {
        let ends = self.members.iter().map(|known| known.ended_at);
        ends.max().unwrap_or(Timestamp::MIN)
    }

    fn oldest(&self) -> Timestamp {
        let ends = self.members.iter().map(|known| known.ended_at);
        ends.min().unwrap_or(Timestamp::MAX)
    }

    fn proven(&self) -> bool {
        self.members
            .iter()
            .any(|known| known.state == State::Proven)
    }

    /// Says whether there is a backup in it without a wrong page: what stands on a wrong one is not better than that.
    fn clean(&self) -> bool {
        let mut fulls = self.members.iter().filter(|known| known.parent.is_none());
        fulls.any(|known| known.clean)
    }
}

/// Says in which day, week, month or year a date lies.
type Slot<'a> = &'a dyn Fn(Date) -> (i16, i16);

/// Decides what becomes of each backup.
///
/// Backups are taken as they are given: oldest stop position first.
pub fn plan(known: &[Known], policy: &Policy, now: Timestamp) -> Plan {
    let mut chains = chains(known);
    keep_what_is_used(&mut chains, now);
    keep_by_policy(&mut chains, policy, now);
    keep_the_newest(&mut chains);
    let mut fates: BTreeMap<&BackupId, Decision> = BTreeMap::new();
    for chain in &chains {
        for member in &chain.members {
            fates.insert(&member.backup, decide(member, chain, policy, now));
        }
    }
    let decisions: Vec<Decision> = known
        .iter()
        .map(|known| fates[&known.backup].clone())
        .collect();
    // Whatever is still there may be restored: what has a tomb may lose it, and what is deleted may resist.
    let wal = WalNeed::of(chains.iter().flat_map(|chain| {
        let continuous = |known: &Known| match fates[&known.backup].fate {
            Fate::Keep => chain.continuous,
            Fate::Tomb => true,
            Fate::Delete => false,
        };
        let needs = |known: &&Known| (known.start, known.stop, continuous(known));
        chain.members.iter().map(needs).collect::<Vec<_>>()
    }));
    Plan { decisions, wal }
}

/// Sorts backups into chains; one whose parent is not there is the begin of its own.
fn chains(known: &[Known]) -> Vec<Chain<'_>> {
    let by_name: BTreeMap<&BackupId, &Known> =
        known.iter().map(|known| (&known.backup, known)).collect();
    let mut members: BTreeMap<&BackupId, Vec<&Known>> = BTreeMap::new();
    let mut order = Vec::new();
    for one in known {
        let root = root_of(one, &by_name);
        let chain = members.entry(root).or_default();
        if chain.is_empty() {
            order.push(root);
        }
        chain.push(one);
    }
    let chain = |root: &BackupId| Chain {
        members: members[root].clone(),
        why: Vec::new(),
        continuous: false,
        whole: by_name[root].parent.is_none(),
    };
    order.into_iter().map(chain).collect()
}

fn root_of<'a>(known: &'a Known, by_name: &BTreeMap<&BackupId, &'a Known>) -> &'a BackupId {
    let mut seen = BTreeSet::new();
    let mut root = known;
    while let Some(parent) = root.parent.as_ref().and_then(|parent| by_name.get(parent)) {
        // Parents in a circle are no chain; the format cannot express one, but a hand can.
        if !seen.insert(&root.backup) {
            break;
        }
        root = parent;
    }
    &root.backup
}

fn keep_what_is_used(chains: &mut [Chain<'_>], now: Timestamp) {
    for chain in chains {
        for known in &chain.members {
            if let Some(held) = &known.held {
                chain.why.push(format!("{} is held: {held}", known.backup));
            }
            if let Some(leased) = &known.leased {
                chain
                    .why
                    .push(format!("{} is in use: {leased}", known.backup));
            }
        }
        if chain.newest() > now {
            chain.why.push(
                "by its time it is of the future, so that the clocks cannot be trusted".to_owned(),
            );
        }
    }
}

fn keep_by_policy(chains: &mut [Chain<'_>], policy: &Policy, now: Timestamp) {
    if !policy.any() {
        for chain in chains {
            chain
                .why
                .push("no rule says what may be deleted".to_owned());
            chain.continuous = true;
        }
        return;
    }
    // By the time of the full backup; equal ones in the order of their positions. What cannot be restored counts for nothing.
    let mut order: Vec<usize> = (0..chains.len())
        .filter(|place| chains[*place].whole)
        .collect();
    order.sort_by_key(|place| chains[*place].oldest());
    order.reverse();
    let ages: Vec<(usize, SignedDuration, SignedDuration)> = order
        .iter()
        .map(|place| {
            let age = |at: Timestamp| now.duration_since(at);
            let chain = &chains[*place];
            (*place, age(chain.oldest()), age(chain.newest()))
        })
        .collect();
    let clean: Vec<bool> = chains.iter().map(Chain::clean).collect();
    let mut keep = |place: usize, why: String| {
        chains[place].why.push(why);
        chains[place].continuous = true;
    };
    let count = policy.keep_fulls.unwrap_or(0) as usize;
    for (nth, place) in clean_first(&order, &clean).take(count).enumerate() {
        let (nth, well) = (nth + 1, clean[place]);
        let why = match well {
            true => format!("its chain is number {nth} of the newest {count} full backups"),
            false => format!("too few of {count} full backups are without fault"),
        };
        keep(place, why);
    }
    if let Some(keep_age) = policy.keep_age {
        for (place, _, newest) in ages.iter().filter(|(_, _, newest)| *newest <= keep_age) {
            let age = span((*newest).max(SignedDuration::ZERO));
            keep(
                *place,
                format!("its age of {age} is within {}", span(keep_age)),
            );
        }
    }
    if let Some(window) = policy.window {
        let shown = span(window);
        for (place, _, newest) in &ages {
            if *newest <= window {
                keep(
                    *place,
                    format!("it lies within the recovery window of {shown}"),
                );
            }
        }
        // What something is wrong with may not lead anywhere.
        let before = ages.iter().filter(|(_, oldest, _)| *oldest >= window);
        let before: Vec<usize> = before.map(|(place, _, _)| *place).collect();
        if let Some(place) = clean_first(&before, &clean).next() {
            keep(
                place,
                format!("the recovery window of {shown} begins with it"),
            );
        }
    }
    keep_by_calendar(chains, policy, &order);
}

/// Returns those without fault, and then the others, each in their order: what something is wrong with counts only where too few
/// others are there.
fn clean_first<'a>(places: &'a [usize], clean: &'a [bool]) -> impl Iterator<Item = usize> + 'a {
    let that = |wanted: bool| {
        let places = places.iter().copied();
        places.filter(move |place| clean[*place] == wanted)
    };
    that(true).chain(that(false))
}

/// Of each of the newest so many days, weeks, months and years that have a chain, the newest of it stays.
fn keep_by_calendar(chains: &mut [Chain<'_>], policy: &Policy, newest_first: &[usize]) {
    let week = |date: Date| date.iso_week_date();
    let calendars: [(&str, u32, Slot<'_>); 4] = [
        ("day", policy.daily, &|date| {
            (date.year(), date.day_of_year())
        }),
        ("week", policy.weekly, &|date| {
            (week(date).year(), i16::from(week(date).week()))
        }),
        ("month", policy.monthly, &|date| {
            (date.year(), i16::from(date.month()))
        }),
        ("year", policy.yearly, &|date| (date.year(), 0)),
    ];
    for (unit, count, slot) in calendars {
        // The slots in their order, each with the newest of it, or the newest without fault.
        let mut slots: Vec<((i16, i16), usize)> = Vec::new();
        for place in newest_first {
            let at = chains[*place].oldest();
            let of = slot(at.to_zoned(TimeZone::UTC).date());
            match slots.iter().position(|(known, _)| *known == of) {
                Some(at) => {
                    let held = &mut slots[at].1;
                    if !chains[*held].clean() && chains[*place].clean() {
                        *held = *place;
                    }
                }
                None if slots.len() < count as usize => slots.push((of, *place)),
                None => {}
            }
        }
        for (_, place) in slots {
            let why = format!("it is the newest of its {unit}, one of {count} that are kept");
            chains[place].why.push(why);
        }
    }
}

/// No policy takes the last way back: the newest chain stays, the newest that is proven, and the newest without wrong pages,
/// since a page that is wrong on the server is wrong in whatever is taken from then on. Positions decide, not clocks.
fn keep_the_newest(chains: &mut [Chain<'_>]) {
    let newest_that = |fits: fn(&Chain<'_>) -> bool| {
        let mut whole = chains.iter().map(|chain| chain.whole && fits(chain));
        whole.rposition(|fits| fits)
    };
    let newest = newest_that(|_| true);
    let proven = newest_that(|chain| chain.proven());
    let clean = newest_that(|chain| chain.clean());
    let mut keep = |place: Option<usize>, why: &str| {
        if let Some(place) = place {
            chains[place].why.push(why.to_owned());
            chains[place].continuous = true;
        }
    };
    keep(newest, "it is the newest");
    keep(proven, "it is the newest that is proven by a restore");
    if clean != newest {
        keep(clean, "it is the newest without wrong pages");
    }
}

/// Returns a length of time as people say it.
fn span(length: SignedDuration) -> String {
    const DAY: i64 = 24 * 60 * 60;
    let seconds = length.as_secs();
    match (seconds / DAY, seconds % DAY) {
        (1, 0) => "1 day".to_owned(),
        (days, 0) => format!("{days} days"),
        (days, _) if days >= 2 => format!("{days} days"),
        _ => format!("{:#}", SignedDuration::from_secs(seconds)),
    }
}

fn decide(known: &Known, chain: &Chain<'_>, policy: &Policy, now: Timestamp) -> Decision {
    let backup = known.backup.clone();
    if !chain.why.is_empty() {
        let mut why = chain.why.clone();
        if known.parent.is_some() || chain.members.len() > 1 {
            why.push(format!(
                "its chain of {} stays as a whole",
                chain.members.len()
            ));
        }
        if known.tomb_at.is_some() {
            why.push("its tomb is taken away".to_owned());
        }
        let fate = Fate::Keep;
        return Decision { backup, fate, why };
    }
    let mut why = vec!["no rule keeps it".to_owned()];
    if !chain.whole {
        why.push("what it stands on is not there, so that it cannot be restored".to_owned());
    }
    if chain.members.len() > 1 {
        why.push(format!(
            "nor any other of its chain of {}",
            chain.members.len()
        ));
    }
    let grace = span(policy.grace);
    // The grace of a chain is over when that of all its members is.
    let laid: Option<Timestamp> = chain
        .members
        .iter()
        .map(|known| known.tomb_at)
        .collect::<Option<Vec<_>>>()
        .and_then(|laid| laid.into_iter().max());
    let over = laid.is_some_and(|laid| now.duration_since(laid) >= policy.grace);
    let fate = match (laid, over) {
        (Some(laid), true) => {
            why.push(format!(
                "its tomb lies since {laid:.0}, longer than the grace of {grace}"
            ));
            Fate::Delete
        }
        (Some(laid), false) => {
            why.push(format!(
                "its tomb lies since {laid:.0}, and the grace of {grace} runs"
            ));
            Fate::Tomb
        }
        (None, _) => {
            why.push(format!("it is deleted {grace} after its tomb is laid"));
            Fate::Tomb
        }
    };
    Decision { backup, fate, why }
}

#[cfg(test)]
mod tests;
