//! Statements by what they cost.

mod cost;
mod grown;
mod tracking;

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[
    tracking::STATEMENTS_TRACKED,
    tracking::STATEMENTS_EVICTIONS,
    cost::SLOW_STATEMENTS,
    cost::TOP_STATEMENT,
    cost::STATEMENT_READS,
    cost::STATEMENT_WAL,
    cost::STATEMENT_TEMP,
    cost::STATEMENT_CALLS,
    cost::STATEMENT_REGRESSION,
    cost::STATEMENT_PLANNING,
    cost::STATEMENT_JIT,
    cost::STATEMENT_WORKERS,
];
