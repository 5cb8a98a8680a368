//! Lays the keys of a `[[alert.rule]]` over a rule.

use pawang_config::{AlertLevel, PriorityName, RuleConfig};
use pawang_core::Level;
use pawang_core::alert::Priority;

use super::Rule;

/// The samples of an alert that are remembered.
const SAMPLES_MAX: u8 = 64;

/// A mistake in one `[[alert.rule]]`: which one from 0, its key, what is wrong, what was expected.
pub type RuleMistake = (usize, &'static str, String, String);

/// Returns every mistake of a rule.
pub(super) fn mistakes(index: usize, config: &RuleConfig) -> Vec<RuleMistake> {
    let mut mistakes = Vec::new();
    let mut tell = |key: &'static str, message: String, expected: &str| {
        mistakes.push((index, key, message, expected.to_owned()));
    };
    let patterns = [
        ("check", Some(&config.check)),
        ("group", config.group.as_ref()),
        ("instance", config.instance.as_ref()),
    ];
    for (key, _) in patterns
        .into_iter()
        .filter(|(_, text)| text.is_some_and(String::is_empty))
    {
        tell(
            key,
            "it matches nothing".to_owned(),
            "a name, or a pattern with *",
        );
    }
    if let Some(Err(message)) = config.samples.as_deref().map(samples) {
        tell("samples", message, "two numbers such as \"3 of 5\"");
    }
    let margin = config.clear_margin_percent;
    if margin.is_some_and(|margin| !(0.0..=100.0).contains(&margin)) {
        tell(
            "clear_margin_percent",
            "it is out of range".to_owned(),
            "a number from 0 to 100",
        );
    }
    if config
        .deviations
        .is_some_and(|deviations| !(1.0..=100.0).contains(&deviations))
    {
        tell(
            "deviations",
            "it is out of range".to_owned(),
            "a number from 1 to 100",
        );
    }
    mistakes
}

/// Reads `3 of 5`.
pub(super) fn samples(text: &str) -> Result<(u8, u8), String> {
    let shown = text.escape_debug();
    let (bad, of) = text
        .split_once("of")
        .ok_or_else(|| format!("\"{shown}\" does not say how many of how many"))?;
    let number = |part: &str| {
        let part = part.trim();
        part.parse::<u8>().map_err(|_| {
            format!(
                "\"{}\" is no whole number from 1 to {SAMPLES_MAX}",
                part.escape_debug()
            )
        })
    };
    let (bad, of) = (number(bad)?, number(of)?);
    if bad == 0 {
        return Err("0 samples would always be enough".to_owned());
    }
    if of > SAMPLES_MAX {
        return Err(format!(
            "only the last {SAMPLES_MAX} samples are remembered, not {of}"
        ));
    }
    if bad > of {
        return Err(format!("{bad} of {of} samples is more than all"));
    }
    Ok((bad, of))
}

/// Lays the keys that are set over a rule; those with a mistake stay as they are.
pub(super) fn lay(rule: &mut Rule, config: &RuleConfig) {
    fn set<T>(place: &mut T, value: Option<T>) {
        if let Some(value) = value {
            *place = value;
        }
    }
    set(&mut rule.enabled, config.enabled);
    set(&mut rule.level, config.level.map(level));
    set(&mut rule.lasts, config.lasts.map(|period| period.0));
    set(
        &mut rule.lasts_critical,
        config.for_critical.map(|period| period.0),
    );
    set(
        &mut rule.samples,
        config
            .samples
            .as_deref()
            .and_then(|text| samples(text).ok()),
    );
    set(
        &mut rule.keep_firing,
        config.keep_firing.map(|period| period.0),
    );
    set(&mut rule.clear, config.clear.map(Some));
    set(&mut rule.clear_margin_percent, config.clear_margin_percent);
    set(&mut rule.no_data, config.no_data);
    set(
        &mut rule.priority,
        config.priority.map(|name| Some(priority(name))),
    );
    set(&mut rule.deviations, config.deviations.map(Some));
    set(&mut rule.expected_in_batch, config.expected_in_batch);
    set(&mut rule.runbook, config.runbook.clone().map(Some));
    // Whoever wants to hear of a warning sooner than the built-in rule says of a critical one wants the critical too.
    if config.lasts.is_some() && config.for_critical.is_none() {
        rule.lasts_critical = rule.lasts_critical.min(rule.lasts);
    }
}

fn level(level: AlertLevel) -> Level {
    match level {
        AlertLevel::Warning => Level::Warning,
        AlertLevel::Critical => Level::Critical,
    }
}

fn priority(name: PriorityName) -> Priority {
    match name {
        PriorityName::P1 => Priority::P1,
        PriorityName::P2 => Priority::P2,
        PriorityName::P3 => Priority::P3,
        PriorityName::P4 => Priority::P4,
    }
}
