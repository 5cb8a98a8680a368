//! The configuration made ready: every text parsed, every name looked up.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::tz::TimeZone;
use pawang_config::{AlertConfig, Config, RouteConfig, StepConfig, matches};
use pawang_core::Timestamp;
use pawang_core::alert::Window;

use crate::inhibit::{self, Inhibit};
use crate::matcher::Matchers;
use crate::rota::Rota;
use crate::route::Route;
use crate::rule::RuleSet;
use crate::window::Ready;
use pawang_config::schedule::Schedule;

pub use pawang_config::Mistake;

/// The configuration made ready.
#[derive(Clone, Debug)]
pub struct Setup {
    /// As it was written.
    pub config: Arc<AlertConfig>,
    /// When a finding becomes an alert.
    pub rules: RuleSet,
    /// Which alerts are told to whom; never empty: without any in the configuration there is `default`.
    pub routes: Vec<Route>,
    /// Who is on duty when.
    pub rotas: Vec<Rota>,
    /// Which alerts explain others: built in, then those of the configuration.
    pub inhibits: Vec<Inhibit>,
    /// Windows of the configuration.
    pub windows: Vec<Ready>,
    /// Times in which the warehouse is busy by design; name, matchers and schedule.
    pub batches: Vec<Ready>,
    /// Hours of each step of each policy: `[policy][step]`.
    pub step_hours: Vec<Vec<Option<Schedule>>>,
    /// Which alerts mean trouble for each service of the status page.
    pub services: Vec<Matchers>,
    /// The instances that are named; none when it is not the configuration that says which there are.
    pub instances: BTreeSet<String>,
    /// Whether an instance belongs to production though it has no group: no instance has one.
    pub all_production: bool,
    /// The time zone of schedules that name none.
    pub zone: TimeZone,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup::compile(&Config::default()).expect("what is built in has no mistakes")
    }
}

impl Setup {
    /// Makes the configuration ready; schedules without a time zone are in UTC.
    ///
    /// # Errors
    /// Every mistake: names that lead nowhere, schedules and matchers that cannot be read, circles.
    pub fn compile(config: &Config) -> Result<Setup, Vec<Mistake>> {
        Setup::compile_in(config, &TimeZone::UTC)
    }

    /// Makes the configuration ready; schedules without a time zone are in `zone`.
    ///
    /// # Errors
    /// As [`Setup::compile`].
    pub fn compile_in(config: &Config, zone: &TimeZone) -> Result<Setup, Vec<Mistake>> {
        let alert = &config.alert;
        let mut reader = Reader {
            mistakes: alert.mistakes(),
            zone,
        };
        let rules = RuleSet::new(&alert.rules).unwrap_or_else(|wrong| {
            for (index, key, message, expected) in wrong {
                let path = format!("alert.rule[{index}].{key}");
                reader.mistakes.push(Mistake::new(path, message, expected));
            }
            RuleSet::default()
        });
        let setup = Setup {
            config: Arc::new(alert.clone()),
            rules,
            routes: reader.routes(alert),
            rotas: reader.rotas(alert),
            inhibits: reader.inhibits(alert),
            windows: reader.windows(alert),
            batches: reader.batches(alert),
            step_hours: reader.step_hours(alert),
            services: reader.services(alert),
            instances: config.instances.iter().map(|i| i.name.clone()).collect(),
            all_production: config.instances.iter().all(|i| i.group.is_none()),
            zone: zone.clone(),
        };
        if reader.mistakes.is_empty() {
            Ok(setup)
        } else {
            Err(reader.mistakes)
        }
    }

    /// Says whether people wait for instances of a group.
    pub fn production(&self, group: Option<&str>) -> bool {
        let patterns = &self.config.production;
        let one_of = |group| patterns.iter().any(|pattern| matches(pattern, group));
        self.all_production || group.is_some_and(one_of)
    }
}

/// Reads the texts of a configuration, and goes on after a mistake.
struct Reader<'a> {
    mistakes: Vec<Mistake>,
    zone: &'a TimeZone,
}

