//! Which alerts are told to whom: the first route that matches, and those after it where it goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use pawang_core::Timestamp;

use crate::matcher::Matchers;
use crate::setup::Setup;
use pawang_config::schedule::Schedule;

/// A route made ready.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name; `default` for the one that is there when the configuration has none.
    pub name: String,
    /// Which alerts.
    pub matchers: Matchers,
    /// Who is told, when there is no ladder.
    pub notify: Vec<String>,
    /// The ladder.
    pub policy: Option<String>,
    /// When it counts.
    pub hours: Option<Schedule>,
    /// Whether the next routes are asked too.
    pub goes_on: bool,
    /// Labels by whose values alerts are told together.
    pub group_by: Vec<String>,
    /// See `[alert]`.
    pub group_wait: Duration,
    /// See `[alert]`.
    pub group_interval: Duration,
    /// See `[alert]`.
    pub repeat_interval: Duration,
}

/// Returns the routes of an alert with these labels at a time, by their place in [`Setup::routes`].
pub fn routes_of(setup: &Setup, labels: &BTreeMap<String, String>, now: Timestamp) -> Vec<usize> {
    let mut found = Vec::new();
    for (index, route) in setup.routes.iter().enumerate() {
        let open = |hours: &Schedule| hours.open(now).is_some();
        if route.matchers.hold(labels) && route.hours.as_ref().is_none_or(open) {
            found.push(index);
            if !route.goes_on {
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = r#"
        [[alert.channel]]
        name = "ops"
        exec.command = ["true"]
        [[alert.route]]
        name = "audit"
        match = ['check="superusers"']
        notify = ["ops"]
        continue = true
        [[alert.route]]
        name = "office"
        match = ['priority=~"P[34]"']
        notify = ["ops"]
        hours = "mon-fri 08:00-17:00 Asia/Jakarta"
        [[alert.route]]
        name = "night"
        match = ['priority=~"P[34]"', 'instance=~"dwh-.*"']
        notify = ["ops"]
        repeat_interval = "1 d"
        [[alert.route]]
        name = "urgent"
        match = ['priority=~"P[12]"']
        notify = ["ops"]
    "#;

    fn setup(text: &str) -> Setup {
        let config = pawang_config::parse(text, "pawang.toml").expect("the file is right");
        Setup::compile(&config).expect("so is what it says")
    }

    #[test]
    fn the_first_that_matches_counts_and_goes_on_where_it_says_so() {
        let setup = setup(ROUTES);
        let check = |labels: &[(&str, &str)], at: &str, expected: &[&str]| {
            let labels = labels.iter();
            let labels = labels.map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
            let found = routes_of(&setup, &labels.collect(), at.parse().expect("a time"));
            let names = found.iter().map(|index| setup.routes[*index].name.as_str());
            assert_eq!(names.collect::<Vec<_>>(), expected, "{at}");
        };
        // A Monday: 10:00 and 19:00 in Jakarta.
        let (day, night) = ("2026-01-05T03:00:00Z", "2026-01-05T12:00:00Z");
        let p3 = [("priority", "P3"), ("instance", "dwh-1")];
        check(&p3, day, &["office"]);
        check(&p3, night, &["night"]);
        check(&[("priority", "P3")], night, &[]);
        check(&[("priority", "P1")], night, &["urgent"]);
        let both = [("priority", "P1"), ("check", "superusers")];
        check(&both, day, &["audit", "urgent"]);
    }

    #[test]
    fn routes_without_numbers_of_their_own_take_those_of_all() {
        let setup = setup(ROUTES);
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let repeats: Vec<Duration> = setup.routes.iter().map(|r| r.repeat_interval).collect();
        assert_eq!(repeats, [hours(4), hours(4), hours(24), hours(4)]);
        assert_eq!(setup.routes[0].group_by, ["instance"]);
    }

    #[test]
    fn without_routes_everything_goes_to_every_channel_that_leads_somewhere() {
        let names = |text: &str| {
            let setup = setup(text);
            assert_eq!(
                routes_of(&setup, &BTreeMap::new(), Timestamp::UNIX_EPOCH),
                [0]
            );
            assert_eq!(setup.routes[0].name, "default");
            setup.routes[0].notify.clone()
        };
        assert_eq!(names(""), [""; 0]);
        let mail = "alert.channel = [{name = 'mail', smtp = {server = 'localhost', from = 'a@b'}}, {name = 'log', syslog = {}}]";
        assert_eq!(names(mail), ["log"]);
        let person = "\nalert.contact = [{name = 'ayu', channels = {mail = 'ayu@b'}}]";
        let only_mail = mail.replace(", {name = 'log', syslog = {}}", "");
        assert_eq!(names(&format!("{only_mail}{person}")), ["ayu"]);
    }
}
