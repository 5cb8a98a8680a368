//! Disks that are really full: the error says so, no backup comes of it, what existed stays whole, and the next run works when
//! there is room again.

use std::collections::BTreeSet;

use pawang_backup::repository::BackupKind;
use pawang_backup::take::{Progress, Reading, take};
use pawang_backup::verify::{Depth, verify};
use pawang_core::{Kind, Report};
use pawang_testbed::{SmallDisk, may_mount, versions};

use crate::take::Bed;
use crate::verify::settings;

/// Bytes that do not become fewer when they are compressed: 16 MB.
pub(crate) const NOISE: &str = "CREATE TABLE noise AS SELECT (SELECT string_agg(sha512((row || '-' || piece)::bytea), ''::bytea)
    FROM generate_series(1, 110) AS piece) AS pad FROM generate_series(1, 2300) AS row";
const MEGABYTE: u64 = 1 << 20;
const DISK_MEGABYTES: u32 = 24;
/// The disk gives room in such pieces.
const PAGE_BYTES: u64 = 4096;

/// A cluster whose repository is on a disk that can be filled.
struct Full {
    bed: Bed,
    disk: SmallDisk,
}

impl Full {
    /// Tries a backup; the disk is filled when everything came but WAL, if so much is to be left.
    async fn attempt(&self, left_before_wal: Option<u64>) -> Result<(), Report> {
        let mut observe = |progress| {
            if let (Progress::Wal { fetching: true, .. }, Some(left)) = (progress, left_before_wal)
            {
                self.disk.fill(left);
            }
        };
        let mut request = self.bed.request();
        // A process that has ended, as far as the next one can tell: on a full disk it cannot even give its lease back.
        request.owner.pid = 4_194_305;
        let taken = take(request, &mut observe).await;
        taken.map(drop).map_err(|error| error.report())
    }

    /// Asserts that the first backup is there, alone, and that nothing was left of others.
    async fn is_as_before(&self, used: u64) {
        let bed = &self.bed;
        let cluster = bed.repository.clusters().await.unwrap()[0];
        let backups = bed.repository.backups(&cluster).await.unwrap();
        assert_eq!(backups.len(), 1);
        let more = self.used() - used;
        // WAL that came stays.
        assert!(more < MEGABYTE, "{more} bytes were left");
    }

    async fn is_whole(&self) {
        let bed = &self.bed;
        let cluster = bed.repository.clusters().await.unwrap()[0];
        let backups = bed.repository.backups(&cluster).await.unwrap();
        let settings = settings(Depth::Pages);
        let proof = verify(&bed.repository, &cluster, &backups[0].backup, &settings).await;
        assert_eq!(proof.unwrap().unwrap().problems, Vec::<String>::new());
    }

    fn used(&self) -> u64 {
        u64::from(DISK_MEGABYTES) * MEGABYTE - self.disk.free()
    }
}

fn is_clear(report: &Report) {
    assert_eq!(report.kind, Kind::Target, "{report}");
    let text = report.to_string();
    assert!(
        text.contains("no space is left on the repository's disk"),
        "{text}"
    );
    assert!(report.hint.is_some(), "{text}");
}

#[tokio::test]
async fn a_full_disk_ends_a_backup_and_harms_no_other() {
    if !may_mount("full_disk::a_full_disk_ends_a_backup_and_harms_no_other") {
        return;
    }
    for reading in [Reading::Protocol, Reading::Local] {
        let bed = Bed::read_by(versions()[0], reading).await;
        let disk = SmallDisk::mount(bed.folder.path(), DISK_MEGABYTES);
        let full = Full { bed, disk };
        full.attempt(None).await.unwrap();
        // In a part: the estimate, by what the backup before became, has room enough.
        full.bed.cluster.sql("postgres", NOISE).await;
        let used = full.used();
        full.disk.fill(10 * MEGABYTE);
        let report = full.attempt(None).await.unwrap_err();
        assert!(report.primary.contains("/part-0000"), "{report}");
        is_clear(&report);
        full.disk.clear();
        full.is_as_before(used).await;
        // At whatever is written behind the last part, with more and more room: WAL first, the commit last.
        full.bed
            .cluster
            .sql("postgres", "DROP TABLE noise; CHECKPOINT")
            .await;
        let mut refused = BTreeSet::new();
        for pages in 0.. {
            let Err(report) = full.attempt(Some(pages * PAGE_BYTES)).await else {
                break;
            };
            is_clear(&report);
            full.disk.clear();
            full.is_as_before(used).await;
            let commit = report.primary.contains("COMMIT.json");
            refused.insert(if commit { "commit" } else { "wal" });
            assert!(commit || report.primary.contains("/wal/"), "{report}");
        }
        assert_eq!(refused, BTreeSet::from(["commit", "wal"]), "{reading:?}");
        full.disk.clear();
        full.is_whole().await;
        let commit = full.bed.take().await;
        assert_eq!(commit.kind, BackupKind::Full);
        let backups = full.bed.repository.backups(&commit.cluster).await.unwrap();
        assert_eq!(backups.len(), 3);
    }
}

#[tokio::test]
async fn a_backup_that_has_no_room_is_refused_before_it_is_read() {
    if !may_mount("full_disk::a_backup_that_has_no_room_is_refused_before_it_is_read") {
        return;
    }
    let bed = Bed::read_by(versions()[0], Reading::Local).await;
    let disk = SmallDisk::mount(bed.folder.path(), DISK_MEGABYTES);
    disk.fill(MEGABYTE);
    let report = take(bed.request(), &mut |_| {}).await.unwrap_err().report();
    assert_eq!(report.kind, Kind::Refused, "{report}");
    assert!(report.primary.contains("not enough space"), "{report}");
    assert!(report.hint.is_some(), "{report}");
    disk.clear();
    bed.take().await;
}