impl Reader<'_> {
    fn matchers(&mut self, path: &str, texts: &[String]) -> Matchers {
        Matchers::read(texts).unwrap_or_else(|(index, error)| {
            let text = texts.get(index).map_or("", String::as_str).escape_debug();
            let message = format!("matcher \"{text}\": {error}");
            let expected =
                "expected a text such as 'check=\"disk-space\"' or 'instance=~\"dwh-.*\"'";
            self.mistakes
                .push(Mistake::new(format!("{path}[{index}]"), message, expected));
            Matchers::default()
        })
    }

    fn schedule(&mut self, path: String, text: &str) -> Option<Schedule> {
        let schedule = Schedule::parse_in(text, self.zone).map_err(|error| {
            let message = format!("schedule \"{}\": {error}", text.escape_debug());
            self.mistakes.push(Mistake::new(path, message, ""));
        });
        schedule.ok()
    }

    fn hours(&mut self, path: String, text: Option<&String>) -> Option<Schedule> {
        self.schedule(path, text?)
    }

    fn routes(&mut self, alert: &AlertConfig) -> Vec<Route> {
        if alert.routes.is_empty() {
            return vec![default_route(alert)];
        }
        let routes = alert.routes.iter().enumerate();
        let routes = routes.map(|(index, config)| {
            let path = format!("alert.route[{index}]");
            Route {
                matchers: self.matchers(&format!("{path}.match"), &config.matchers),
                hours: self.hours(format!("{path}.hours"), config.hours.as_ref()),
                ..plain_route(alert, config)
            }
        });
        routes.collect()
    }

    fn rotas(&mut self, alert: &AlertConfig) -> Vec<Rota> {
        let mut rotas = Vec::new();
        for (index, config) in alert.rotas.iter().enumerate() {
            match Rota::new(config, self.zone) {
                Ok(rota) => rotas.push(rota),
                Err(wrong) => {
                    for (key, message, expected) in wrong {
                        let path = format!("alert.rota[{index}].{key}");
                        self.mistakes.push(Mistake::new(path, message, expected));
                    }
                }
            }
        }
        rotas
    }

    fn inhibits(&mut self, alert: &AlertConfig) -> Vec<Inhibit> {
        let mut inhibits = inhibit::built_in();
        for (index, config) in alert.inhibits.iter().enumerate() {
            let path = format!("alert.inhibit[{index}]");
            let inhibit = Inhibit {
                name: config.name.clone(),
                source: self.matchers(&format!("{path}.source"), &config.source),
                target: self.matchers(&format!("{path}.target"), &config.target),
                equal: config.equal.clone(),
                spares_worse: false,
            };
            if inhibit.source.matchers.is_empty() {
                let message = "every alert would explain others".to_owned();
                let expected = "expected at least one matcher";
                self.mistakes
                    .push(Mistake::new(format!("{path}.source"), message, expected));
            }
            inhibits.push(inhibit);
        }
        inhibits
    }

    fn windows(&mut self, alert: &AlertConfig) -> Vec<Ready> {
        let windows = alert.windows.iter().enumerate();
        let windows = windows.filter_map(|(index, config)| {
            let path = format!("alert.window[{index}]");
            let reason = config.reason.clone().unwrap_or_default();
            let ready = self.ready(
                &path,
                &config.name,
                &config.schedule,
                &config.matchers,
                reason,
            )?;
            if ready.schedule.always() {
                self.mistakes.push(Mistake::new(
                    format!("{path}.schedule"),
                    "the window never closes",
                    "expected times between which alerts are told",
                ));
            }
            Some(ready)
        });
        windows.collect()
    }

    fn batches(&mut self, alert: &AlertConfig) -> Vec<Ready> {
        let batches = alert.batches.iter().enumerate();
        let batches = batches.filter_map(|(index, config)| {
            let path = format!("alert.batch[{index}]");
            let reason = String::new();
            self.ready(
                &path,
                &config.name,
                &config.schedule,
                &config.matchers,
                reason,
            )
        });
        batches.collect()
    }

    fn ready(
        &mut self,
        path: &str,
        name: &str,
        schedule: &str,
        matchers: &[String],
        reason: String,
    ) -> Option<Ready> {
        let ready = self.matchers(&format!("{path}.match"), matchers);
        let window = Window {
            name: name.to_owned(),
            schedule: schedule.to_owned(),
            matchers: ready.matchers.clone(),
            by: "pawang.toml".to_owned(),
            reason,
            created_at: Timestamp::MIN,
            removed_at: None,
        };
        Some(Ready {
            schedule: self.schedule(format!("{path}.schedule"), schedule)?,
            matchers: ready,
            window,
        })
    }

    fn step_hours(&mut self, alert: &AlertConfig) -> Vec<Vec<Option<Schedule>>> {
        let policies = alert.policies.iter().enumerate();
        let policies = policies.map(|(policy, config)| {
            let steps = config.steps.iter().enumerate();
            let steps = steps.map(|(step, config): (usize, &StepConfig)| {
                let path = format!("alert.policy[{policy}].step[{step}].hours");
                self.hours(path, config.hours.as_ref())
            });
            steps.collect()
        });
        policies.collect()
    }

    fn services(&mut self, alert: &AlertConfig) -> Vec<Matchers> {
        let services = alert.status_page.iter().flat_map(|page| &page.services);
        let services = services.enumerate().map(|(index, service)| {
            let path = format!("alert.status_page.service[{index}].match");
            self.matchers(&path, &service.matchers)
        });
        services.collect()
    }
}

