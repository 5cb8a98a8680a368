//! What takes space without need: indexes and tables are built anew by the policy in force.

use pawang_config::{Area, HighRisk, RewriteChoice};
use pawang_core::plan::{Left, RewriteMethod};
use pawang_core::{ByteSize, Missing};

use crate::reindex::{self, Wanted};
use crate::rewrite::{self, Surroundings};
use crate::scope::{Findings, Scope};

/// Plans REINDEX CONCURRENTLY of bloated indexes.
pub(crate) fn indexes(scope: &Scope<'_>, found: &mut Findings) {
    let limits = |table: &str| {
        let settings = scope.policy.settings(scope.database, table);
        reindex::Limits {
            bloat_percent: settings.index_bloat_percent,
            size_min: settings.index_size_min,
            skip: settings.skip,
        }
    };
    let around = reindex::Surroundings {
        free: free(scope),
        rate: scope.policy.build_rate,
    };
    let planned = reindex::plan(scope.facts, scope.database, &limits, around, scope.now);
    take(scope, Area::Reindex, "indexes", planned, found);
}

/// Plans the rewriting of tables with much free space.
pub(crate) fn tables(scope: &Scope<'_>, found: &mut Findings) {
    let limits = |table: &str| {
        let settings = scope.policy.settings(scope.database, table);
        rewrite::Limits {
            free_percent: settings.table_free_percent,
            size_min: settings.table_size_min,
            method: method(settings.rewrite),
            skip: settings.skip,
        }
    };
    let around = Surroundings {
        free: free(scope),
        repack_program: scope.policy.repack_program.as_deref(),
        may_block: scope.policy.window.is_some() && scope.policy.allows(HighRisk::VacuumFull),
    };
    let planned = rewrite::plan(scope.facts, scope.database, &limits, &around);
    take(scope, Area::Rewrite, "tables", planned, found);
}

fn method(choice: RewriteChoice) -> Option<RewriteMethod> {
    match choice {
        RewriteChoice::Auto => None,
        RewriteChoice::Repack => Some(RewriteMethod::Repack),
        RewriteChoice::PgSqueeze => Some(RewriteMethod::PgSqueeze),
        RewriteChoice::PgRepack => Some(RewriteMethod::PgRepack),
        RewriteChoice::VacuumFull => Some(RewriteMethod::VacuumFull),
    }
}

/// Returns the free space of the data directory; `None` when that is on another machine.
fn free(scope: &Scope<'_>) -> Option<ByteSize> {
    let places = scope.server("host-filesystem").ok()?;
    let mut rows = places.rows();
    let data = rows.find(|row| row.text("purpose") == Some("data"))?;
    Some(ByteSize(data.float("available_bytes")? as u64))
}

fn take(
    scope: &Scope<'_>,
    area: Area,
    what: &str,
    planned: Result<(Vec<Wanted>, Vec<Left>), Missing>,
    found: &mut Findings,
) {
    match planned {
        Ok((wanted, left)) => {
            for one in wanted {
                found.want(area, one.gain.0 as f64, one.proposal);
            }
            found.left.extend(left);
        }
        Err(missing) => found.left.extend(scope.missing(what, missing)),
    }
}
