//! File systems and block devices.

use pawang_core::{Blind, ByteSize, Level, Missing, Row, Unit};

use super::HOST;
use crate::{Check, Direction, Floor, Observation, View};

const SECTOR_BYTES: f64 = 512.0;

pub(super) const DISK_SPACE: Check = Check {
    id: "disk-space",
    title: "disk space of data and tablespaces",
    needs: &["host-filesystem", "host-paths"],
    warning: Some(70.0),
    critical: Some(90.0),
    floors: &[Floor {
        name: "free-bytes",
        value: 549_755_813_888.0,
        unit: Unit::Bytes,
        ignores: "file systems with more than this available",
    }],
    what: "Used share of every file system that holds the data directory or a tablespace, as df computes it: used / (used + available to \
           ordinary users), by statvfs on the directories themselves. File systems are named by mount point and counted once; \
           a grep for \"postgres\" in df finds nothing when the data is on the root file system.",
    why: "When it is full, PostgreSQL cannot extend tables: statements fail; when WAL shares it, the server stops with PANIC and does not start.",
    fix: "Find what grew: du -xh --max-depth=2 DIRECTORY | sort -h | tail; drop or move data with \
          ALTER TABLE ... SET TABLESPACE ...; grow the volume. Never delete files below the data directory by hand.",
    observe: |view| used(view, &["data", "tablespace"]),
    ..HOST
};

pub(super) const DISK_FREE: Check = Check {
    id: "disk-free",
    title: "free bytes on the server's disks",
    needs: &["host-filesystem", "host-paths"],
    unit: Unit::Bytes,
    direction: Direction::Below,
    warning: Some(5_368_709_120.0),
    critical: Some(1_073_741_824.0),
    floors: &[Floor {
        name: "total-bytes",
        value: 21_474_836_480.0,
        unit: Unit::Bytes,
        ignores: "file systems smaller than this, where a share says more",
    }],
    what: "Bytes available to ordinary users on every file system that holds data, WAL, log or a tablespace.",
    why: "A share says little about a large disk: a sort or a checkpoint of a busy server needs gigabytes at once, whatever the share.",
    fix: "Free space or grow the volume now; look at temporary files and WAL first: SELECT * FROM pg_ls_waldir() ORDER BY modification LIMIT 5;",
    observe: free,
    ..HOST
};

pub(super) const INODES: Check = Check {
    id: "inodes",
    title: "inodes of the server's file systems",
    needs: &["host-filesystem", "host-paths"],
    warning: Some(80.0),
    critical: Some(95.0),
    what: "Used share of the inodes of every file system that holds data, WAL, log or a tablespace. \
           File systems that allocate inodes on demand (XFS with free space, Btrfs, ZFS) report none or plenty.",
    why: "Without a free inode no table, index, partition or WAL file can be created, although df shows free bytes.",
    fix: "Find the directory with the most files: du --inodes -x DIRECTORY | sort -n | tail; drop unneeded partitions; make the file system anew with more inodes.",
    observe: inodes,
    ..HOST
};

pub(super) const WAL_DISK: Check = Check {
    id: "wal-disk",
    title: "disk space of pg_wal",
    needs: &["host-filesystem", "host-paths"],
    warning: Some(70.0),
    critical: Some(90.0),
    what: "Used share of the file system of pg_wal, when that is another one than that of the data directory; the link is followed.",
    why: "A full WAL file system stops the server with PANIC at once. WAL piles up when archiving fails or a replication slot is not read.",
    fix: "Find who holds WAL back: SELECT slot_name, active, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) \
          FROM pg_replication_slots; SELECT * FROM pg_stat_archiver; Never delete files in pg_wal, and pg_switch_wal() frees nothing.",
    observe: |view| apart(view, "wal"),
    ..HOST
};

pub(super) const LOG_DISK: Check = Check {
    id: "log-disk",
    title: "disk space of the server log",
    needs: &["host-filesystem", "host-paths"],
    warning: Some(80.0),
    critical: Some(95.0),
    what: "Used share of the file system of log_directory, when that is another one than that of the data directory.",
    why: "When the log cannot be written, the server keeps running and the reason of the next incident is lost.",
    fix: "Compress or remove old log files; set log_rotation_age, log_rotation_size and log_truncate_on_rotation.",
    observe: |view| apart(view, "log"),
    ..HOST
};

