//! The generic tree that every format reads to, made a [`Plan`].

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Error;
use super::node::{
    Actual, Buffers, Cache, Estimate, HashTable, Jit, Node, Plan, Relationship, Removed,
    Serialization, Sort, SortGroups, Trigger, Wal, Worker,
};

/// Deepest nesting of nodes that is read.
pub(super) const MAX_DEPTH: usize = 200;
/// Most nodes of a plan that are read.
pub(super) const MAX_NODES: usize = 20_000;

/// What EXPLAIN prints in one place.
type Fields = Map<String, Value>;

/// Makes a plan of one object of EXPLAIN's JSON, or of what the other formats were read to.
pub(super) fn plan(fields: &mut Fields) -> Result<Plan, Error> {
    let Some(Value::Object(mut root)) = fields.remove("Plan") else {
        return Err(Error::NoPlan);
    };
    let mut count = 0;
    let root = node(&mut root, Relationship::Root, 0, &mut count)?;
    let planning = object(fields, "Planning").unwrap_or_default();
    let mut planning = planning;
    Ok(Plan {
        query: text(fields, "Query Text"),
        parameters: text(fields, "Query Parameters"),
        query_id: fields
            .remove("Query Identifier")
            .map_or(0, |value| integer(&value)),
        root,
        settings: object(fields, "Settings").map(settings).unwrap_or_default(),
        planning_time: float(fields, "Planning Time"),
        execution_time: float(fields, "Execution Time"),
        planning_buffers: buffers(&mut planning),
        planning_memory: count_of(&mut planning, "Memory Used")
            .zip(count_of(&mut planning, "Memory Allocated")),
        serialization: object(fields, "Serialization").map(serialization),
        triggers: list(fields, "Triggers")
            .into_iter()
            .filter_map(trigger)
            .collect(),
        jit: object(fields, "JIT").map(jit),
        more: 0,
    })
}

fn node(
    fields: &mut Fields,
    relationship: Relationship,
    depth: usize,
    count: &mut usize,
) -> Result<Node, Error> {
    *count += 1;
    if depth > MAX_DEPTH || *count > MAX_NODES {
        return Err(Error::TooLarge);
    }
    let kind = text(fields, "Node Type").ok_or(Error::NoNodeType)?;
    let mut children = Vec::new();
    for child in list(fields, "Plans") {
        if let Value::Object(mut child) = child {
            let relationship = relation_to_parent(&child);
            children.push(node(&mut child, relationship, depth + 1, count)?);
        }
    }
    let mut node = Node {
        kind,
        relationship,
        children,
        ..Node::default()
    };
    identity(&mut node, fields);
    numbers(&mut node, fields);
    node.details = details(fields);
    Ok(node)
}

fn relation_to_parent(fields: &Fields) -> Relationship {
    match fields.get("Parent Relationship").and_then(Value::as_str) {
        Some("Outer") => Relationship::Outer,
        Some("Inner") => Relationship::Inner,
        Some("Member") => Relationship::Member,
        Some("Subquery") => Relationship::Subquery,
        Some("InitPlan") => Relationship::InitPlan,
        Some("SubPlan") => Relationship::SubPlan,
        _ => Relationship::Other,
    }
}

fn identity(node: &mut Node, fields: &mut Fields) {
    let except = |value: Option<String>, usual: &str| value.filter(|value| value != usual);
    fields.remove("Parent Relationship");
    fields.remove("Inner Unique");
    node.operation = except(text(fields, "Operation"), "Select");
    node.strategy = except(text(fields, "Strategy"), "Plain");
    node.partial = except(text(fields, "Partial Mode"), "Simple");
    node.command = text(fields, "Command");
    node.join = text(fields, "Join Type");
    node.provider = text(fields, "Custom Plan Provider");
    node.parallel = flag(fields, "Parallel Aware");
    node.asynchronous = flag(fields, "Async Capable");
    node.backward = text(fields, "Scan Direction").as_deref() == Some("Backward");
    node.disabled = flag(fields, "Disabled");
    node.subplan = text(fields, "Subplan Name");
    node.schema = text(fields, "Schema");
    node.index = text(fields, "Index Name");
    let alias = text(fields, "Alias");
    for key in [
        "Relation Name",
        "CTE Name",
        "Function Name",
        "Table Function Name",
        "Tuplestore Name",
    ] {
        if let Some(name) = text(fields, key) {
            node.relation = Some(name);
        }
    }
    if node.relation.is_none() {
        node.relation = alias;
    } else if alias != node.relation {
        node.alias = alias;
    }
    for target in list(fields, "Target Tables") {
        if let Value::Object(mut target) = target {
            node.targets.extend(text(&mut target, "Relation Name"));
        }
    }
}

