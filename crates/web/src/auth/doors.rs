//! Slows down whoever tries passwords: per account and per address, with a delay that grows with every refusal.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pawang_core::Timestamp;

/// Refusals of one account before it has to wait.
const ACCOUNT_FREE: u32 = 5;
/// Longest wait of an account: short enough that its owner, whom somebody else locks out, can wait.
const ACCOUNT_DELAY_MAX: Duration = Duration::from_secs(60);
/// Refusals from one address before it has to wait.
const ADDRESS_FREE: u32 = 10;
/// Longest wait of an address.
const ADDRESS_DELAY_MAX: Duration = Duration::from_secs(900);
/// Refusals older than this are forgotten.
const MEMORY: Duration = Duration::from_secs(3_600);
/// Accounts and addresses that are remembered; the ones refused longest ago are forgotten first.
const REMEMBERED_MAX: usize = 10_000;
/// Refusals of strangers, and as many of everybody else, that the journal takes per minute; more are counted in the
/// next one.
const RECORDED_PER_MINUTE: u32 = 30;

/// How often whom was refused.
#[derive(Default)]
pub(crate) struct Doors {
    refused: Mutex<HashMap<Door, Refusals>>,
    strangers: Mutex<Recorded>,
    others: Mutex<Recorded>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Door {
    Account(String),
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Refusals {
    count: u32,
    last_at: Timestamp,
}

/// What the journal took of this minute's refusals.
#[derive(Default)]
struct Recorded {
    minute: i64,
    taken: u32,
    omitted: u64,
}

impl Doors {
    /// Returns how long this account from this address has to wait before its password is even looked at.
    pub(crate) fn wait(&self, account: &str, address: IpAddr, now: Timestamp) -> Option<Duration> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |door: &Door, free, longest| {
            let refusals = refused.get(door)?;
            let delay = delay(refusals.count, free, longest)?;
            let passed = refusals.last_at.duration_until(now);
            // A clock that went backwards waits for the whole delay, no longer.
            let passed = Duration::try_from(passed).unwrap_or_default();
            delay.checked_sub(passed).filter(|left| !left.is_zero())
        };
        let account = wait(
            &Door::Account(account.to_owned()),
            ACCOUNT_FREE,
            ACCOUNT_DELAY_MAX,
        );
        account.max(wait(
            &Door::Address(network(address)),
            ADDRESS_FREE,
            ADDRESS_DELAY_MAX,
        ))
    }

    /// Remembers a refusal.
    pub(crate) fn refuse(&self, account: &str, address: IpAddr, now: Timestamp) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        for door in [
            Door::Account(account.to_owned()),
            Door::Address(network(address)),
        ] {
            let refusals = refused.entry(door).or_insert(Refusals {
                count: 0,
                last_at: now,
            });
            if refusals.last_at.duration_until(now).unsigned_abs() > MEMORY {
                refusals.count = 0;
            }
            refusals.count = refusals.count.saturating_add(1);
            refusals.last_at = now;
        }
        if refused.len() > REMEMBERED_MAX {
            forget_oldest(&mut refused);
        }
    }

    /// Forgets the refusals of an account that got in; of the address only the one counted for this attempt.
    pub(crate) fn admit(&self, account: &str, address: IpAddr) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.remove(&Door::Account(account.to_owned()));
        if let Some(refusals) = refused.get_mut(&Door::Address(network(address))) {
            refusals.count = refusals.count.saturating_sub(1);
        }
    }

    /// Says whether one more refusal, of a stranger or of somebody else, is written into the journal, and how many were
    /// not since the last one that was: nobody may fill the disk.
    pub(crate) fn record(&self, stranger: bool, now: Timestamp) -> Option<u64> {
        let recorded = match stranger {
            true => &self.strangers,
            false => &self.others,
        };
        let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.as_second() / 60;
        if recorded.minute != minute {
            recorded.minute = minute;
            recorded.taken = 0;
        }
        if recorded.taken >= RECORDED_PER_MINUTE {
            recorded.omitted += 1;
            return None;
        }
        recorded.taken += 1;
        Some(std::mem::take(&mut recorded.omitted))
    }
}

/// Returns what an address is counted as: an IPv6 address by the first half, since whoever has one has all of it.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

/// Returns the delay after so many refusals: none for the free ones, then 1, 2, 4, ... seconds.
fn delay(count: u32, free: u32, longest: Duration) -> Option<Duration> {
    let doublings = count.checked_sub(free)?;
    let seconds = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds).min(longest))
}

fn forget_oldest(refused: &mut HashMap<Door, Refusals>) {
    let mut ages: Vec<Timestamp> = refused.values().map(|refusals| refusals.last_at).collect();
    ages.sort_unstable();
    // A tenth at once, so that this is not done for every refusal.
    let oldest = ages[ages.len() / 10];
    refused.retain(|_, refusals| refusals.last_at > oldest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn delays_grow_and_end() {
        let doors = Doors::default();
        for _ in 0..ACCOUNT_FREE - 1 {
            doors.refuse("alice", address(1), at(0));
        }
        assert_eq!(doors.wait("alice", address(1), at(0)), None);
        for (count, seconds) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
            doors.refuse("alice", address(u8::try_from(count).unwrap()), at(0));
            let wait = doors.wait("alice", address(99), at(0));
            assert_eq!(wait, Some(Duration::from_secs(seconds)));
        }
        assert_eq!(doors.wait("alice", address(99), at(60)), None);
        assert_eq!(doors.wait("bob", address(99), at(0)), None);
        doors.admit("alice", address(99));
        assert_eq!(doors.wait("alice", address(99), at(0)), None);
    }

    #[test]
    fn an_address_that_tries_many_accounts_waits() {
        let doors = Doors::default();
        for account in 0..30 {
            doors.refuse(&format!("a{account}"), address(1), at(0));
        }
        let wait = doors.wait("new", address(1), at(0));
        assert_eq!(wait, Some(ADDRESS_DELAY_MAX));
        assert_eq!(doors.wait("new", address(2), at(0)), None);
        assert_eq!(doors.wait("new", address(1), at(-500)), wait);
    }

    #[test]
    fn addresses_of_one_network_wait_together() {
        let doors = Doors::default();
        let parse = |text: &str| -> IpAddr { text.parse().unwrap() };
        for last in 0..30 {
            let address = parse(&format!("2001:db8:0:1::{last}"));
            doors.refuse(&format!("a{last}"), address, at(0));
        }
        let wait = |address| doors.wait("new", parse(address), at(0));
        assert_eq!(wait("2001:db8:0:1:ffff::1"), Some(ADDRESS_DELAY_MAX));
        assert_eq!(wait("2001:db8:0:2::1"), None);
        assert_eq!(network(parse("::ffff:192.0.2.1")), address(1));
    }

    #[test]
    fn memory_is_bounded() {
        let doors = Doors::default();
        for account in 0..30_000 {
            doors.refuse(&account.to_string(), address(1), at(account));
        }
        assert!(doors.refused.lock().unwrap().len() <= REMEMBERED_MAX);
        assert!(doors.wait("29999", address(1), at(30_000)).is_some());
    }

    #[test]
    fn nobody_can_fill_the_journal() {
        let doors = Doors::default();
        for stranger in [true, false] {
            let record = |seconds| doors.record(stranger, at(seconds));
            let written = (0..1_000).filter(|_| record(0).is_some()).count();
            assert_eq!(written, 30);
            assert_eq!(record(60), Some(970));
            assert_eq!(record(61), Some(0));
        }
    }
}
