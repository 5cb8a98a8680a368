//! Schedules against the calendar of the manual, mistakes, and a slow truth minute by minute.

use std::collections::BTreeMap;

use jiff::civil::date;
use proptest::prelude::*;

use super::*;

const ZONES: [&str; 5] = [
    "Asia/Jakarta",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Returns the times of a schedule in a span, as the clock of its zone shows them.
fn times(text: &str, from: &str, to: &str) -> Vec<String> {
    let schedule = Schedule::parse(text).unwrap();
    let shown = |at: Timestamp| {
        schedule
            .zone()
            .to_datetime(at)
            .strftime("%m-%d %H:%M")
            .to_string()
    };
    schedule
        .between(at(from), at(to), 100)
        .into_iter()
        .map(|time| format!("{} to {}", shown(time.from), shown(time.to)))
        .collect()
}

#[test]
fn the_calendar_of_the_manual() {
    let (from, to) = ("2026-12-01T00:00:00Z", "2027-01-05T00:00:00Z");
    assert_eq!(
        times("sun 02:00-06:00 Asia/Jakarta", from, to),
        [
            "12-06 02:00 to 12-06 06:00",
            "12-13 02:00 to 12-13 06:00",
            "12-20 02:00 to 12-20 06:00",
            "12-27 02:00 to 12-27 06:00",
            "01-03 02:00 to 01-03 06:00",
        ]
    );
    assert_eq!(
        times("first sun 00:00-04:00 Asia/Jakarta", from, to),
        ["12-06 00:00 to 12-06 04:00", "01-03 00:00 to 01-03 04:00"]
    );
    assert_eq!(
        times(
            "last sat of quarter 22:00-02:00 Asia/Jakarta",
            "2026-01-01T00:00:00Z",
            to
        ),
        [
            "03-28 22:00 to 03-29 02:00",
            "06-27 22:00 to 06-28 02:00",
            "09-26 22:00 to 09-27 02:00",
            "12-26 22:00 to 12-27 02:00",
        ]
    );
}

/// Forms that mean the same, group by group.
const SAME: &[&[&str]] = &[
    &[
        "second sun of quarter 01:00-02:00",
        "cron 0 1 * jan,apr,jul,oct sun#2 for 1 h",
    ],
    &[
        "last fri of year 01:00-02:00",
        "rrule FREQ=YEARLY;BYDAY=-1FR;BYHOUR=1 for 1 h",
        "cron 0 1 * dec 5L for 1 h",
    ],
    &[
        "rrule DTSTART=20261206T020030;FREQ=WEEKLY;COUNT=2 for 4 h",
        "rrule DTSTART=20261206;FREQ=WEEKLY;COUNT=2;BYHOUR=2 for 4 h",
    ],
    &[
        "sun 02:00-06:00 Asia/Jakarta",
        "Sunday 2:00 - 6:00 Asia/Jakarta",
        "sun 02:00 for 4 h Asia/Jakarta",
        "cron 0 2 * * 0 for 4 h Asia/Jakarta",
        "cron 0 2 * * 7 for 4h Asia/Jakarta",
        "cron 0 2 ? * SUN for 3 h 60 min Asia/Jakarta",
        "rrule FREQ=WEEKLY;BYDAY=SU;BYHOUR=2;BYMINUTE=0 for 4 h Asia/Jakarta",
    ],
    &[
        "first sun 00:00-04:00 Asia/Jakarta",
        "first sun of month 00:00 for 4 h Asia/Jakarta",
        "cron 0 0 * * sun#1 for 4 h Asia/Jakarta",
        "rrule FREQ=MONTHLY;BYDAY=1SU;BYHOUR=0;BYMINUTE=0 for 4 h Asia/Jakarta",
        "rrule FREQ=MONTHLY;BYDAY=SU;BYMONTHDAY=1,2,3,4,5,6,7;BYHOUR=0 for 4 h Asia/Jakarta",
    ],
    &[
        "last sat of quarter 22:00-02:00 Asia/Jakarta",
        "last sat of mar,jun,sep,dec 22:00-02:00 Asia/Jakarta",
        "cron 0 22 * mar,jun,9,12 6L for 4 h Asia/Jakarta",
        "rrule FREQ=YEARLY;BYMONTH=3,6,9,12;BYDAY=-1SA;BYHOUR=22 for 4 h Asia/Jakarta",
        "rrule DTSTART=20250329T220000;FREQ=MONTHLY;INTERVAL=3;BYDAY=-1SA for 4 h Asia/Jakarta",
    ],
    &[
        "mon-fri 08:00-17:00",
        "mon,tue-thu,fri 08:00-17:00",
        "mon, tue, wed, thu, fri 08:00-17:00",
        "cron 0 8-16 * * 1-5 for 1 h",
    ],
    &[
        "day 1 00:00-02:00",
        "first day of month 00:00-02:00",
        "cron 0 0 1 * * for 2 h",
        "rrule FREQ=MONTHLY;BYMONTHDAY=1;BYHOUR=0 for 2 h",
    ],
    &[
        "day last 23:00-24:00",
        "last day 23:00 for 1 h",
        "cron 0 23 L * * for 1 h",
        "rrule FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=23 for 1 h",
    ],
    &[
        "first day of quarter 01:00-02:00",
        "day 1 of jan,apr,jul,oct 01:00-02:00",
        "cron 0 1 1 */3 * for 1 h",
    ],
    &[
        "sat-mon 01:00-02:00",
        "sat,sun,mon 01:00-02:00",
        "cron 0 1 * * sat,sun,mon for 1 h",
    ],
    &[
        "2026-12-01 22:00 - 2026-12-02 02:00 Asia/Jakarta",
        "2026-12-01 22:00 for 4 h Asia/Jakarta",
        "2026-12-01 22:00-02:00 Asia/Jakarta",
        "rrule DTSTART=20261201T220000;FREQ=DAILY;COUNT=1 for 4 h Asia/Jakarta",
    ],
    &[
        "rrule DTSTART=20261206T020000;FREQ=WEEKLY;INTERVAL=2;COUNT=3 for 4 h Asia/Jakarta",
        "rrule DTSTART=20261206T020000;FREQ=WEEKLY;INTERVAL=2;UNTIL=20270103 for 4 h Asia/Jakarta",
        "rrule DTSTART=20261206T020000;FREQ=DAILY;INTERVAL=14;UNTIL=20270102T190000Z for 4 h Asia/Jakarta",
    ],
];

#[test]
fn forms_that_mean_the_same() {
    let (from, to) = ("2026-01-01T00:00:00Z", "2028-01-01T00:00:00Z");
    for same in SAME {
        let first = times(same[0], from, to);
        assert!(!first.is_empty(), "{}", same[0]);
        for other in &same[1..] {
            assert_eq!(times(other, from, to), first, "{other}");
        }
    }
}

#[test]
fn cron_takes_either_day_when_both_are_named() {
    assert_eq!(
        times(
            "cron 0 2 13 * fri for 1 h",
            "2026-11-10T00:00:00Z",
            "2026-11-21T00:00:00Z"
        ),
        ["11-13 02:00 to 11-13 03:00", "11-20 02:00 to 11-20 03:00"]
    );
    assert_eq!(
        times(
            "cron 0 2 13,14 * fri for 1 h",
            "2026-11-10T00:00:00Z",
            "2026-11-19T00:00:00Z"
        ),
        ["11-13 02:00 to 11-13 03:00", "11-14 02:00 to 11-14 03:00"]
    );
}

#[test]
fn a_night_belongs_to_the_day_that_it_begins() {
    let (from, to) = ("2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z");
    assert_eq!(
        times("mon,wed 22:00-02:00", from, to),
        ["11-23 22:00 to 11-24 02:00", "11-25 22:00 to 11-26 02:00"]
    );
    // Days that touch are one.
    assert_eq!(
        times("sat,sun 00:00-24:00", from, to),
        ["11-28 00:00 to 11-30 00:00"]
    );
}

#[test]
fn clocks_that_jump() {
    let (from, to) = ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
    for (text, begin, end, note) in [
        (
            "daily 02:30-04:00 Europe/Berlin",
            "2026-03-29T01:00:00Z",
            "2026-03-29T02:00:00Z",
            "02:30 on 2026-03-29 is left out in Europe/Berlin: 03:00 counts",
        ),
        (
            "daily 01:30-02:30 Europe/Berlin",
            "2026-03-29T00:30:00Z",
            "2026-03-29T01:00:00Z",
            "02:30 on 2026-03-29 is left out in Europe/Berlin: 03:00 counts",
        ),
        // All of it is left out: it takes place after.
        (
            "daily 02:10-02:50 Europe/Berlin",
            "2026-03-29T01:00:00Z",
            "2026-03-29T01:40:00Z",
            "02:10 on 2026-03-29 is left out in Europe/Berlin: 03:00 counts; \
             02:50 on 2026-03-29 is left out in Europe/Berlin: 03:00 counts",
        ),
        // Elapsed time, not the clock.
        (
            "daily 01:30 for 2 h Europe/Berlin",
            "2026-03-29T00:30:00Z",
            "2026-03-29T02:30:00Z",
            "",
        ),
    ] {
        let found = Schedule::parse(text).unwrap().between(at(from), at(to), 9);
        let expected = Occurrence {
            from: at(begin),
            to: at(end),
            note: (!note.is_empty()).then(|| note.to_owned()),
        };
        assert_eq!(found, [expected], "{text}");
    }
    let twice = Schedule::parse("sun 02:30-03:30 Europe/Berlin").unwrap();
    let found = twice.open(at("2026-10-25T00:45:00Z")).unwrap();
    assert_eq!(
        (found.from, found.to),
        (at("2026-10-25T00:30:00Z"), at("2026-10-25T02:30:00Z"))
    );
    assert_eq!(
        found.note.as_deref(),
        Some("02:30 on 2026-10-25 comes twice in Europe/Berlin: the earlier one counts")
    );
}

#[test]
fn what_is_never_off() {
    for text in [
        "daily 00:00-24:00 Europe/Berlin",
        "sun-sat 00:00-24:00",
        "cron 0 * * * * for 1 h",
        "daily 06:00 for 30 h Asia/Kathmandu",
    ] {
        let schedule = Schedule::parse(text).unwrap();
        let now = at("2026-11-21T18:00:00Z");
        assert!(schedule.always(), "{text}");
        assert!(
            schedule
                .open(now)
                .is_some_and(|day| day.from <= now && now < day.to)
        );
        assert_eq!(schedule.next_change(now), None);
    }
    // A day of 25 hours has an hour that is not covered.
    let berlin = Schedule::parse("daily 00:00 for 24 h Europe/Berlin").unwrap();
    assert!(!berlin.always());
    assert!(berlin.open(at("2026-10-25T22:30:00Z")).is_none());
}

#[test]
fn months_without_a_break_are_one_time() {
    let schedule = Schedule::parse("cron 0 */6 * feb-nov * for 6 h").unwrap();
    let now = at("2026-08-10T00:00:00Z");
    let open = schedule.open(now).unwrap();
    assert_eq!(
        (open.from, open.to),
        (at("2026-02-01T00:00:00Z"), at("2026-12-01T00:00:00Z"))
    );
    assert_eq!(schedule.next_change(now), Some(open.to));
    assert_eq!(
        schedule.next_change(open.to),
        Some(at("2027-02-01T00:00:00Z"))
    );
}

#[test]
fn what_is_over_does_not_come_again() {
    let now = at("2027-06-01T00:00:00Z");
    for text in [
        "2026-12-01 22:00 for 2 h",
        "rrule DTSTART=20261206;FREQ=DAILY;COUNT=9 for 1 h",
    ] {
        let schedule = Schedule::parse(text).unwrap();
        assert_eq!(schedule.open(now), None);
        assert_eq!(schedule.next_change(now), None, "{text}");
        assert!(schedule.next_change(at("2026-12-01T00:00:00Z")).is_some());
    }
    let leap = Schedule::parse("cron 0 0 29 2 * for 1 h").unwrap();
    assert_eq!(leap.next_change(now), Some(at("2028-02-29T00:00:00Z")));
}

/// What is wrong, and what is said about it.
const MISTAKES: &[(&str, &str)] = &[
    ("", "it is empty"),
    ("sunn 02:00-06:00", "\"sunn\" is no day"),
    ("sun", "it does not say from when to when"),
    (
        "sun 25:00-26:00",
        "\"25:00-26:00\" does not say from when to when",
    ),
    ("sun 02:00-02:00", "a whole day is 00:00-24:00"),
    (
        "sun 02:00-06:00 Asia/Jakata",
        "time zone \"Asia/Jakata\" is not in",
    ),
    ("sun 02:00-06:00 UTC now", "\"now\" is too much"),
    ("sun 02:00 for 4 GB", "\"4GB\" is no length of time"),
    ("sun 02:00 for 40 d", "lasts less than 31 days"),
    ("sun 02:00 for 0 h", "for how long"),
    (
        "first sunday of febuary 02:00-03:00",
        "\"febuary\" is no month",
    ),
    ("day 32 02:00-03:00", "\"32\" is no day of a month"),
    ("day 31 of feb 02:00-03:00", "it is never on"),
    ("fifth sun of feb,ma 02:00-03:00", "\"ma\" is no month"),
    (
        "2026-12-01 22:00 - 2026-12-01 21:00",
        "it ends before it begins",
    ),
    ("2026-12-01", "\"\" is no date and time"),
    ("now for 2 h", "\"now\" has a meaning only where it is said"),
    ("cron 0 2 * * for 4 h", "cron has five fields"),
    ("cron 60 2 * * * for 4 h", "\"60\" is no minute of cron"),
    ("cron 0 2 31 feb * for 4 h", "it is never on"),
    (
        "cron 0 2 * * fri-mon for 4 h",
        "\"fri-mon\" is no weekday of cron",
    ),
    (
        "cron 0 2 15w * * for 4 h",
        "\"15w\" is no day of the month of cron",
    ),
    ("cron 0 2 * * sun#6 for 4 h", "after # comes 1 to 5"),
    ("cron */5 * * * * for 1 min", "more than 48 times a day"),
    ("cron 0 2 * * 0", "it does not say for how long"),
    ("rrule BYDAY=SU;BYHOUR=2 for 4 h", "does not say FREQ"),
    ("rrule FREQ=HOURLY;BYHOUR=2 for 4 h", "not \"HOURLY\""),
    (
        "rrule FREQ=MONTHLY;BYSETPOS=1;BYDAY=SU;BYHOUR=2 for 4 h",
        "\"BYSETPOS\" of a rule is not supported",
    ),
    (
        "rrule FREQ=WEEKLY;BYDAY=1SU;BYHOUR=2 for 4 h",
        "BYDAY with a number",
    ),
    (
        "rrule FREQ=WEEKLY;INTERVAL=2;BYDAY=SU;BYHOUR=2 for 4 h",
        "need a first day to count from",
    ),
    (
        "rrule FREQ=WEEKLY;BYDAY=SU for 4 h",
        "neither BYHOUR nor DTSTART",
    ),
    (
        "rrule FREQ=WEEKLY;BYDAY=XX;BYHOUR=1 for 4 h",
        "\"XX\" is no BYDAY",
    ),
    (
        "rrule DTSTART=20260101;FREQ=DAILY;UNTIL=20300101 for 25 h",
        "write one span",
    ),
];

#[test]
fn mistakes_are_told_with_an_example() {
    for (text, said) in MISTAKES {
        let error = Schedule::parse(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
        assert!(
            error.contains('`') || error.contains("it is never on"),
            "no example: {error}"
        );
    }
}

#[test]
fn now_is_replaced_by_the_time() {
    let now = at("2026-12-01T15:00:07Z");
    let jakarta = TimeZone::get("Asia/Jakarta").unwrap();
    for (text, zone, expected) in [
        (
            "now for 2 h",
            &TimeZone::UTC,
            "2026-12-01 15:00:07 for 2 h UTC",
        ),
        (
            "now for 2 h",
            &jakarta,
            "2026-12-01 22:00:07 for 2 h Asia/Jakarta",
        ),
        (
            "now for 2 h Asia/Jakarta",
            &TimeZone::UTC,
            "2026-12-01 22:00:07 for 2 h Asia/Jakarta",
        ),
        ("sun 02:00-06:00", &jakarta, "sun 02:00-06:00"),
    ] {
        let anchored = Schedule::anchor(text, now, zone).unwrap();
        assert_eq!(anchored, expected);
        if text.starts_with("now") {
            let open = Schedule::parse(&anchored).unwrap().open(now).unwrap();
            assert_eq!((open.from, open.to), (now, at("2026-12-01T17:00:07Z")));
        }
    }
    assert!(Schedule::anchor("now for ever", now, &TimeZone::UTC).is_err());
}

/// All minutes of a span and what the clock of a zone shows in them: the slow truth.
struct Minutes {
    first: Timestamp,
    shown: Vec<DateTime>,
}

impl Minutes {
    fn new(zone: &TimeZone, first: Timestamp, days: usize) -> Minutes {
        let shown = (0..days * 1440)
            .map(|minute| zone.to_datetime(first + SignedDuration::from_mins(minute as i64)))
            .collect();
        Minutes { first, shown }
    }

    /// Returns the first minute at which the clock has reached a time.
    fn reached(&self, time: DateTime) -> usize {
        self.shown
            .iter()
            .position(|shown| *shown >= time)
            .unwrap_or(self.shown.len())
    }

    fn at(&self, minute: usize) -> Timestamp {
        self.first + SignedDuration::from_mins(minute as i64)
    }
}

#[derive(Clone, Debug)]
struct Plan {
    zone: &'static str,
    /// Sunday in bit 0.
    weekdays: u8,
    begin: u32,
    end: u32,
    elapsed: Option<u32>,
    /// Which change of the clocks is looked at, if the zone has any.
    change: usize,
}

fn plan() -> impl Strategy<Value = Plan> {
    let quarter = 0..96_u32;
    let elapsed = prop_oneof![Just(None), (1..200_u32).prop_map(|n| Some(n * 15))];
    (
        0..5_usize,
        1..128_u8,
        quarter.clone(),
        quarter,
        elapsed,
        0..4_usize,
    )
        .prop_map(|(zone, weekdays, begin, end, elapsed, change)| Plan {
            zone: ZONES[zone],
            weekdays,
            begin: begin * 15,
            // Equal ends are refused.
            end: if end == begin {
                (end + 1) % 96 * 15
            } else {
                end * 15
            },
            elapsed,
            change,
        })
}

impl Plan {
    fn text(&self) -> String {
        let names = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
        let days: Vec<&str> = (0..7)
            .filter(|day| self.weekdays & (1 << day) != 0)
            .map(|day| names[day])
            .collect();
        let show = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let length = match self.elapsed {
            Some(minutes) => format!(" for {minutes} min"),
            None => format!("-{}", show(self.end)),
        };
        format!(
            "{} {}{length} {}",
            days.join(","),
            show(self.begin),
            self.zone
        )
    }

    /// Says for each minute whether it is on.
    fn truth(&self, minutes: &Minutes) -> Vec<bool> {
        let mut on = vec![false; minutes.shown.len()];
        let first = minutes.shown[0].date();
        let last = minutes.shown[minutes.shown.len() - 1].date();
        let clock =
            |date: Date, minute: u32| date.at((minute / 60) as i8, (minute % 60) as i8, 0, 0);
        for date in first.series(1.day()).take_while(|date| *date <= last) {
            if self.weekdays & (1 << date.weekday().to_sunday_zero_offset()) == 0 {
                continue;
            }
            let from = minutes.reached(clock(date, self.begin));
            let length = (self.end + 1440 - self.begin) % 1440;
            let to = match self.elapsed {
                Some(elapsed) => from + elapsed as usize,
                None if self.end > self.begin => minutes.reached(clock(date, self.end)),
                None => minutes.reached(clock(date.tomorrow().unwrap(), self.end)),
            };
            let to = if to == from {
                from + length as usize
            } else {
                to
            };
            for minute in from..to.min(on.len()) {
                on[minute] = true;
            }
        }
        on
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn it_is_on_when_the_clock_on_the_wall_says_so(plan in plan()) {
        let zone = TimeZone::get(plan.zone).unwrap();
        let origin = date(2026, 1, 1).at(0, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp();
        let change = zone
            .following(origin)
            .nth(plan.change)
            .map(|change| change.timestamp())
            // Tables of zones end with an entry that changes nothing.
            .filter(|change| *change < at("2030-01-01T00:00:00Z"))
            .unwrap_or(origin);
        // What began before the span is looked at only from the fourth day on.
        let minutes = Minutes::new(&zone, change - SignedDuration::from_hours(24 * 6), 10);
        let truth = plan.truth(&minutes);
        let schedule = Schedule::parse(&plan.text()).unwrap();
        let (from, to) = (3 * 1440, 9 * 1440);
        let times = schedule.between(minutes.at(from), minutes.at(to), 1000);
        for pair in times.windows(2) {
            prop_assert!(pair[0].to < pair[1].from, "{}: {pair:?}", plan.text());
        }
        let mut changes = BTreeMap::new();
        for minute in from..to {
            let now = minutes.at(minute);
            let within = times.iter().any(|time| time.from <= now && now < time.to);
            prop_assert_eq!(within, truth[minute], "{} at {}", plan.text(), now);
            if minute > from && truth[minute] != truth[minute - 1] {
                changes.insert(minute, now);
            }
        }
        for minute in (from..to).step_by(97) {
            let now = minutes.at(minute);
            let open = schedule.open(now);
            prop_assert_eq!(open.is_some(), truth[minute], "{} at {}", plan.text(), now);
            if let Some((_, next)) = changes.range(minute + 1..).next() {
                prop_assert_eq!(schedule.next_change(now), Some(*next), "{} at {}", plan.text(), now);
            }
            if let Some(open) = open.filter(|_| !schedule.always()) {
                prop_assert!(times.contains(&open), "{}: {open:?}", plan.text());
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(cron|rrule|day|first|2026-12-01|sun)? ?[0-9a-zA-Z*/,#:=; -]{0,40}( for 2 h)?") {
        let _ = Schedule::parse(&text);
    }
}