fn numbers(node: &mut Node, fields: &mut Fields) {
    node.estimate = float(fields, "Total Cost").map(|total_cost| Estimate {
        startup_cost: float(fields, "Startup Cost").unwrap_or_default(),
        total_cost,
        rows: float(fields, "Plan Rows").unwrap_or_default(),
        width: count_of(fields, "Plan Width").unwrap_or_default(),
    });
    node.actual = actual(fields);
    node.removed = Removed {
        filter: float(fields, "Rows Removed by Filter").unwrap_or_default(),
        join_filter: float(fields, "Rows Removed by Join Filter").unwrap_or_default(),
        recheck: float(fields, "Rows Removed by Index Recheck").unwrap_or_default(),
    };
    node.sort = sort(fields);
    for (key, presorted) in [("Full-sort Groups", false), ("Pre-sorted Groups", true)] {
        node.sort_groups
            .extend(object(fields, key).map(|groups| sort_groups(groups, presorted)));
    }
    node.hash = hash(fields);
    node.cache = cache(fields);
    let storage = text(fields, "Storage");
    let most = count_of(fields, "Maximum Storage").unwrap_or_default();
    node.storage = storage.map(|storage| (storage, most));
    node.exact_blocks = count_of(fields, "Exact Heap Blocks").unwrap_or_default();
    node.lossy_blocks = count_of(fields, "Lossy Heap Blocks").unwrap_or_default();
    node.heap_fetches = float(fields, "Heap Fetches");
    node.index_searches = count_of(fields, "Index Searches");
    node.subplans_removed = count_of(fields, "Subplans Removed").unwrap_or_default();
    node.workers_planned = count_of(fields, "Workers Planned");
    node.workers_launched = count_of(fields, "Workers Launched");
    node.buffers = buffers(fields);
    node.wal = Wal {
        records: count_of(fields, "WAL Records").unwrap_or_default(),
        fpi: count_of(fields, "WAL FPI").unwrap_or_default(),
        bytes: count_of(fields, "WAL Bytes").unwrap_or_default(),
        buffers_full: count_of(fields, "WAL Buffers Full").unwrap_or_default(),
    };
    node.workers = list(fields, "Workers")
        .into_iter()
        .filter_map(worker)
        .collect();
}

fn actual(fields: &mut Fields) -> Option<Actual> {
    let loops = float(fields, "Actual Loops")?;
    let first = float(fields, "Actual Startup Time");
    let last = float(fields, "Actual Total Time");
    Some(Actual {
        time: first.zip(last).filter(|_| loops > 0.0),
        rows: float(fields, "Actual Rows").unwrap_or_default(),
        loops,
    })
}

fn sort(fields: &mut Fields) -> Option<Sort> {
    let method = text(fields, "Sort Method")?;
    Some(Sort {
        method,
        space: count_of(fields, "Sort Space Used").unwrap_or_default(),
        disk: text(fields, "Sort Space Type").as_deref() == Some("Disk"),
    })
}

fn sort_groups(mut fields: Fields, presorted: bool) -> SortGroups {
    let mut peak = |key: &str| {
        let space = object(&mut fields, key);
        space
            .and_then(|mut space| count_of(&mut space, "Peak Sort Space Used"))
            .unwrap_or_default()
    };
    let memory = peak("Sort Space Memory");
    let disk = peak("Sort Space Disk");
    SortGroups {
        presorted,
        count: count_of(&mut fields, "Group Count").unwrap_or_default(),
        methods: fields
            .remove("Sort Methods Used")
            .map(|value| flat(&value))
            .unwrap_or_default(),
        memory,
        disk,
    }
}

