//! Disk, CPU, memory and kernel of the machine of the server.

mod cpu;
mod disk;
mod kernel;
mod memory;
mod network;

use pawang_core::{Blind, Missing, Row, Unit};

use crate::{Check, Direction, Group, Scope, View};

pub(crate) static CHECKS: &[Check] = &[
    disk::DISK_SPACE,
    disk::DISK_FREE,
    disk::INODES,
    disk::WAL_DISK,
    disk::LOG_DISK,
    disk::DISK_READ_ONLY,
    disk::DISK_BUSY,
    disk::DISK_LATENCY,
    disk::DISK_QUEUE,
    cpu::CPU_USAGE,
    cpu::CPU_IOWAIT,
    cpu::CPU_STEAL,
    cpu::LOAD,
    cpu::PRESSURE_CPU,
    cpu::CONTAINER_THROTTLING,
    memory::MEMORY_AVAILABLE,
    memory::SWAP_USED,
    memory::SWAP_ACTIVITY,
    memory::PRESSURE_MEMORY,
    memory::OOM_KILLS,
    memory::CONTAINER_MEMORY,
    memory::BACKEND_MEMORY,
    memory::SERVER_SWAPPED,
    memory::DIRTY_PAGES,
    memory::HUGE_PAGES,
    disk::PRESSURE_IO,
    kernel::OVERCOMMIT_MEMORY,
    kernel::TRANSPARENT_HUGE_PAGES,
    kernel::SWAPPINESS,
    kernel::FILE_HANDLES,
    kernel::OPEN_FILES_LIMIT,
    kernel::PROCESS_LIMIT,
    kernel::CLOCK_SKEW,
    kernel::DATA_DIRECTORY_PERMISSIONS,
    network::NETWORK_ERRORS,
    network::TCP_RETRANSMISSIONS,
    network::LISTEN_OVERFLOWS,
];

/// What the checks of this group have in common.
const HOST: Check = Check {
    id: "",
    group: Group::Host,
    title: "",
    scope: Scope::Server,
    needs: &[],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "",
    why: "",
    fix: "",
    observe: |_| Ok(Vec::new()),
};

/// Returns a number that this kernel may not deliver.
fn number(row: Row<'_>, column: &str) -> Result<f64, Missing> {
    let none = || Missing::NotApplicable(format!("this kernel does not tell {column}"));
    row.float(column).ok_or_else(none)
}

/// A one-row collector's row with the growth of its counters since the last run.
struct Since<'a> {
    row: Row<'a>,
    older: Row<'a>,
    seconds: f64,
}

impl<'a> Since<'a> {
    fn of(view: &View<'a>, collector: &str) -> Result<Since<'a>, Missing> {
        let growth = view.growth(collector)?;
        let (row, older) = growth.rows.first().copied().ok_or(Blind::FirstSample)?;
        let older = older.ok_or(Blind::FirstSample)?;
        Ok(Since {
            row,
            older,
            seconds: growth.seconds,
        })
    }

    /// Returns how much a counter grew; NULL asks no question, a smaller number means that the machine was restarted.
    fn growth(&self, column: &str) -> Result<f64, Missing> {
        number(self.row, column)?;
        let reset = || Blind::Reset {
            what: "the machine was restarted".to_owned(),
        };
        self.row
            .growth(self.older, column)
            .ok_or_else(|| reset().into())
    }
}
