//! The line of a node in the text format: `->  Index Scan using orders_pkey on orders o  (cost=...) (actual ...)`.

use serde_json::{Map, Value};

use super::property::number;

type Fields = Map<String, Value>;

/// Names of the text format; those that others begin with come after them.
const KINDS: [&str; 42] = [
    "Seq Scan",
    "Sample Scan",
    "Index Scan",
    "Index Only Scan",
    "Bitmap Index Scan",
    "Bitmap Heap Scan",
    "Tid Scan",
    "Tid Range Scan",
    "Subquery Scan",
    "Function Scan",
    "Table Function Scan",
    "Values Scan",
    "CTE Scan",
    "Named Tuplestore Scan",
    "WorkTable Scan",
    "Foreign Scan",
    "Custom Scan",
    "Nested Loop",
    "Hash Join",
    "Merge Join",
    "Hash",
    "Aggregate",
    "Append",
    "Merge Append",
    "BitmapAnd",
    "BitmapOr",
    "Gather Merge",
    "Gather",
    "Group",
    "Incremental Sort",
    "Sort",
    "Limit",
    "LockRows",
    "Materialize",
    "Memoize",
    "ProjectSet",
    "Recursive Union",
    "Result",
    "SetOp",
    "Unique",
    "WindowAgg",
    "ModifyTable",
];

/// Names of the text format that JSON tells in two fields.
const STRATEGIES: [(&str, &str, &str); 4] = [
    ("GroupAggregate", "Aggregate", "Sorted"),
    ("HashAggregate", "Aggregate", "Hashed"),
    ("MixedAggregate", "Aggregate", "Mixed"),
    ("HashSetOp", "SetOp", "Hashed"),
];

const JOINS: [&str; 8] = [
    "Left",
    "Right",
    "Full",
    "Semi",
    "Anti",
    "Right Semi",
    "Right Anti",
    "Unique Outer",
];

/// Tells whether a line begins as a node does.
pub(super) fn is_node(line: &str) -> bool {
    let (name, numbers) = cut(line);
    if !numbers.is_empty() {
        return name.starts_with(|first: char| first.is_ascii_uppercase());
    }
    // COSTS OFF leaves nothing but the name.
    let rest = ["Parallel ", "Async ", "Partial ", "Finalize "]
        .iter()
        .fold(name, |name, prefix| {
            name.strip_prefix(prefix).unwrap_or(name)
        });
    let operation = ["Insert on ", "Update on ", "Delete on ", "Merge on "];
    let strategies = STRATEGIES.iter().map(|(word, _, _)| *word);
    operation.iter().any(|word| rest.starts_with(word))
        || KINDS
            .iter()
            .copied()
            .chain(strategies)
            .chain(["Hash ", "Merge "])
            .any(|kind| {
                rest.strip_prefix(kind).is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with([' ', '(']) || kind.ends_with(' ')
                })
            })
}

/// Cuts a line into its name and its numbers.
fn cut(line: &str) -> (&str, &str) {
    let starts = [
        "  (cost=",
        "  (actual ",
        "  (never executed)",
        " (actual time=",
        " (actual rows=",
    ];
    let at = starts.iter().filter_map(|start| line.find(start)).min();
    at.map_or((line.trim_end(), ""), |at| {
        (line[..at].trim_end(), &line[at..])
    })
}

/// Reads the line of a node, without its arrow; none when its numbers are none.
pub(super) fn read(line: &str) -> Option<Fields> {
    let (name, numbers) = cut(line);
    if name.is_empty() {
        return None;
    }
    let mut fields = Fields::new();
    read_numbers(&mut fields, numbers)?;
    read_name(&mut fields, name);
    Some(fields)
}

fn read_numbers(fields: &mut Fields, numbers: &str) -> Option<()> {
    for part in numbers.split('(').skip(1) {
        let part = part.split(')').next().unwrap_or_default();
        if part == "never executed" {
            set(fields, "Actual Rows", 0.into());
            set(fields, "Actual Loops", 0.into());
            continue;
        }
        let (actual, part) = part
            .strip_prefix("actual ")
            .map_or((false, part), |part| (true, part));
        for pair in part.split(' ') {
            let (key, value) = pair.split_once('=')?;
            let range = value.split_once("..");
            match (key, range) {
                ("cost", Some((first, last))) => {
                    set(fields, "Startup Cost", number(first));
                    set(fields, "Total Cost", number(last));
                }
                ("time", Some((first, last))) => {
                    set(fields, "Actual Startup Time", number(first));
                    set(fields, "Actual Total Time", number(last));
                }
                ("rows", None) => set(
                    fields,
                    if actual { "Actual Rows" } else { "Plan Rows" },
                    number(value),
                ),
                ("width", None) => set(fields, "Plan Width", number(value)),
                ("loops", None) => set(fields, "Actual Loops", number(value)),
                _ => return None,
            }
        }
    }
    Some(())
}

/// Reads `time=1.2..3.4 rows=5 loops=1` of a worker.
pub(super) fn actual(fields: &mut Fields, text: &str) {
    // What cannot be read leaves the worker without numbers.
    _ = read_numbers(fields, &format!("({text})"));
}