fn hash(fields: &mut Fields) -> Option<HashTable> {
    let joined = count_of(fields, "Hash Batches");
    let aggregated = count_of(fields, "HashAgg Batches");
    let buckets = count_of(fields, "Hash Buckets").unwrap_or_default();
    let original_buckets = count_of(fields, "Original Hash Buckets");
    let original_batches = count_of(fields, "Original Hash Batches");
    let planned_partitions = count_of(fields, "Planned Partitions").unwrap_or_default();
    let disk = count_of(fields, "Disk Usage").unwrap_or_default();
    let batches = joined.or(aggregated).unwrap_or_default();
    if batches == 0 && planned_partitions == 0 {
        return None;
    }
    // A Memoize has a peak too, but no batches.
    Some(HashTable {
        buckets,
        original_buckets: original_buckets.unwrap_or(buckets),
        batches,
        original_batches: original_batches.unwrap_or(batches),
        planned_partitions,
        memory: count_of(fields, "Peak Memory Usage").unwrap_or_default(),
        disk,
    })
}

fn cache(fields: &mut Fields) -> Option<Cache> {
    let hits = count_of(fields, "Cache Hits").unwrap_or_default();
    let misses = count_of(fields, "Cache Misses").unwrap_or_default();
    let cache = Cache {
        hits,
        misses,
        evictions: count_of(fields, "Cache Evictions").unwrap_or_default(),
        overflows: count_of(fields, "Cache Overflows").unwrap_or_default(),
        memory: count_of(fields, "Peak Memory Usage").unwrap_or_default(),
    };
    (hits + misses > 0).then_some(cache)
}

fn worker(value: Value) -> Option<Worker> {
    let Value::Object(mut fields) = value else {
        return None;
    };
    Some(Worker {
        number: count_of(&mut fields, "Worker Number")?,
        actual: actual(&mut fields),
        sort: sort(&mut fields),
        hash: hash(&mut fields),
        cache: cache(&mut fields),
        buffers: buffers(&mut fields),
    })
}

fn buffers(fields: &mut Fields) -> Buffers {
    // The text format has few of them, and looking for all would take most of the time of a plan.
    let some = |key: &String| key.ends_with(" Blocks") || key.contains("I/O ");
    if !fields.keys().any(some) {
        return Buffers::default();
    }
    let mut times = |keys: &[&str]| -> f64 {
        let times = keys
            .iter()
            .map(|key| float(fields, key).unwrap_or_default());
        times.sum()
    };
    let read_time = times(&[
        "I/O Read Time",
        "Shared I/O Read Time",
        "Local I/O Read Time",
    ]);
    let write_time = times(&[
        "I/O Write Time",
        "Shared I/O Write Time",
        "Local I/O Write Time",
    ]);
    let temp_read_time = times(&["Temp I/O Read Time"]);
    let temp_write_time = times(&["Temp I/O Write Time"]);
    let mut blocks = |key: &str| count_of(fields, key).unwrap_or_default();
    Buffers {
        shared_hit: blocks("Shared Hit Blocks"),
        shared_read: blocks("Shared Read Blocks"),
        shared_dirtied: blocks("Shared Dirtied Blocks"),
        shared_written: blocks("Shared Written Blocks"),
        local_hit: blocks("Local Hit Blocks"),
        local_read: blocks("Local Read Blocks"),
        local_dirtied: blocks("Local Dirtied Blocks"),
        local_written: blocks("Local Written Blocks"),
        temp_read: blocks("Temp Read Blocks"),
        temp_written: blocks("Temp Written Blocks"),
        read_time,
        write_time,
        temp_read_time,
        temp_write_time,
    }
}

fn settings(fields: Fields) -> BTreeMap<String, String> {
    fields
        .into_iter()
        .map(|(key, value)| (key, flat(&value)))
        .collect()
}

fn serialization(mut fields: Fields) -> Serialization {
    Serialization {
        time: float(&mut fields, "Time"),
        output: count_of(&mut fields, "Output Volume").unwrap_or_default(),
        format: text(&mut fields, "Format").unwrap_or_default(),
    }
}