pub(super) const DISK_READ_ONLY: Check = Check {
    id: "disk-read-only",
    title: "file systems that became read-only",
    needs: &["host-filesystem", "host-paths"],
    unit: Unit::State,
    what: "Whether a file system that holds data, WAL, log or a tablespace is mounted read-only, by the flags of statvfs.",
    why: "Linux remounts a file system read-only after an I/O error; the next checkpoint then fails and the server ends.",
    fix: "Look at the kernel's messages (dmesg -T | tail -50), save what can be read, replace the disk, restore or fail over.",
    observe: read_only,
    ..HOST
};

pub(super) const DISK_BUSY: Check = Check {
    id: "disk-busy",
    title: "time in which the disk was busy",
    needs: &["host-disk", "host-paths"],
    warning: Some(90.0),
    critical: None,
    floors: &[Floor {
        name: "requests-per-second",
        value: 10.0,
        unit: Unit::PerSecond,
        ignores: "devices with fewer requests",
    }],
    what: "Share of the time since the last run in which a device with files of the server had at least one request in flight \
           (/proc/diskstats). For NVMe and RAID, which serve many at once, 100 % is not yet saturation: see disk-latency.",
    why: "A disk that is always busy makes every cache miss and every commit wait.",
    fix: "Find the readers: SELECT pid, wait_event, query FROM pg_stat_activity WHERE wait_event_type = 'IO'; spread batch jobs; more memory or faster disks.",
    observe: busy,
    ..HOST
};

pub(super) const DISK_LATENCY: Check = Check {
    id: "disk-latency",
    title: "time per disk request",
    needs: &["host-disk", "host-paths"],
    unit: Unit::Milliseconds,
    warning: Some(20.0),
    critical: Some(100.0),
    floors: &[Floor {
        name: "requests",
        value: 100.0,
        unit: Unit::Count,
        ignores: "devices with fewer requests of that kind since the last run",
    }],
    what: "Mean time per read and per write since the last run, from entering the queue to completion, of each device with files of the server (/proc/diskstats).",
    why: "Commits wait for WAL writes and queries for reads: at 20 ms a scan of 50 random pages takes a second.",
    fix: "Compare with the disk's rated values; look for cloud volumes out of burst credit, a RAID rebuild, or a neighbour; iostat -x 5.",
    observe: latency,
    ..HOST
};

pub(super) const DISK_QUEUE: Check = Check {
    id: "disk-queue",
    title: "requests waiting at the disk",
    needs: &["host-disk", "host-paths"],
    unit: Unit::Count,
    warning: Some(64.0),
    what: "Mean number of requests in flight since the last run: the kernel's weighted queue time divided by the time (/proc/diskstats).",
    why: "A queue that stays long means that the disk cannot follow; latency grows with it.",
    fix: "Slow down batch jobs and checkpoints (checkpoint_completion_target = 0.9, larger max_wal_size), or use faster disks.",
    observe: queue,
    ..HOST
};

pub(super) const PRESSURE_IO: Check = Check {
    id: "pressure-io",
    title: "tasks that waited for I/O",
    needs: &["host-pressure", "host-paths"],
    warning: Some(40.0),
    critical: Some(80.0),
    what: "Share of the last minute in which at least one task waited for I/O (\"some avg60\" of /proc/pressure/io). \
           The share in which all tasks waited is in the evidence.",
    why: "Unlike utilisation it counts waiting, whatever the disk can do in parallel.",
    fix: "Find the waiting sessions: SELECT pid, wait_event, query FROM pg_stat_activity WHERE wait_event_type = 'IO';",
    observe: |view| super::cpu::pressure(view, "io"),
    ..HOST
};

/// Places of the server that share a file system.
struct Filesystem<'a> {
    row: Row<'a>,
    point: &'a str,
    places: Vec<String>,
}

impl<'a> Filesystem<'a> {
    fn used(&self) -> Option<(f64, f64)> {
        let total = self.row.float("total_bytes")?;
        let free = self.row.float("free_bytes")?;
        let available = self.row.float("available_bytes")?;
        let used = total - free;
        Some((used / (used + available).max(1.0) * 100.0, available))
    }

    fn observation(&self, value: f64, title: String) -> Observation {
        Observation {
            object: self.point.to_owned(),
            value,
            title,
            evidence: self.evidence(),
            ..Observation::default()
        }
    }

    fn evidence(&self) -> Vec<(String, String)> {
        let mut evidence = vec![("holds".to_owned(), self.places.join(", "))];
        let columns = [
            "path",
            "source",
            "file_system",
            "total_bytes",
            "available_bytes",
            "inodes",
            "inodes_free",
        ];
        evidence.extend(self.row.evidence(&columns));
        evidence
    }
}

