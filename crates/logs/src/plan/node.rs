//! A plan as data: what EXPLAIN says, with the words of its JSON format, whatever format it came in.
//!
//! What only some formats say is left out: zero counters, `Inner Unique`, an alias that is the relation's name.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What EXPLAIN or auto_explain says of one statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The statement, which only auto_explain tells.
    pub query: Option<String>,
    /// Its parameters, which only auto_explain tells.
    pub parameters: Option<String>,
    /// Query identifier; 0 when not said.
    pub query_id: i64,
    /// The node that returns the rows.
    pub root: Node,
    /// Settings that differ from their defaults.
    pub settings: BTreeMap<String, String>,
    /// Milliseconds of planning.
    pub planning_time: Option<f64>,
    /// Milliseconds of execution; with auto_explain, its duration.
    pub execution_time: Option<f64>,
    /// Buffers that planning touched.
    pub planning_buffers: Buffers,
    /// Kilobytes of memory that planning used and allocated.
    pub planning_memory: Option<(u64, u64)>,
    /// What sending the result took.
    pub serialization: Option<Serialization>,
    /// Triggers that fired.
    pub triggers: Vec<Trigger>,
    /// Just-in-time compilation.
    pub jit: Option<Jit>,
    /// How many plans followed the first, for rules that make several statements of one.
    pub more: u32,
}

/// One step of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// `Node Type` of JSON: `Seq Scan`, `Aggregate`, `ModifyTable`.
    pub kind: String,
    /// What a ModifyTable or a Foreign Scan does: `Insert`, `Update`, `Delete`, `Merge`.
    pub operation: Option<String>,
    /// How an Aggregate or a SetOp does it: `Sorted`, `Hashed`, `Mixed`; none for a plain one.
    pub strategy: Option<String>,
    /// `Partial` or `Finalize` of a parallel aggregate.
    pub partial: Option<String>,
    /// `Except`, `Except All`, `Intersect`, `Intersect All` of a SetOp.
    pub command: Option<String>,
    /// `Inner`, `Left`, `Semi`, ... of a join.
    pub join: Option<String>,
    /// The provider of a Custom Scan.
    pub provider: Option<String>,
    /// Workers share its work.
    pub parallel: bool,
    /// It can run beside its siblings.
    pub asynchronous: bool,
    /// The index is read backward.
    pub backward: bool,
    /// What it is to its parent.
    pub relationship: Relationship,
    /// `InitPlan 1`, `SubPlan 2`, `CTE name`.
    pub subplan: Option<String>,
    /// Schema of the relation; only VERBOSE tells.
    pub schema: Option<String>,
    /// The table, function, or CTE that it reads or changes; its alias when it has no name.
    pub relation: Option<String>,
    /// The alias, when it differs from the relation.
    pub alias: Option<String>,
    /// The index.
    pub index: Option<String>,
    /// What the planner thought; none with COSTS off.
    pub estimate: Option<Estimate>,
    /// What happened; none without ANALYZE.
    pub actual: Option<Actual>,
    /// Conditions, keys and all else that the other fields do not tell, by its name in EXPLAIN.
    pub details: BTreeMap<String, String>,
    /// Rows per loop that were read and thrown away.
    pub removed: Removed,
    /// How it sorted.
    pub sort: Option<Sort>,
    /// The presorted groups of an incremental sort, then those sorted in full.
    pub sort_groups: Vec<SortGroups>,
    /// The table of a Hash, or of a hashed aggregate.
    pub hash: Option<HashTable>,
    /// The cache of a Memoize.
    pub cache: Option<Cache>,
    /// Where a Materialize, CTE, window or the like kept its rows: `Memory` or `Disk`, and the most kilobytes.
    pub storage: Option<(String, u64)>,
    /// Blocks that a bitmap told exactly.
    pub exact_blocks: u64,
    /// Blocks that a bitmap told without the rows in them.
    pub lossy_blocks: u64,
    /// Rows of an Index Only Scan that had to be looked up in the table.
    pub heap_fetches: Option<f64>,
    /// How often an index was searched, since PostgreSQL 18.
    pub index_searches: Option<u64>,
    /// Partitions that were left out when the execution began.
    pub subplans_removed: u64,
    /// An `enable_` setting forbids the node, and the planner found no other way.
    pub disabled: bool,
    /// Workers that the planner wanted.
    pub workers_planned: Option<u64>,
    /// Workers that there were.
    pub workers_launched: Option<u64>,
    /// What each worker did.
    pub workers: Vec<Worker>,
    /// Blocks that it and its children touched.
    pub buffers: Buffers,
    /// WAL that it and its children wrote.
    pub wal: Wal,
    /// Relations that a ModifyTable changes, where they are not the one that it names.
    pub targets: Vec<String>,
    /// Its children, in the order of EXPLAIN.
    pub children: Vec<Node>,
}

