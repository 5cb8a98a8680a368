//! What could not be seen, told once per reason instead of once per check.

use std::collections::BTreeMap;

use pawang_core::{Blind, Evaluation, Finding, Level};

/// Checks that could not see for one and the same reason.
pub(crate) struct Unseen<'a> {
    /// The reason in words.
    pub(crate) sentence: String,
    /// What would help.
    pub(crate) remedy: String,
    /// The checks, each once, in the order of the evaluation.
    pub(crate) checks: Vec<&'a str>,
}

/// Returns the findings that are not `unknown`, worst first.
pub(crate) fn seen(evaluation: &Evaluation) -> Vec<&Finding> {
    evaluation
        .findings()
        .into_iter()
        .filter(|finding| finding.level != Level::Unknown)
        .collect()
}

/// Groups the `unknown` findings by reason; the reason that blinds most checks comes first.
pub(crate) fn unseen(evaluation: &Evaluation) -> Vec<Unseen<'_>> {
    let mut groups: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for finding in evaluation
        .findings()
        .into_iter()
        .filter(|finding| finding.level == Level::Unknown)
    {
        let sentence = match (&finding.blind, &finding.database) {
            (Some(Blind::NoPrivilege { what, .. }), Some(database)) => {
                format!("no privilege in database \"{database}\": {what}")
            }
            _ => finding.title.clone(),
        };
        let checks = groups
            .entry((sentence, finding.remedy.clone()))
            .or_default();
        if !checks.contains(&finding.check.as_str()) {
            checks.push(&finding.check);
        }
    }
    let mut groups: Vec<Unseen<'_>> = groups
        .into_iter()
        .map(|((sentence, remedy), checks)| Unseen {
            sentence,
            remedy,
            checks,
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.checks.len()));
    groups
}

/// Returns where a finding is: instance, database and object.
pub(crate) fn place(evaluation: &Evaluation, finding: &Finding) -> String {
    let mut place = evaluation.instance.name.clone();
    if let Some(database) = &finding.database {
        place = format!("{place}/{database}");
    }
    if !finding.object.is_empty() {
        place = format!("{place} {}", finding.object);
    }
    place
}
