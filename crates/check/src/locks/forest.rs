//! Who waits for whom as lines of a drawn tree, for whoever shows it.

use std::collections::BTreeMap;

use pawang_core::{Row, Snapshot, WaitGraph};

/// One session of the forest; its victims follow it, one level deeper.
#[derive(Clone, Copy)]
pub struct Branch<'a> {
    /// 0 for those that wait for nobody.
    pub depth: usize,
    /// The backend; 0 stands for prepared transactions.
    pub process: i64,
    /// The session as collector `blocking` saw it; `None` for a blocker that was gone before it was read.
    pub row: Option<Row<'a>>,
    /// How many sessions cannot go on before this one does.
    pub victims: usize,
    /// Whether it waits for one of those that wait for it: a deadlock that the server is about to break.
    pub circle: bool,
}

/// Returns everybody of collector `blocking` who blocks or waits, blockers before their victims, the root with the
/// most victims first; each session once.
pub fn forest(blocking: &Snapshot) -> Vec<Branch<'_>> {
    let mut graph = WaitGraph::default();
    let mut rows = BTreeMap::new();
    for row in blocking.rows() {
        let Some(process) = row.int("pid") else {
            continue;
        };
        rows.insert(process, row);
        let blockers = row.list("blocking_pids").iter();
        for blocker in blockers.filter_map(|text| text.parse::<i64>().ok()) {
            graph.wait(process, blocker);
        }
    }
    let twigs = graph.forest().into_iter();
    twigs
        .map(|twig| Branch {
            depth: twig.depth,
            process: twig.process,
            row: rows.get(&twig.process).copied(),
            victims: twig.victims,
            circle: twig.circle,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use pawang_core::{Column, ColumnKind, Cost, Timestamp, Value};

    use super::*;

    /// Draws `waiter: blockers` pairs as `depth process victims` with `!` for a circle.
    fn check(edges: &[(i64, &[i64])], expected: &[&str]) {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            kind,
            unit: None,
        };
        let list = |pids: &[i64]| Value::List(pids.iter().map(i64::to_string).collect());
        let snapshot = Snapshot {
            collector: "blocking".to_owned(),
            database: None,
            at: Timestamp::UNIX_EPOCH,
            epoch: None,
            cost: Cost::default(),
            columns: [
                column("pid", ColumnKind::Label),
                column("blocking_pids", ColumnKind::Info),
            ]
            .into(),
            rows: edges
                .iter()
                .map(|(pid, blockers)| vec![Value::Int(*pid), list(blockers)])
                .collect(),
        };
        let lines = forest(&snapshot).into_iter().map(|branch| {
            let circle = if branch.circle { "!" } else { "" };
            format!(
                "{} {} {}{circle}",
                branch.depth, branch.process, branch.victims
            )
        });
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn victims_follow_their_blocker_and_a_circle_ends() {
        check(&[], &[]);
        check(
            &[(1, &[]), (2, &[1]), (3, &[2]), (4, &[1])],
            &["0 1 3", "1 2 1", "2 3 0", "1 4 0"],
        );
        check(&[(2, &[9])], &["0 9 1", "1 2 0"]);
        check(
            &[(5, &[6]), (6, &[5]), (7, &[5])],
            &["0 5 2!", "1 6 2!", "1 7 0"],
        );
        check(
            &[(2, &[1]), (4, &[3]), (5, &[3])],
            &["0 3 2", "1 4 0", "1 5 0", "0 1 1", "1 2 0"],
        );
        check(&[(8, &[8])], &["0 8 0!"]);
    }
}