/// What a node is to its parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Relationship {
    /// It has no parent.
    #[default]
    Root,
    /// The first input.
    Outer,
    /// The second input of a join.
    Inner,
    /// One of the inputs of an Append or the like.
    Member,
    /// The query of a Subquery Scan.
    Subquery,
    /// Runs at most once, and when it is first needed.
    InitPlan,
    /// Runs for each row of its parent, or once into a hash table.
    SubPlan,
    /// Anything else.
    Other,
}

/// What the planner thought of one loop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Cost before the first row.
    pub startup_cost: f64,
    /// Cost of all rows.
    pub total_cost: f64,
    /// Rows.
    pub rows: f64,
    /// Bytes per row.
    pub width: u64,
}

/// What happened, as the mean of all loops.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Actual {
    /// Milliseconds to the first and to the last row; none with TIMING off or when it never ran.
    pub time: Option<(f64, f64)>,
    /// Rows.
    pub rows: f64,
    /// How often it ran; 0 for never.
    pub loops: f64,
}

/// Rows per loop that were read and thrown away.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Removed {
    /// By the filter.
    pub filter: f64,
    /// By the filter of a join.
    pub join_filter: f64,
    /// By the recheck of a lossy index.
    pub recheck: f64,
}

/// How rows were sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sort {
    /// `quicksort`, `top-N heapsort`, `external merge`, `external sort`, `still in progress`.
    pub method: String,
    /// Kilobytes.
    pub space: u64,
    /// They are kilobytes of files.
    pub disk: bool,
}

/// The groups of an incremental sort.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SortGroups {
    /// Sorted by the remaining keys only.
    pub presorted: bool,
    /// How many.
    pub count: u64,
    /// Methods, joined with a comma.
    pub methods: String,
    /// Kilobytes of memory of the largest group.
    pub memory: u64,
    /// Kilobytes of files of the largest group.
    pub disk: u64,
}

/// A hash table, of a join or of an aggregate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HashTable {
    /// Buckets.
    pub buckets: u64,
    /// Buckets at first.
    pub original_buckets: u64,
    /// Batches; more than one means files.
    pub batches: u64,
    /// Batches at first.
    pub original_batches: u64,
    /// Partitions that the planner of a hashed aggregate expected.
    pub planned_partitions: u64,
    /// Most kilobytes of memory.
    pub memory: u64,
    /// Kilobytes of files.
    pub disk: u64,
}

/// The cache of a Memoize.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cache {
    /// Lookups that found their key.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Keys thrown out for lack of memory.
    pub evictions: u64,
    /// Keys whose rows did not fit at all.
    pub overflows: u64,
    /// Most kilobytes of memory.
    pub memory: u64,
}

/// What one worker did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worker {
    /// Its number, from 0.
    pub number: u64,
    /// Its rows, loops and time.
    pub actual: Option<Actual>,
    /// How it sorted.
    pub sort: Option<Sort>,
    /// Its hash table.
    pub hash: Option<HashTable>,
    /// Its cache.
    pub cache: Option<Cache>,
    /// Its blocks.
    pub buffers: Buffers,
}

/// Blocks, and milliseconds of waiting for them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Buffers {
    /// Found in shared buffers.
    pub shared_hit: u64,
    /// Read into shared buffers.
    pub shared_read: u64,
    /// Changed for the first time since a checkpoint or their last writing.
    pub shared_dirtied: u64,
    /// Written by the statement itself.
    pub shared_written: u64,
    /// The same of temporary tables.
    pub local_hit: u64,
    /// The same of temporary tables.
    pub local_read: u64,
    /// The same of temporary tables.
    pub local_dirtied: u64,
    /// The same of temporary tables.
    pub local_written: u64,
    /// Read from temporary files.
    pub temp_read: u64,
    /// Written to temporary files.
    pub temp_written: u64,
    /// Milliseconds of reading relations.
    pub read_time: f64,
    /// Milliseconds of writing relations.
    pub write_time: f64,
    /// Milliseconds of reading temporary files.
    pub temp_read_time: f64,
    /// Milliseconds of writing temporary files.
    pub temp_write_time: f64,
}

