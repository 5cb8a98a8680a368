//! Readers and writers beside maintenance, and how long their statements took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pawang_testbed::Cluster;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::super::database::DATABASE;

const READERS: u64 = 2;
const WRITERS: u64 = 2;
/// Each of them rests so long after a statement: a server that is used, not one that is full.
const REST: Duration = Duration::from_millis(5);
/// Who waits longer notices it.
const NOTICED: Duration = Duration::from_millis(100);

/// Readers and writers at work.
pub(super) struct Load {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<Vec<Duration>, String>>>,
}

/// How long the statements of a load took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waits {
    pub(super) statements: usize,
    pub(super) p99: Duration,
    pub(super) longest: Duration,
    /// Statements that took longer than [`NOTICED`].
    pub(super) noticed: usize,
}

impl Load {
    /// Begins to read and to write single rows of random tables of schema `dwh`, each of which has at least so many rows.
    pub(super) async fn start(cluster: &Cluster, tables: u32, rows: u32) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for number in 0..READERS + WRITERS {
            let client = cluster.connect(DATABASE).await;
            let over = Arc::clone(&over);
            clients.push(tokio::spawn(async move {
                let mut seed = number + 1;
                let mut random = |below: u32| {
                    // The generator of Numerical Recipes; its upper half is random enough.
                    seed = seed
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (seed >> 33) % u64::from(below) + 1
                };
                let mut took = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let (table, row) = (random(tables), random(rows));
                    let sql = if number < READERS {
                        format!("SELECT count(note) FROM dwh.t{table} WHERE id BETWEEN {row} AND {row} + 20")
                    } else {
                        format!("UPDATE dwh.t{table} SET unit = unit + 1 WHERE id = {row}")
                    };
                    let begin = Instant::now();
                    let done = client.simple_query(&sql).await;
                    done.map_err(|error| format!("the load failed: {error}"))?;
                    took.push(begin.elapsed());
                    sleep(REST).await;
                }
                Ok(took)
            }));
        }
        Load { over, clients }
    }

    /// Ends it and returns how long its statements took.
    pub(super) async fn end(self) -> Result<Waits, String> {
        self.over.store(true, Ordering::Relaxed);
        let mut took = Vec::new();
        for client in self.clients {
            took.extend(client.await.map_err(|error| error.to_string())??);
        }
        took.sort_unstable();
        Ok(Waits {
            statements: took.len(),
            p99: took.get(took.len() * 99 / 100).copied().unwrap_or_default(),
            longest: took.last().copied().unwrap_or_default(),
            noticed: took.len() - took.partition_point(|took| *took <= NOTICED),
        })
    }
}