fn trigger(value: Value) -> Option<Trigger> {
    let Value::Object(mut fields) = value else {
        return None;
    };
    Some(Trigger {
        name: text(&mut fields, "Trigger Name").unwrap_or_default(),
        constraint: text(&mut fields, "Constraint Name"),
        relation: text(&mut fields, "Relation"),
        time: float(&mut fields, "Time"),
        calls: float(&mut fields, "Calls").unwrap_or_default(),
    })
}

fn jit(mut fields: Fields) -> Jit {
    let mut options = object(&mut fields, "Options").unwrap_or_default();
    let mut timing = object(&mut fields, "Timing").unwrap_or_default();
    Jit {
        functions: count_of(&mut fields, "Functions").unwrap_or_default(),
        inlining: flag(&mut options, "Inlining"),
        optimization: flag(&mut options, "Optimization"),
        expressions: flag(&mut options, "Expressions"),
        deforming: flag(&mut options, "Deforming"),
        total: float(&mut timing, "Total"),
    }
}

/// Returns what no field of a node takes, as the text format writes it.
fn details(fields: &mut Fields) -> BTreeMap<String, String> {
    let mut details = BTreeMap::new();
    grouping_sets(fields, &mut details);
    if let Some(method) = text(fields, "Sampling Method") {
        let parameters = fields
            .remove("Sampling Parameters")
            .map(|value| flat(&value));
        let seed = text(fields, "Repeatable Seed");
        let seed = seed.map(|seed| format!(" REPEATABLE ({seed})"));
        let sampling = format!(
            "{method} ({}){}",
            parameters.unwrap_or_default(),
            seed.unwrap_or_default()
        );
        details.insert("Sampling".to_owned(), sampling);
    }
    for (key, value) in std::mem::take(fields) {
        let value = flat(&value);
        if !matches!(value.as_str(), "" | "0" | "0.0" | "0.000" | "false") {
            details.insert(key, value);
        }
    }
    details
}

/// Writes grouping sets as the text format does, one after another.
fn grouping_sets(fields: &mut Fields, details: &mut BTreeMap<String, String>) {
    let mut add = |key: &str, value: String| {
        let value = if value.is_empty() {
            "()".to_owned()
        } else {
            value
        };
        let all: &mut String = details.entry(key.to_owned()).or_default();
        if !all.is_empty() {
            all.push_str("; ");
        }
        all.push_str(&value);
    };
    for set in list(fields, "Grouping Sets") {
        let Value::Object(set) = set else { continue };
        for (many, one) in [
            ("Sort Key", "Sort Key"),
            ("Group Keys", "Group Key"),
            ("Hash Keys", "Hash Key"),
        ] {
            match set.get(many) {
                Some(Value::Array(keys)) if many != one => {
                    keys.iter().for_each(|key| add(one, flat(key)));
                }
                Some(keys) => add(one, flat(keys)),
                None => {}
            }
        }
    }
}

/// Returns a value as text: lists joined with a comma, as EXPLAIN's text does.
fn flat(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => value.clone(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(flat).collect();
            values.join(", ")
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{key}: {}", flat(value)))
                .collect();
            fields.join(", ")
        }
    }
}

fn text(fields: &mut Fields, key: &str) -> Option<String> {
    match fields.remove(key)? {
        Value::String(text) => Some(text),
        value @ (Value::Number(_) | Value::Bool(_)) => Some(flat(&value)),
        _ => None,
    }
}

fn flag(fields: &mut Fields, key: &str) -> bool {
    match fields.remove(key) {
        Some(Value::Bool(value)) => value,
        Some(Value::String(value)) => value == "true",
        _ => false,
    }
}

fn float(fields: &mut Fields, key: &str) -> Option<f64> {
    let number = match fields.remove(key)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite() && *number >= 0.0)
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Number(number) => number.as_i64().unwrap_or_default(),
        Value::String(text) => text.trim().parse().unwrap_or_default(),
        _ => 0,
    }
}

fn count_of(fields: &mut Fields, key: &str) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a finite count that is not negative; what is too large becomes the largest"
    )]
    float(fields, key).map(|number| number as u64)
}

fn object(fields: &mut Fields, key: &str) -> Option<Fields> {
    match fields.remove(key)? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn list(fields: &mut Fields, key: &str) -> Vec<Value> {
    match fields.remove(key) {
        Some(Value::Array(values)) => values,
        _ => Vec::new(),
    }
}