/// Write-ahead log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wal {
    /// Records.
    pub records: u64,
    /// Full page images.
    pub fpi: u64,
    /// Bytes.
    pub bytes: u64,
    /// How often the buffers were full, since PostgreSQL 18.
    pub buffers_full: u64,
}

/// What sending the result took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Serialization {
    /// Milliseconds.
    pub time: Option<f64>,
    /// Kilobytes.
    pub output: u64,
    /// `text` or `binary`.
    pub format: String,
}

/// A trigger that fired.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trigger {
    /// Its name; empty when the text tells its constraint only.
    pub name: String,
    /// The constraint that it enforces.
    pub constraint: Option<String>,
    /// Its relation.
    pub relation: Option<String>,
    /// Milliseconds.
    pub time: Option<f64>,
    /// Calls.
    pub calls: f64,
}

/// Just-in-time compilation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Jit {
    /// Functions compiled.
    pub functions: u64,
    /// Calls were inlined.
    pub inlining: bool,
    /// The expensive optimisations ran.
    pub optimization: bool,
    /// Expressions were compiled.
    pub expressions: bool,
    /// Taking rows apart was compiled.
    pub deforming: bool,
    /// Milliseconds of all phases.
    pub total: Option<f64>,
}

impl Node {
    /// Returns its name as EXPLAIN's text has it: `Parallel Hash Left Join`, `Index Scan using orders_pkey on orders o`.
    pub fn title(&self) -> String {
        let mut title = self.name();
        if self.backward {
            title.push_str(" Backward");
        }
        match (&self.index, self.kind.as_str()) {
            (Some(index), "Bitmap Index Scan") => _ = write!(title, " on {index}"),
            (Some(index), _) => _ = write!(title, " using {index}"),
            (None, _) => {}
        }
        if let Some(relation) = &self.relation {
            _ = write!(title, " on {relation}");
            if let Some(alias) = &self.alias {
                _ = write!(title, " {alias}");
            }
        }
        title
    }

    /// Returns its name without what it reads.
    pub fn name(&self) -> String {
        let mut name = String::new();
        if self.parallel {
            name.push_str("Parallel ");
        }
        if self.asynchronous {
            name.push_str("Async ");
        }
        if let Some(partial) = &self.partial {
            name.push_str(partial);
            name.push(' ');
        }
        let strategy = self.strategy.as_deref();
        match self.kind.as_str() {
            "Aggregate" => name.push_str(match strategy {
                Some("Sorted") => "GroupAggregate",
                Some("Hashed") => "HashAggregate",
                Some("Mixed") => "MixedAggregate",
                _ => "Aggregate",
            }),
            "SetOp" => {
                if strategy == Some("Hashed") {
                    name.push_str("Hash");
                }
                name.push_str("SetOp");
                if let Some(command) = &self.command {
                    _ = write!(name, " {command}");
                }
            }
            "ModifyTable" => name.push_str(self.operation.as_deref().unwrap_or("ModifyTable")),
            "Foreign Scan" if self.operation.is_some() => {
                _ = write!(
                    name,
                    "Foreign {}",
                    self.operation.as_deref().unwrap_or_default()
                );
            }
            kind => self.push_join(&mut name, kind),
        }
        if let Some(provider) = &self.provider {
            _ = write!(name, " ({provider})");
        }
        name
    }

    fn push_join(&self, name: &mut String, kind: &str) {
        match self.join.as_deref() {
            None | Some("Inner") => name.push_str(kind),
            Some(join) => {
                let stem = kind.strip_suffix(" Join").unwrap_or(kind);
                _ = write!(name, "{stem} {join} Join");
            }
        }
    }

    /// Tells whether it joins two inputs.
    pub fn joins(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "Nested Loop" | "Hash Join" | "Merge Join"
        )
    }

    /// Returns how often it ran; 0 without ANALYZE.
    pub fn loops(&self) -> f64 {
        self.actual.map_or(0.0, |actual| actual.loops)
    }

    /// Returns all rows of all loops; 0 without ANALYZE.
    pub fn rows(&self) -> f64 {
        self.actual.map_or(0.0, |actual| actual.rows * actual.loops)
    }

    /// Returns one of its details, such as `Filter`.
    pub fn detail(&self, key: &str) -> Option<&str> {
        self.details.get(key).map(String::as_str)
    }
}

impl Plan {
    /// Tells whether the statement ran (ANALYZE), so that there are actual numbers.
    pub fn analyzed(&self) -> bool {
        self.root.actual.is_some()
    }
}
