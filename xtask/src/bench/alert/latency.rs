//! How long a message takes: from the sample that proves a fault to the webhook.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::receiver::{Received, Receiver};
use super::{Goal, Part, load};
use crate::bench::http::percentile;
use crate::bench::serve::Daemon;

/// Faults of one round; checks of users are asked once a minute.
const FAULTS: usize = 20;
const ROUNDS: usize = 5;
const ROUND_MAX: Duration = Duration::from_secs(300);

/// Injects faults and takes the times.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    let cluster = load::start(1).await;
    let receiver = Receiver::start()?;
    let folder = cluster.folder("home");
    let url = cluster.url_as("monitor", "postgres");
    let config = load::config(1, receiver.address, "object");
    let daemon = Daemon::with(binary, &folder, &url, 1, &config)?;
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        let (first, last) = ((round - 1) * FAULTS + 1, round * FAULTS);
        let fault = format!("UPDATE level SET value = 9 WHERE object BETWEEN {first} AND {last}");
        cluster.sql("postgres", &fault).await;
        receiver
            .wait(ROUND_MAX, |received| received.len() >= last)
            .await?;
    }
    daemon.process.end()?;
    let mut times: Vec<Duration> = receiver.received().iter().filter_map(delay).collect();
    times.sort();
    if times.len() < FAULTS * ROUNDS {
        return Err(format!("only {} messages tell since when", times.len()));
    }
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
    let max = *times.last().expect("there are many");
    Ok(Part {
        title: "Alerts: from the sample to the message",
        text: format!(
            "{ROUNDS} times {FAULTS} values of a real server become critical; every one is a group of its own, with the \
             default `group_wait`. The time is from the sample that proves it (`startsAt` of the message) to the last byte \
             at the webhook.\n\n\
             | messages | p50 ms | p99 ms | max ms |\n|---:|---:|---:|---:|\n| {} | {:.0} | {:.0} | {:.0} |\n",
            times.len(),
            milliseconds(p50),
            milliseconds(p99),
            milliseconds(max)
        ),
        goals: vec![Goal {
            text: "at the webhook at most 1 s after the sample",
            reached: format!("{:.0} ms", milliseconds(max)),
            met: max <= Duration::from_secs(1),
        }],
    })
}

/// Returns the time from the sample to the message's arrival.
pub(super) fn delay(received: &Received) -> Option<Duration> {
    let since = received.body["alerts"][0]["startsAt"].as_str()?;
    received.at.duration_since(instant(since)?).ok()
}

/// Reads a time of UTC: `2026-11-21T12:00:00.5Z`.
fn instant(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split(':').map(|part| part.parse::<f64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    // Days since 1970, with years that begin in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 306 + 5) / 10 + day
        - 1
        - 719_468;
    let seconds = days as f64 * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second;
    Some(SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(seconds).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0.0)),
            ("2000-02-29T12:00:00.5Z", Some(951_825_600.5)),
            ("2026-11-21T18:24:07Z", Some(1_795_285_447.0)),
            ("yesterday", None),
        ] {
            let read = instant(text).map(|at| {
                let since = at.duration_since(SystemTime::UNIX_EPOCH);
                since.map(|since| since.as_secs_f64()).unwrap_or_default()
            });
            assert_eq!(read, seconds, "{text}");
        }
    }
}
