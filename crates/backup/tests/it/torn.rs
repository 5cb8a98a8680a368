//! A control file that was read while it was written: no backup comes of it, and no restore starts from it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use pawang_backup::restore::{self, MARKER, Target};
use pawang_backup::take::{Progress, Reading, TakeRequest, take};
use pawang_core::{ByteSize, Kind};
use pawang_testbed::versions;

use crate::take::Bed;
use crate::world::{World, all, now};

/// In the middle of what the checksum of the file is of.
const PLACE: u64 = 200;

fn turn_over(file: &File) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, PLACE).unwrap();
    file.write_all_at(&[!byte[0]], PLACE).unwrap();
}

#[tokio::test]
async fn a_torn_control_file_becomes_no_backup() {
    let servers = versions()
        .into_iter()
        .map(|version| (version, Reading::Protocol));
    // The same for all, since the server is not asked.
    let files = versions()
        .into_iter()
        .take(1)
        .map(|version| (version, Reading::Local));
    for (version, reading) in servers.chain(files) {
        let bed = Bed::read_by(version, reading).await;
        let path = bed.cluster.data_directory().join("global/pg_control");
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let slow = TakeRequest {
            rate_max: Some(ByteSize(16 << 20)),
            ..bed.request()
        };
        // The server writes it when a backup begins, and it is sent last.
        let mut torn = false;
        let mut observe = |progress| {
            if matches!(progress, Progress::Came(_)) && !torn {
                turn_over(&control);
                torn = true;
            }
        };
        let report = take(slow, &mut observe).await.unwrap_err().report();
        assert!(torn);
        assert_eq!(report.kind, Kind::Target, "{report}");
        // Newer servers look at it themselves, and say so in their words; what others send is looked at when it came.
        let told = [
            "its checksum is wrong",
            "calculated CRC checksum does not match",
        ];
        let text = report.to_string();
        assert!(told.iter().any(|told| text.contains(told)), "{report}");
        turn_over(&control);
        let commit = bed.take().await;
        let backups = bed.repository.backups(&commit.cluster).await.unwrap();
        assert_eq!(backups, [commit]);
    }
}

#[tokio::test]
async fn a_restore_refuses_a_control_file_that_is_wrong() {
    let world = World::new(all()[0]).await;
    let place = usize::try_from(PLACE).unwrap();
    world.backup_with(|control| control[place] ^= 1).await;
    let plan = world.plan(Target::Immediate).await;
    let into = world.cluster.folder("restored");
    let options = world.options(&into);
    let restored = restore::run(&world.repository, &plan, &options, now()).await;
    let report = restored.unwrap_err().report();
    assert!(
        report.to_string().contains("its checksum is wrong"),
        "{report}"
    );
    assert!(report.hint.is_some(), "{report}");
    assert!(into.join(MARKER).exists() && !into.join("global/pg_control").exists());
    // Another backup goes into the same directory.
    world.backup().await;
    let plan = world.plan(Target::Immediate).await;
    restore::run(&world.repository, &plan, &options, now())
        .await
        .unwrap();
    assert!(into.join("global/pg_control").exists());
}