/// Groups the wanted places by file system; those that could not be seen come as observations of their own.
fn filesystems<'a>(
    view: &View<'a>,
    purposes: &[&str],
) -> Result<(Vec<Filesystem<'a>>, Vec<Observation>), Missing> {
    let (mut seen, mut unseen): (Vec<Filesystem<'a>>, Vec<Observation>) = (Vec::new(), Vec::new());
    for row in view.snapshot("host-filesystem")?.rows() {
        let purpose = row.text("purpose").unwrap_or_default();
        if !purposes.contains(&purpose) {
            continue;
        }
        if row.float("total_bytes").is_none() {
            unseen.push(blind(row, purpose));
            continue;
        }
        let path = row.text("path").unwrap_or_default();
        let point = row.text("mount_point").unwrap_or(path);
        let name = row.text("name").unwrap_or_default();
        let place = if name.is_empty() {
            purpose.to_owned()
        } else {
            format!("{purpose} \"{name}\"")
        };
        match seen.iter_mut().find(|other| other.point == point) {
            Some(other) => other.places.push(place),
            None => seen.push(Filesystem {
                row,
                point,
                places: vec![place],
            }),
        }
    }
    Ok((seen, unseen))
}

fn blind(row: Row<'_>, purpose: &str) -> Observation {
    let problem = row.text("problem").unwrap_or("not seen");
    let remedy = "run pawang as the user that owns the server: sudo -u postgres pawang check";
    Observation {
        object: row.text("path").unwrap_or_default().to_owned(),
        level: Some(Level::Unknown),
        title: format!("the file system of {purpose} was not seen: {problem}"),
        remedy: (row.flag("permission_denied") == Some(true)).then(|| remedy.to_owned()),
        ..Observation::default()
    }
}

const ALL: [&str; 4] = ["data", "wal", "log", "tablespace"];

fn used(view: &View<'_>, purposes: &[&str]) -> Result<Vec<Observation>, Missing> {
    let (seen, mut observations) = filesystems(view, purposes)?;
    for filesystem in seen {
        observations.extend(share(view, &filesystem));
    }
    Ok(observations)
}

fn share(view: &View<'_>, filesystem: &Filesystem<'_>) -> Option<Observation> {
    let (share, available) = filesystem.used()?;
    let plenty = view
        .limits
        .floors
        .get("free-bytes")
        .is_some_and(|floor| available > *floor);
    let title = format!(
        "{share:.0} % of \"{}\" ({}) is used, {} are available",
        filesystem.point,
        filesystem.places.join(", "),
        ByteSize(available as u64)
    );
    Some(Observation {
        level: plenty.then_some(Level::Ok),
        ..filesystem.observation(share, title)
    })
}

/// Judges one purpose, when it has a file system of its own.
fn apart(view: &View<'_>, purpose: &str) -> Result<Vec<Observation>, Missing> {
    let (data, _) = filesystems(view, &["data"])?;
    let (seen, unseen) = filesystems(view, &[purpose])?;
    let Some(filesystem) = seen.first() else {
        return match unseen.into_iter().next() {
            Some(unseen) => Err(match unseen.remedy {
                Some(grant) => Blind::NoPrivilege {
                    what: unseen.title,
                    grant,
                },
                None => Blind::Failed { what: unseen.title },
            }
            .into()),
            None => Err(Missing::NotApplicable(format!(
                "the server has no {purpose} directory of its own"
            ))),
        };
    };
    if data.iter().any(|data| data.point == filesystem.point) {
        let point = filesystem.point;
        return Err(Missing::NotApplicable(format!(
            "it is on \"{point}\" like the data directory: see disk-space"
        )));
    }
    Ok(share(view, filesystem).into_iter().collect())
}

fn free(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let (seen, mut observations) = filesystems(view, &ALL)?;
    for filesystem in seen {
        let Some((_, available)) = filesystem.used() else {
            continue;
        };
        let total = filesystem.row.float("total_bytes").unwrap_or(0.0);
        let title = format!(
            "{} of {} are available on \"{}\" ({})",
            ByteSize(available as u64),
            ByteSize(total as u64),
            filesystem.point,
            filesystem.places.join(", ")
        );
        observations.push(Observation {
            level: (total < view.floor("total-bytes")).then_some(Level::Ok),
            ..filesystem.observation(available, title)
        });
    }
    Ok(observations)
}

fn inodes(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let (seen, mut observations) = filesystems(view, &ALL)?;
    for filesystem in seen {
        let total = filesystem.row.float("inodes").unwrap_or(0.0);
        if total <= 0.0 {
            continue;
        }
        let free = filesystem.row.float("inodes_free").unwrap_or(0.0);
        let share = (total - free) / total * 100.0;
        let title = format!(
            "{share:.0} % of the inodes of \"{}\" ({}) are used, {free:.0} are free",
            filesystem.point,
            filesystem.places.join(", ")
        );
        observations.push(filesystem.observation(share, title));
    }
    Ok(observations)
}

fn read_only(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let (seen, mut observations) = filesystems(view, &ALL)?;
    for filesystem in seen {
        let read_only = filesystem.row.flag("read_only") == Some(true);
        let title = format!(
            "\"{}\" ({}) is mounted read-only",
            filesystem.point,
            filesystem.places.join(", ")
        );
        observations.push(Observation {
            level: Some(if read_only {
                Level::Critical
            } else {
                Level::Ok
            }),
            ..filesystem.observation(f64::from(u8::from(read_only)), title)
        });
    }
    Ok(observations)
}

/// A device with the growth of its counters since the last run.
struct Device<'a> {
    row: Row<'a>,
    older: Row<'a>,
    seconds: f64,
}