/// Returns a route without what must be parsed.
fn plain_route(alert: &AlertConfig, config: &RouteConfig) -> Route {
    Route {
        name: config.name.clone(),
        matchers: Matchers::default(),
        notify: config.notify.clone(),
        policy: config.policy.clone(),
        hours: None,
        goes_on: config.goes_on,
        group_by: config
            .group_by
            .clone()
            .unwrap_or_else(|| alert.group_by.clone()),
        group_wait: config.group_wait.unwrap_or(alert.group_wait).0,
        group_interval: config.group_interval.unwrap_or(alert.group_interval).0,
        repeat_interval: config.repeat_interval.unwrap_or(alert.repeat_interval).0,
    }
}

/// Returns the route that is there when the configuration has none: to every channel that leads somewhere by itself, or
/// to everybody where none does.
fn default_route(alert: &AlertConfig) -> Route {
    let channels = alert.channels.iter().filter(|channel| channel.has_target());
    let mut notify: Vec<String> = channels.map(|channel| channel.name.clone()).collect();
    if notify.is_empty() {
        notify = alert
            .contacts
            .iter()
            .map(|contact| contact.name.clone())
            .collect();
    }
    let config = RouteConfig {
        name: "default".to_owned(),
        notify,
        ..RouteConfig::default()
    };
    plain_route(alert, &config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(text: &str) -> Result<Setup, String> {
        let config =
            pawang_config::parse(text, "pawang.toml").map_err(|errors| errors.to_string())?;
        Setup::compile(&config).map_err(|mistakes| config.errors(mistakes).to_string())
    }

    #[test]
    fn nothing_written_is_a_whole_setup() {
        let setup = Setup::default();
        assert_eq!(setup.routes.len(), 1);
        assert!(setup.inhibits.len() > 10 && setup.windows.is_empty());
        assert!(setup.production(None) && setup.all_production);
    }

    #[test]
    fn production_is_what_has_such_a_group_or_all_when_nothing_has_one() {
        let setup = compile("instance = [{name = 'a', group = 'prod-eu'}, {name = 'b'}]");
        let setup = setup.expect("it is right");
        assert!(setup.production(Some("prod-eu")) && setup.production(Some("prod")));
        assert!(!setup.production(Some("test")) && !setup.production(None));
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = r#"
[[alert.channel]]
name = "ops"
exec.command = ["true"]

[[alert.contact]]
name = "ayu"
channels = { ops = "" }

[[alert.rota]]
name = "dba"
members = ["ayu"]
starts = "monday"
time_zone = "Asia/Jakatra"
hours = "mon-fry 08:00-17:00"

[[alert.policy]]
name = "ladder"
[[alert.policy.step]]
after = "0 s"
notify = ["dba"]
hours = "sometimes"

[[alert.route]]
name = "all"
match = ["level=critical", "check=~'('"]
policy = "ladder"
hours = "never"

[[alert.inhibit]]
name = "own"
source = []
target = ["check"]

[[alert.rule]]
check = "connections"
samples = "5 of 3"

[[alert.window]]
name = "sunday"
schedule = "sun 25:00-26:00"
match = ["instance=~\"(\""]

[[alert.batch]]
name = "etl"
schedule = ""

[alert.status_page]
title = "Warehouse"
[[alert.status_page.service]]
name = "Reports"
match = ["="]
"#;
        let told = compile(text).expect_err("it is wrong");
        let lines = told
            .lines()
            .filter_map(|line| line.strip_prefix("error: pawang.toml:"));
        let places: Vec<&str> = lines
            .map(|line| line.split(": ").next().unwrap_or(line))
            .collect();
        let expected = [
            "13:10", "14:13", "15:9", "22:9", "26:28", "28:9", "32:10", "33:11", "37:11", "41:12",
            "42:10", "46:12", "52:10",
        ];
        assert_eq!(places, expected, "{told}");
        assert!(
            told.contains("there is no time zone \"Asia/Jakatra\""),
            "{told}"
        );
    }

    #[test]
    fn schedules_without_a_zone_are_in_the_one_that_is_given() {
        let text = "[[alert.window]]\nname = 'sunday'\nschedule = 'daily 02:00-06:00'\n";
        let config = pawang_config::parse(text, "pawang.toml").expect("it is right");
        let jakarta = TimeZone::get("Asia/Jakarta").expect("it is a zone");
        let now = "2026-01-04T20:00:00Z".parse().expect("a time");
        let open = |setup: Result<Setup, Vec<Mistake>>| {
            setup.expect("it is right").windows[0]
                .schedule
                .open(now)
                .is_some()
        };
        assert!(!open(Setup::compile(&config)));
        assert!(open(Setup::compile_in(&config, &jakarta)));
    }
}
