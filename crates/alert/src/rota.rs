//! Who is on duty: members take turns of whole days; the handover stays at its hour of the clock.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use pawang_config::RotaConfig;
use pawang_core::Timestamp;

use pawang_config::schedule::Schedule;

/// A rota made ready.
#[derive(Clone, Debug)]
pub struct Rota {
    /// Its name.
    pub name: String,
    members: Vec<String>,
    turn_days: i64,
    starts: DateTime,
    zone: TimeZone,
    hours: Option<Schedule>,
    substitutes: Vec<Substitute>,
}

#[derive(Clone, Debug)]
struct Substitute {
    from: Timestamp,
    to: Timestamp,
    contact: Option<String>,
}

/// What is wrong: the key within the rota, the message, what was expected.
pub(crate) type Wrong = (String, String, String);

impl Rota {
    /// Makes a rota ready; `zone` is the one of rotas that name none.
    pub(crate) fn new(config: &RotaConfig, zone: &TimeZone) -> Result<Rota, Vec<Wrong>> {
        let mut wrong = Vec::new();
        let zone = match &config.time_zone {
            None => zone.clone(),
            Some(name) => TimeZone::get(name).unwrap_or_else(|_| {
                let message = format!("there is no time zone \"{}\"", name.escape_debug());
                let expected = "expected a name such as \"Asia/Jakarta\"".to_owned();
                wrong.push(("time_zone".to_owned(), message, expected));
                TimeZone::UTC
            }),
        };
        let mut civil = |key: String, text: &str| -> DateTime {
            read(text).unwrap_or_else(|| {
                let message = format!("\"{}\" is no day and time", text.escape_debug());
                let expected = "expected a text such as \"2026-01-05 09:00\"".to_owned();
                wrong.push((key, message, expected));
                DateTime::default()
            })
        };
        let starts = civil("starts".to_owned(), &config.starts);
        let mut substitutes = Vec::new();
        let mut backwards = Vec::new();
        for (index, substitute) in config.substitutes.iter().enumerate() {
            let key = |key: &str| format!("substitute[{index}].{key}");
            let (from, to) = (
                civil(key("from"), &substitute.from),
                civil(key("to"), &substitute.to),
            );
            if from > to {
                let expected = "expected a time after \"from\"".to_owned();
                backwards.push((key("to"), "it ends before it begins".to_owned(), expected));
            }
            substitutes.push(Substitute {
                from: instant(from, &zone),
                to: instant(to, &zone),
                contact: substitute.contact.clone(),
            });
        }
        wrong.extend(backwards);
        let hours = config
            .hours
            .as_ref()
            .map(|text| Schedule::parse_in(text, &zone));
        let hours = hours.transpose().unwrap_or_else(|error| {
            wrong.push(("hours".to_owned(), error, String::new()));
            None
        });
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Rota {
            name: config.name.clone(),
            members: config.members.clone(),
            turn_days: i64::try_from(config.turn.0.as_secs() / 86_400)
                .unwrap_or(i64::MAX)
                .max(1),
            starts,
            zone,
            hours,
            substitutes,
        })
    }

    /// Returns the contact on duty, if anybody is: whoever stands in, else whose turn it is within the hours.
    pub fn on_duty(&self, now: Timestamp) -> Option<&str> {
        let mut substitutes = self.substitutes.iter().rev();
        if let Some(substitute) = substitutes.find(|s| s.from <= now && now < s.to) {
            return substitute.contact.as_deref();
        }
        if self
            .hours
            .as_ref()
            .is_some_and(|hours| hours.open(now).is_none())
        {
            return None;
        }
        let days = self.day(now)?.since(self.starts.date()).ok()?.get_days();
        let turn = usize::try_from(i64::from(days) / self.turn_days).ok()?;
        if days < 0 || self.members.is_empty() {
            return None;
        }
        Some(&self.members[turn % self.members.len()])
    }

    /// Returns the day whose handover was the last one.
    fn day(&self, now: Timestamp) -> Option<Date> {
        let today = now.to_zoned(self.zone.clone()).date();
        // Where clocks go back over midnight, the date that they show may be that of yesterday once more.
        let days = [today.tomorrow().ok(), Some(today), today.yesterday().ok()];
        let mut days = days.into_iter().flatten();
        days.find(|day| instant(day.to_datetime(self.starts.time()), &self.zone) <= now)
    }
}

/// Reads `2026-01-05 09:00`, also with a `T`, with seconds, or without a time: then the day begins it.
fn read(text: &str) -> Option<DateTime> {
    let (day, time) = text
        .trim()
        .split_once([' ', 'T'])
        .unwrap_or((text.trim(), "00:00"));
    Some(DateTime::from_parts(
        day.parse::<Date>().ok()?,
        time.trim().parse::<Time>().ok()?,
    ))
}

