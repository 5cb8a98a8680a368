//! Random tangles of real sessions that wait for each other, freed by the program itself: who was ended, and who should not have been.

use std::path::Path;
use std::time::{Duration, Instant};

use pawang_testbed::{Cluster, Fate, Setup, Tangle, Version};

use super::{Goal, Part};
use crate::run;

/// So many in which somebody waits; in some nobody does, and there is nothing to free.
const TANGLES: usize = 500;
const TRIED_MAX: u64 = 1_500;
/// What manuals do instead: everybody who has a lock on a relation for which somebody else waits.
const NAIVE: &str = "SELECT DISTINCT b.pid FROM pg_locks AS w JOIN pg_locks AS b ON b.locktype = w.locktype \
    AND b.database IS NOT DISTINCT FROM w.database AND b.relation IS NOT DISTINCT FROM w.relation \
    AND b.transactionid IS NOT DISTINCT FROM w.transactionid AND b.pid <> w.pid WHERE NOT w.granted";

#[derive(Default)]
struct Sum {
    tangles: usize,
    waiting: usize,
    roots: usize,
    freed: usize,
    ended: usize,
    innocent: usize,
    naive_innocent: usize,
    naive_tangles: usize,
    times: Vec<Duration>,
}

/// Measures the kill guard.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    let cluster = Cluster::start(&Setup {
        version: Some(Version(15)),
        settings: &[("max_connections", "200")],
        ..Setup::default()
    })
    .await;
    Tangle::prepare(&cluster).await;
    let folder = cluster.folder("guard");
    let config = format!(
        "state_directory = \"state\"\n[act]\nterminate_sessions_max = 100\n[[instance]]\nname = \"dwh-1\"\nurl = \"{}\"\n",
        cluster.url("postgres")
    );
    std::fs::write(folder.join("pawang.toml"), config)
        .map_err(|error| format!("could not write below {folder:?}: {error}"))?;
    let mut sum = Sum::default();
    for seed in 0..TRIED_MAX {
        one(&cluster, binary, &folder, seed, &mut sum).await?;
        if sum.tangles == TANGLES {
            break;
        }
    }
    sum.times.sort_unstable();
    Ok(part(&sum))
}

async fn one(
    cluster: &Cluster,
    binary: &Path,
    folder: &Path,
    seed: u64,
    sum: &mut Sum,
) -> Result<(), String> {
    let tangle = Tangle::make(cluster, seed).await;
    let (roots, waiting) = (tangle.roots(), tangle.waiting());
    let named = cluster.sql("postgres", NAIVE).await;
    let named: Vec<i32> = named
        .iter()
        .filter_map(|row| row[0].as_ref()?.parse().ok())
        .collect();
    let mut command = run::command(&binary.to_string_lossy());
    command
        .args(["session", "terminate", "--blockers", "--yes", "-q"])
        .current_dir(folder);
    let begin = Instant::now();
    let ended = tokio::task::spawn_blocking(move || command.output());
    let ended = ended.await.map_err(|error| error.to_string())?;
    let took = begin.elapsed();
    let ended = ended.map_err(|error| error.to_string())?;
    // A circle alone has no root: there is nothing to end, and the server breaks it.
    let freed = ended.status.success() || (roots == 0 && ended.status.code() == Some(4));
    if waiting == 0 {
        tangle.fates(cluster).await;
        return Ok(());
    }
    sum.tangles += 1;
    sum.waiting += waiting;
    sum.roots += roots;
    sum.freed += usize::from(freed);
    sum.times.push(took);
    let mut naive = 0;
    for member in tangle.fates(cluster).await {
        let touched = matches!(member.fate, Fate::Cancelled | Fate::Terminated);
        sum.ended += usize::from(touched);
        sum.innocent += usize::from(touched && !member.root);
        naive += usize::from(named.contains(&member.pid) && !member.root);
    }
    sum.naive_innocent += naive;
    sum.naive_tangles += usize::from(naive > 0);
    if !freed {
        println!(
            "tangle {seed} was not freed: {}",
            String::from_utf8_lossy(&ended.stdout)
        );
    }
    Ok(())
}

fn part(sum: &Sum) -> Part {
    let at = |share: f64| {
        let index = (sum.times.len() as f64 * share) as usize;
        sum.times.get(index).map_or(0.0, Duration::as_secs_f64)
    };
    let text = format!(
        "Random tangles of up to 11 real sessions (row locks, table locks, changes of tables with queues behind them, advisory \
         locks; holders idle in a transaction, at work, or idle with a lock of the session), freed by `pawang session terminate --blockers`.\n\n\
         | | |\n|---|---|\n| tangles in which somebody waited | {} |\n| sessions that waited | {} |\n| root blockers | {} |\n\
         | sessions cancelled or terminated | {} |\n| innocent among them | {} |\n| tangles freed | {} |\n\
         | time of one run, median / 95 % / longest | {:.1} s / {:.1} s / {:.1} s |\n\
         | innocent sessions that a join of `pg_locks` with itself names | {} in {} tangles |\n",
        sum.tangles,
        sum.waiting,
        sum.roots,
        sum.ended,
        sum.innocent,
        sum.freed,
        at(0.5),
        at(0.95),
        sum.times.last().map_or(0.0, Duration::as_secs_f64),
        sum.naive_innocent,
        sum.naive_tangles
    );
    let goals = vec![
        Goal {
            text: "no innocent session is cancelled or terminated",
            reached: format!("{} of {}", sum.innocent, sum.ended),
            met: sum.innocent == 0,
        },
        Goal {
            text: "every one of 500 tangles is freed",
            reached: format!("{} of {}", sum.freed, sum.tangles),
            met: sum.freed == sum.tangles && sum.tangles == TANGLES,
        },
    ];
    Part {
        title: "Kill guard",
        text,
        goals,
    }
}
