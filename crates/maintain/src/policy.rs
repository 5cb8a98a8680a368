//! A policy as the planners read it: `[maintenance]` with every default filled in.

use std::time::Duration;

use pawang_config::{
    AnalyzeConfig, Area, CleanupConfig, HighRisk, IndexConfig, MaintenanceConfig, MaintenanceRule,
    PartitionsConfig, RewriteChoice, TableConfig, VacuumConfig, matches,
};
use pawang_core::ByteSize;
use pawang_core::plan::{BuildRate, VacuumPace};

use crate::Areas;

const DEAD_PERCENT: f64 = 20.0;
const DEAD_ROWS_MIN: f64 = 10_000.0;
const FREEZE_AGE_PERCENT: f64 = 75.0;
const MODIFIED_PERCENT: f64 = 20.0;
const MODIFIED_ROWS_MIN: f64 = 10_000.0;
const INDEX_BLOAT_PERCENT: f64 = 40.0;
const INDEX_SIZE_MIN: ByteSize = ByteSize(100 << 20);
const TABLE_FREE_PERCENT: f64 = 50.0;
const TABLE_SIZE_MIN: ByteSize = ByteSize(1 << 30);
const PARTITIONS_AHEAD: u32 = 4;
const PARTITIONS_KEPT_MIN: u32 = 1;
const LANES: u32 = 2;

/// When something is looked after, what, and how far it may go.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name in the file; empty for the one that holds when none is named.
    pub name: String,
    /// When it is applied, as written.
    pub window: Option<String>,
    /// What is looked after.
    pub areas: Areas,
    /// Only databases that match one of these; all when empty.
    pub databases: Vec<String>,
    /// Longest time of one run.
    pub duration: Option<Duration>,
    /// Most WAL of one run.
    pub wal: Option<ByteSize>,
    /// How many actions run at the same time.
    pub lanes: u32,
    /// Actions of high risk that need no confirmation of their own.
    pub allow: Vec<HighRisk>,
    /// Which files are deleted.
    pub cleanup: CleanupConfig,
    /// The client program of pg_repack, absolute, where it is on this machine.
    pub repack_program: Option<String>,
    /// How fast the server built indexes until now, where that is known.
    pub build_rate: Option<BuildRate>,
    /// What holds for every table unless a rule says otherwise.
    pub base: Settings,
    /// The rules of this policy, in the order of the file.
    pub rules: Vec<Rule>,
}

/// A rule of a policy, with its place in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// How many rules stand before it in the file.
    pub index: usize,
    /// What it says.
    pub config: MaintenanceRule,
}

/// What holds for one table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Whether it is left alone, short of wraparound.
    pub skip: bool,
    /// Share of dead row versions from which it is vacuumed.
    pub dead_percent: f64,
    /// Fewer dead row versions than this never count as a share.
    pub dead_rows_min: f64,
    /// Age in percent of its freeze limit from which it is frozen.
    pub freeze_age_percent: f64,
    /// How fast VACUUM and ANALYZE may go.
    pub pace: VacuumPace,
    /// Share of changed rows from which it is analyzed.
    pub modified_percent: f64,
    /// Fewer changed rows than this never count as a share.
    pub modified_rows_min: f64,
    /// Share of bloat from which an index is built anew.
    pub index_bloat_percent: f64,
    /// A smaller index is left alone.
    pub index_size_min: ByteSize,
    /// Share of free space from which the table is written anew.
    pub table_free_percent: f64,
    /// A smaller table is left alone.
    pub table_size_min: ByteSize,
    /// How a table is written anew.
    pub rewrite: RewriteChoice,
    /// Range partitions that stand ready after the one in use.
    pub partitions_ahead: u32,
    /// Partitions whose range ended longer ago are taken out.
    pub partitions_keep: Option<Duration>,
    /// Tables that were taken out so are dropped when their range ended longer ago.
    pub partitions_drop_after: Option<Duration>,
    /// Partitions with an ended range that are kept whatever their age.
    pub partitions_keep_min: u32,
    /// Chunks that are older are compressed.
    pub compress_after: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            skip: false,
            dead_percent: DEAD_PERCENT,
            dead_rows_min: DEAD_ROWS_MIN,
            freeze_age_percent: FREEZE_AGE_PERCENT,
            pace: VacuumPace::default(),
            modified_percent: MODIFIED_PERCENT,
            modified_rows_min: MODIFIED_ROWS_MIN,
            index_bloat_percent: INDEX_BLOAT_PERCENT,
            index_size_min: INDEX_SIZE_MIN,
            table_free_percent: TABLE_FREE_PERCENT,
            table_size_min: TABLE_SIZE_MIN,
            rewrite: RewriteChoice::Auto,
            partitions_ahead: PARTITIONS_AHEAD,
            partitions_keep: None,
            partitions_drop_after: None,
            partitions_keep_min: PARTITIONS_KEPT_MIN,
            compress_after: None,
        }
    }
}