impl Device<'_> {
    fn growth(&self, column: &str) -> Option<f64> {
        self.row.growth(self.older, column)
    }

    fn name(&self) -> String {
        self.row.text("device").unwrap_or_default().to_owned()
    }

    fn evidence(&self) -> Vec<(String, String)> {
        let rate = |column: &str, factor: f64, unit: Unit| {
            let rate = self.growth(column).unwrap_or(0.0) * factor / self.seconds;
            unit.show(rate)
        };
        vec![
            ("holds".to_owned(), self.row.list("purposes").join(", ")),
            ("reads".to_owned(), rate("reads", 1.0, Unit::PerSecond)),
            ("writes".to_owned(), rate("writes", 1.0, Unit::PerSecond)),
            (
                "read".to_owned(),
                rate("sectors_read", SECTOR_BYTES, Unit::BytesPerSecond),
            ),
            (
                "written".to_owned(),
                rate("sectors_written", SECTOR_BYTES, Unit::BytesPerSecond),
            ),
        ]
    }
}

fn devices<'a>(view: &View<'a>) -> Result<Vec<Device<'a>>, Missing> {
    if view.snapshot("host-disk")?.rows.is_empty() {
        return Err(Missing::NotApplicable(
            "the server's files are on no block device of this machine".to_owned(),
        ));
    }
    let growth = view.growth("host-disk")?;
    let rows = growth.rows.into_iter();
    let devices = rows.filter_map(|(row, older)| {
        Some(Device {
            row,
            older: older?,
            seconds: growth.seconds,
        })
    });
    Ok(devices.collect())
}

fn busy(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut observations = Vec::new();
    for device in devices(view)? {
        let (Some(busy), Some(reads), Some(writes)) = (
            device.growth("busy_ms"),
            device.growth("reads"),
            device.growth("writes"),
        ) else {
            continue;
        };
        let share = (busy / 10.0 / device.seconds).min(100.0);
        let quiet = (reads + writes) / device.seconds < view.floor("requests-per-second");
        observations.push(Observation {
            object: device.name(),
            value: share,
            level: quiet.then_some(Level::Ok),
            title: format!("disk {} was busy {share:.0} % of the time", device.name()),
            evidence: device.evidence(),
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn latency(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut observations = Vec::new();
    for device in devices(view)? {
        for (kind, requests, time) in [
            ("read", "reads", "read_ms"),
            ("write", "writes", "write_ms"),
        ] {
            let (Some(requests), Some(time)) = (device.growth(requests), device.growth(time))
            else {
                continue;
            };
            let mean = time / requests.max(1.0);
            let quiet = requests < view.floor("requests");
            observations.push(Observation {
                object: format!("{} {kind}", device.name()),
                value: mean,
                level: quiet.then_some(Level::Ok),
                title: format!(
                    "a {kind} on disk {} took {mean:.1} ms on average of {requests:.0}",
                    device.name()
                ),
                evidence: device.evidence(),
                ..Observation::default()
            });
        }
    }
    Ok(observations)
}

fn queue(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut observations = Vec::new();
    for device in devices(view)? {
        let Some(queued) = device.growth("queue_ms") else {
            continue;
        };
        let mean = queued / 1_000.0 / device.seconds;
        observations.push(Observation {
            object: device.name(),
            value: mean,
            title: format!(
                "{mean:.1} requests were in flight on disk {} on average",
                device.name()
            ),
            evidence: device.evidence(),
            ..Observation::default()
        });
    }
    Ok(observations)
}