/// Returns when clocks show a time: the first time of two, and the end of the gap for one that they leave out.
fn instant(at: DateTime, zone: &TimeZone) -> Timestamp {
    let found = zone.to_ambiguous_timestamp(at).compatible();
    found.unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use pawang_config::{Period, SubstituteConfig};
    use proptest::prelude::*;

    use super::*;

    fn config(days: u64, starts: &str, zone: &str) -> RotaConfig {
        RotaConfig {
            name: "dba".to_owned(),
            members: ["ayu", "budi", "citra"].map(str::to_owned).to_vec(),
            turn: Period(std::time::Duration::from_secs(days * 86_400)),
            starts: starts.to_owned(),
            time_zone: Some(zone.to_owned()),
            ..RotaConfig::default()
        }
    }

    fn check(rota: &Rota, at: &str, expected: Option<&str>) {
        let now = at.parse().expect("a time");
        assert_eq!(rota.on_duty(now), expected, "{at}");
    }

    #[test]
    fn turns_follow_the_clock_of_the_zone() {
        let rota = Rota::new(
            &config(7, "2026-03-23 09:00", "Europe/Berlin"),
            &TimeZone::UTC,
        );
        let rota = rota.expect("it is right");
        check(&rota, "2026-03-23T07:59:59Z", None);
        check(&rota, "2026-03-23T08:00:00Z", Some("ayu"));
        // Clocks go forward on the 29th: 09:00 is an hour earlier in UTC.
        check(&rota, "2026-03-30T06:59:59Z", Some("ayu"));
        check(&rota, "2026-03-30T07:00:00Z", Some("budi"));
        check(&rota, "2026-04-06T07:00:00Z", Some("citra"));
        check(&rota, "2026-04-13T07:00:00Z", Some("ayu"));
    }

    #[test]
    fn a_handover_in_a_gap_or_a_repeated_hour_happens_once() {
        let daily = |starts: &str, zone: &str| {
            Rota::new(&config(1, starts, zone), &TimeZone::UTC).expect("it is right")
        };
        let rota = daily("2026-03-28 02:30", "Europe/Berlin");
        check(&rota, "2026-03-29T00:59:59Z", Some("ayu"));
        check(&rota, "2026-03-29T01:29:59Z", Some("ayu"));
        check(&rota, "2026-03-29T01:30:00Z", Some("budi"));
        let rota = daily("2026-10-24 02:30", "Europe/Berlin");
        check(&rota, "2026-10-25T00:29:59Z", Some("ayu"));
        check(&rota, "2026-10-25T00:30:00Z", Some("budi"));
        check(&rota, "2026-10-25T01:15:00Z", Some("budi"));
        check(&rota, "2026-10-25T01:45:00Z", Some("budi"));
    }

    #[test]
    fn whoever_stands_in_counts_also_outside_the_hours() {
        let substitute = |from: &str, to: &str, contact: Option<&str>| SubstituteConfig {
            from: from.to_owned(),
            to: to.to_owned(),
            contact: contact.map(str::to_owned),
        };
        let mut config = config(7, "2026-01-05 09:00", "Asia/Jakarta");
        config.hours = Some("mon-fri 08:00-17:00".to_owned());
        config.substitutes = vec![
            substitute("2026-01-06", "2026-01-08", Some("dewi")),
            substitute("2026-01-07 00:00", "2026-01-07T12:00", None),
        ];
        let rota = Rota::new(&config, &TimeZone::UTC).expect("it is right");
        check(&rota, "2026-01-05T03:00:00Z", Some("ayu"));
        check(&rota, "2026-01-05T13:00:00Z", None);
        check(&rota, "2026-01-06T13:00:00Z", Some("dewi"));
        check(&rota, "2026-01-07T03:00:00Z", None);
        check(&rota, "2026-01-07T05:00:00Z", Some("dewi"));
        check(&rota, "2026-01-08T03:00:00Z", Some("ayu"));
    }

    #[test]
    fn every_mistake_is_told() {
        let mut config = config(7, "next monday", "Asia/Jakatra");
        config.hours = Some("mon-fri 08:00-17:00".to_owned());
        config.substitutes = vec![SubstituteConfig {
            from: "2026-02-01".to_owned(),
            to: "2026-01-01".to_owned(),
            contact: None,
        }];
        let wrong = Rota::new(&config, &TimeZone::UTC).expect_err("it is wrong");
        let keys: Vec<&str> = wrong.iter().map(|(key, ..)| key.as_str()).collect();
        assert_eq!(keys, ["time_zone", "starts", "substitute[0].to"]);
    }

    proptest! {
        #[test]
        fn turns_never_go_back(
            minutes in 0_i64..2_000_000,
            days in 1_u64..9,
            time in 0_u8..24,
            zone in prop::sample::select(vec!["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Jakarta"]),
        ) {
            let starts = format!("2004-01-01 {time:02}:00");
            let rota = Rota::new(&config(days, &starts, zone), &TimeZone::UTC).expect("it is right");
            let begin: Timestamp = "2004-06-01T00:00:00Z".parse().expect("a time");
            let at = |minutes: i64| begin + SignedDuration::from_mins(minutes);
            let order = ["ayu", "budi", "citra"];
            let place = |minutes: i64| {
                let who = rota.on_duty(at(minutes)).expect("somebody is always on duty");
                order.iter().position(|name| *name == who).expect("a member")
            };
            let (now, next) = (place(minutes), place(minutes + 1));
            prop_assert!(next == now || next == (now + 1) % 3);
        }
    }
}
