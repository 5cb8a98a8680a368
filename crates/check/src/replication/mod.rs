//! Standbys, slots, logical replication.

mod lag;
mod logical;
mod slots;
mod standby;
mod standbys;

use crate::Check;

pub(crate) use standbys::senders;

pub(crate) static CHECKS: &[Check] = &[
    standbys::EXPECTED,
    standbys::STATE,
    standbys::SYNC,
    standbys::COMMIT_WAITS,
    standbys::REPLY,
    standbys::SENDERS,
    standbys::HORIZON,
    lag::BYTES,
    lag::TIME,
    lag::STANDBY_TIME,
    lag::BACKLOG,
    standby::PAUSED,
    standby::RECEIVER,
    standby::TIMELINE,
    standby::CONFLICTS,
    standby::FAILOVER_SLOTS,
    slots::LOST,
    slots::INACTIVE,
    slots::RETAINED,
    slots::UNLIMITED,
    slots::USED,
    slots::LOGICAL_LAG,
    slots::SPILL,
    logical::DISABLED,
    logical::WORKER,
    logical::ERRORS,
    logical::LAG,
    logical::CONFLICTS,
    logical::SYNC,
    logical::PUBLICATION_EMPTY,
    logical::PUBLICATION_IDENTITY,
];
