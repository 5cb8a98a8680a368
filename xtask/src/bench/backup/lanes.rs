//! Full backups of a 4 GB cluster over SQL by one, two and four connections, beside the replication protocol.

use std::path::Path;

use super::super::serve::Part;
use super::at_most;
use super::base::{BASE_BACKUP, Contestant, Row, SCALE, base_backup, full, in_turns, table};
use super::stage::{Stage, megabytes};

/// Everybody takes so many full backups, in turns.
const ROUNDS: usize = 3;

/// Measures lanes.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    println!("creating 4 GB");
    let stage = Stage::start(binary, SCALE).await?;
    stage.set_up()?;
    let data = stage.cluster.data_directory();
    let data_mb = megabytes(data)? - megabytes(&data.join("pg_wal"))?;
    let rows = fulls(&stage)?;
    let mut text = format!(
        "{data_mb:.0} MB of pgbench (scale {SCALE}, fillfactor 90), with data checksums, over a Unix socket; Pawang compresses by zstd-1 in two \
         threads and verifies the checksum of every page. Means of {ROUNDS} full backups in turns.\n\n\
         What lanes cost: a backend reads a piece of a file into a value, copies it into a row and sends it in pieces of 8 kB, three times \
         the work of a WAL sender. On two processors that and compressing share both from the second lane on.\n\n"
    );
    table("full backup", &rows, &mut text);
    let [_, protocol, one, _, four] = &rows[..] else {
        return Err("somebody did not take part".to_owned());
    };
    Ok(Part {
        title: "Backups over SQL: one, two and four lanes",
        text,
        goals: vec![
            at_most(
                "four lanes: at most the time of the protocol",
                four.wall() / protocol.wall(),
                1.0,
                "of it",
            ),
            at_most(
                "four lanes: at most the time of one",
                four.wall() / one.wall(),
                1.0,
                "of it",
            ),
            at_most(
                "four lanes: at most 80 MB resident",
                four.peak(),
                80.0,
                "MB",
            ),
        ],
    })
}

fn fulls(stage: &Stage) -> Result<Vec<Row>, String> {
    let contestants: [Contestant<'_>; 5] = [
        ("`pg_basebackup`, nothing compressed", BASE_BACKUP, &|| {
            base_backup(stage)
        }),
        ("`pawang backup create --mode protocol`", "pawang", &|| {
            full(stage, &["protocol"])
        }),
        (
            "`pawang backup create --mode lanes --lanes 1`",
            "pawang",
            &|| full(stage, &["lanes", "--lanes", "1"]),
        ),
        (
            "`pawang backup create --mode lanes --lanes 2`",
            "pawang",
            &|| full(stage, &["lanes", "--lanes", "2"]),
        ),
        ("`pawang backup create --mode lanes`", "pawang", &|| {
            full(stage, &["lanes"])
        }),
    ];
    in_turns(stage, ROUNDS, &contestants)
}