impl Default for Policy {
    /// Returns the policy of a person who names none: everything is looked at, files are not deleted.
    fn default() -> Policy {
        Policy {
            name: String::new(),
            window: None,
            areas: Areas::all(),
            databases: Vec::new(),
            duration: None,
            wal: None,
            lanes: LANES,
            allow: Vec::new(),
            cleanup: CleanupConfig::default(),
            repack_program: None,
            build_rate: None,
            base: Settings::default(),
            rules: Vec::new(),
        }
    }
}

impl Policy {
    /// Returns the policy of this name, or `None` when the file has none.
    pub fn named(name: &str, config: &MaintenanceConfig) -> Option<Policy> {
        let written = config.policies.get(name)?;
        let mut base = Settings::default();
        base.change(&written.vacuum, &written.analyze);
        base.change_relations(&written.index, &written.table, &written.partitions);
        Some(Policy {
            name: name.to_owned(),
            window: written.window.clone(),
            areas: match &written.areas {
                Some(areas) => areas.iter().copied().collect(),
                None => Areas::usual(),
            },
            databases: written.databases.clone().unwrap_or_default(),
            duration: written.budget.duration.map(|period| period.0),
            wal: written.budget.wal.map(|size| size.0),
            lanes: written.lanes.unwrap_or(LANES),
            allow: written.allow.clone(),
            cleanup: written.cleanup.clone(),
            repack_program: None,
            build_rate: None,
            base,
            rules: rules(config, Some(name)),
        })
    }

    /// Returns the policy that holds when none is named: the defaults, and every rule that names no policy.
    pub fn unnamed(config: &MaintenanceConfig) -> Policy {
        Policy {
            rules: rules(config, None),
            ..Policy::default()
        }
    }

    /// Says whether the policy is for a database.
    pub fn covers(&self, database: &str) -> bool {
        self.databases.is_empty()
            || self
                .databases
                .iter()
                .any(|pattern| matches(pattern, database))
    }

    /// Says whether an action of high risk is allowed by name.
    pub fn allows(&self, action: HighRisk) -> bool {
        self.allow.contains(&action)
    }

    /// Returns what holds for a table, named as `schema.table`: later rules win, key by key.
    pub fn settings(&self, database: &str, table: &str) -> Settings {
        let mut settings = self.base;
        for rule in self
            .rules
            .iter()
            .filter(|rule| rule.covers(database, table))
        {
            let config = &rule.config;
            settings.skip = config.skip.unwrap_or(settings.skip);
            settings.change(&config.vacuum, &config.analyze);
            settings.change_relations(&config.index, &config.table, &config.partitions);
        }
        settings
    }
}

fn rules(config: &MaintenanceConfig, name: Option<&str>) -> Vec<Rule> {
    let rules = config.rules.iter().enumerate();
    let rules = rules.filter(|(_, rule)| match (&rule.policies, name) {
        (None, _) => true,
        (Some(policies), Some(name)) => policies.iter().any(|policy| policy == name),
        (Some(_), None) => false,
    });
    let rules = rules.map(|(index, config)| Rule {
        index,
        config: config.clone(),
    });
    rules.collect()
}

impl Policy {
    /// Returns the size from which any table, and any index, is looked at: the least of all rules.
    pub fn least_sizes(&self) -> (ByteSize, ByteSize) {
        let rules = self.rules.iter().map(|rule| &rule.config);
        let (tables, indexes): (Vec<_>, Vec<_>) = rules
            .map(|rule| (rule.table.minimum_size, rule.index.minimum_size))
            .unzip();
        let least = |base: ByteSize, written: Vec<Option<pawang_config::Size>>| {
            let written = written.into_iter().flatten().map(|size| size.0);
            written.fold(base, ByteSize::min)
        };
        (
            least(self.base.table_size_min, tables),
            least(self.base.index_size_min, indexes),
        )
    }
}

impl Rule {
    /// Says whether the rule is about a table, named as `schema.table`.
    pub fn covers(&self, database: &str, table: &str) -> bool {
        self.covers_database(database) && matches(&self.config.pattern, table)
    }