fn set(fields: &mut Fields, key: &str, value: Value) {
    fields.insert(key.to_owned(), value);
}

fn read_name(fields: &mut Fields, name: &str) {
    let mut rest = name;
    for (prefix, key) in [("Parallel ", "Parallel Aware"), ("Async ", "Async Capable")] {
        if let Some(after) = rest.strip_prefix(prefix) {
            set(fields, key, true.into());
            rest = after;
        }
    }
    for mode in ["Partial", "Finalize"] {
        if let Some(after) = rest
            .strip_prefix(mode)
            .and_then(|rest| rest.strip_prefix(' '))
        {
            set(fields, "Partial Mode", mode.into());
            rest = after;
        }
    }
    for operation in ["Insert", "Update", "Delete", "Merge"] {
        let foreign = rest.strip_prefix("Foreign ");
        let after = foreign
            .unwrap_or(rest)
            .strip_prefix(operation)
            .and_then(|rest| rest.strip_prefix(" on "));
        if let Some(relation) = after {
            let kind = if foreign.is_some() {
                "Foreign Scan"
            } else {
                "ModifyTable"
            };
            set(fields, "Node Type", kind.into());
            set(fields, "Operation", operation.into());
            fields.extend(target(relation));
            return;
        }
    }
    if join(fields, rest) || strategy(fields, rest) {
        return;
    }
    let kind = KINDS
        .iter()
        .filter(|kind| rest.starts_with(**kind))
        .max_by_key(|kind| kind.len());
    let Some(kind) = kind else {
        set(fields, "Node Type", rest.into());
        return;
    };
    set(fields, "Node Type", (*kind).into());
    object(fields, kind, &rest[kind.len()..]);
}

/// Reads `Hash Right Join` or `Nested Loop`.
fn join(fields: &mut Fields, name: &str) -> bool {
    for kind in ["Nested Loop", "Hash Join", "Merge Join"] {
        let stem = kind.strip_suffix(" Join").unwrap_or(kind);
        let Some(rest) = name.strip_prefix(stem) else {
            continue;
        };
        let join = rest
            .strip_prefix(' ')
            .and_then(|rest| rest.strip_suffix(" Join"))
            .unwrap_or("Inner");
        if rest.is_empty() && kind == "Nested Loop" || name == kind || JOINS.contains(&join) {
            set(fields, "Node Type", kind.into());
            set(fields, "Join Type", join.into());
            return true;
        }
    }
    false
}

fn strategy(fields: &mut Fields, name: &str) -> bool {
    for (word, kind, strategy) in STRATEGIES {
        let Some(rest) = name.strip_prefix(word) else {
            continue;
        };
        set(fields, "Node Type", kind.into());
        set(fields, "Strategy", strategy.into());
        if let Some(command) = rest.strip_prefix(' ') {
            set(fields, "Command", command.into());
        }
        return true;
    }
    let command = name.strip_prefix("SetOp ");
    if let Some(command) = command {
        set(fields, "Node Type", "SetOp".into());
        set(fields, "Strategy", "Sorted".into());
        set(fields, "Command", command.into());
    }
    command.is_some()
}

/// Reads what follows the kind: ` Backward using orders_pkey on public.orders o`.
fn object(fields: &mut Fields, kind: &str, rest: &str) {
    let mut rest = rest.trim_start();
    if let Some(provider) = rest.strip_prefix('(').filter(|_| kind == "Custom Scan") {
        let (provider, after) = provider.split_once(')').unwrap_or((provider, ""));
        set(fields, "Custom Plan Provider", provider.into());
        rest = after.trim_start();
    }
    if let Some(after) = rest.strip_prefix("Backward") {
        set(fields, "Scan Direction", "Backward".into());
        rest = after.trim_start();
    }
    if let Some(after) = rest.strip_prefix("using ") {
        let (index, after) = identifier(after);
        set(fields, "Index Name", index.into());
        rest = after.trim_start();
    }
    let Some(relation) = rest.strip_prefix("on ") else {
        return;
    };
    if kind == "Bitmap Index Scan" {
        set(fields, "Index Name", identifier(relation).0.into());
        return;
    }
    let mut target = target(relation);
    if matches!(kind, "Subquery Scan" | "Values Scan")
        && let Some(alias) = target.remove("Relation Name")
    {
        target.insert("Alias".to_owned(), alias);
    }
    fields.extend(target);
}

/// Reads `public.orders o`.
pub(super) fn target(text: &str) -> Fields {
    let mut fields = Fields::new();
    let (mut name, mut rest) = identifier(text);
    if let Some(after) = rest.strip_prefix('.') {
        set(&mut fields, "Schema", name.into());
        (name, rest) = identifier(after);
    }
    let alias = rest.trim();
    let alias = if alias.is_empty() {
        name.clone()
    } else {
        identifier(alias).0
    };
    set(&mut fields, "Relation Name", name.into());
    set(&mut fields, "Alias", alias.into());
    fields
}

/// Reads an identifier, quoted or not; returns what follows.
fn identifier(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '.']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut name = String::new();
    let mut rest = quoted;
    while let Some((part, after)) = rest.split_once('"') {
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return (name, after),
        }
    }
    name.push_str(rest);
    (name, "")
}