    /// Says whether the rule is about tables of a database.
    pub fn covers_database(&self, database: &str) -> bool {
        let wanted = self.config.database.as_deref();
        wanted.is_none_or(|pattern| matches(pattern, database))
    }
}

fn set<T: Copy>(value: &mut T, written: Option<T>) {
    if let Some(written) = written {
        *value = written;
    }
}

impl Settings {
    fn change(&mut self, vacuum: &VacuumConfig, analyze: &AnalyzeConfig) {
        set(&mut self.dead_percent, vacuum.dead_percent);
        set(&mut self.dead_rows_min, vacuum.dead_rows_min);
        set(&mut self.freeze_age_percent, vacuum.freeze_age_percent);
        self.pace.cost_delay_ms = vacuum.cost_delay_ms.or(self.pace.cost_delay_ms);
        self.pace.cost_limit = vacuum.cost_limit.or(self.pace.cost_limit);
        set(&mut self.modified_percent, analyze.modified_percent);
        set(&mut self.modified_rows_min, analyze.modified_rows_min);
    }

    fn change_relations(
        &mut self,
        index: &IndexConfig,
        table: &TableConfig,
        partitions: &PartitionsConfig,
    ) {
        set(&mut self.index_bloat_percent, index.bloat_percent);
        set(
            &mut self.index_size_min,
            index.minimum_size.map(|size| size.0),
        );
        set(&mut self.table_free_percent, table.free_percent);
        set(
            &mut self.table_size_min,
            table.minimum_size.map(|size| size.0),
        );
        set(&mut self.rewrite, table.method);
        set(&mut self.partitions_ahead, partitions.ahead);
        set(&mut self.partitions_keep_min, partitions.keep_at_least);
        let period = |written: Option<pawang_config::Period>, now| written.map(|p| p.0).or(now);
        self.partitions_keep = period(partitions.keep, self.partitions_keep);
        self.partitions_drop_after = period(partitions.drop_after, self.partitions_drop_after);
        self.compress_after = period(partitions.compress_after, self.compress_after);
    }
}

impl FromIterator<Area> for Areas {
    fn from_iter<I: IntoIterator<Item = Area>>(areas: I) -> Areas {
        Areas(areas.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> MaintenanceConfig {
        pawang_config::parse(text, "test.toml").unwrap().maintenance
    }

    #[test]
    fn later_rules_win_key_by_key_and_only_where_they_match() {
        let config = config(
            "[maintenance.policy.nightly]\nvacuum = { dead_percent = 15 }\nlanes = 3\n\
             [[maintenance.rule]]\nmatch = 'dw.*'\nvacuum = { dead_percent = 10, cost_limit = 500 }\n\
             [[maintenance.rule]]\nmatch = 'dw.fact_*'\ndatabase = 'sales'\nvacuum = { dead_percent = 5 }\n\
             [[maintenance.rule]]\nmatch = 'dw.log'\npolicies = ['nightly']\nskip = true\n",
        );
        let policy = Policy::named("nightly", &config).unwrap();
        assert_eq!(
            (policy.lanes, policy.areas.contains(Area::Tuning)),
            (3, false)
        );
        for (database, table, dead, skip) in [
            ("sales", "public.t", 15.0, false),
            ("sales", "dw.t", 10.0, false),
            ("sales", "dw.fact_1", 5.0, false),
            ("other", "dw.fact_1", 10.0, false),
            ("sales", "dw.log", 10.0, true),
        ] {
            let settings = policy.settings(database, table);
            assert_eq!(
                (settings.dead_percent, settings.skip),
                (dead, skip),
                "{table}"
            );
        }
        assert_eq!(
            policy.settings("sales", "dw.fact_1").pace.cost_limit,
            Some(500)
        );
        let unnamed = Policy::unnamed(&config);
        assert!(
            !unnamed.settings("sales", "dw.log").skip,
            "that rule is for \"nightly\" only"
        );
        assert_eq!(unnamed.settings("sales", "dw.log").dead_percent, 10.0);
        assert_eq!(Policy::named("weekly", &config), None);
    }

    #[test]
    fn the_least_size_of_all_rules_is_looked_at() {
        let rules = "[[maintenance.rule]]\nmatch = '*'\nindex = { minimum_size = '64kB' }\n\
             [[maintenance.rule]]\nmatch = 'dw.*'\nindex = { minimum_size = '9GB' }\n";
        let policy = Policy::unnamed(&config(rules));
        let expected = (policy.base.table_size_min, ByteSize(64 << 10));
        assert_eq!(policy.least_sizes(), expected);
    }
}
