//! EXPLAIN's text format, read to the tree that its JSON format would be.

use serde_json::{Map, Value};

use super::Error;
use super::build::{MAX_DEPTH, MAX_NODES};
use super::header;
use super::property::{self, property};

type Fields = Map<String, Value>;

/// A node whose lines are being read.
struct Open {
    /// Column of its name.
    column: usize,
    fields: Fields,
    children: Vec<Value>,
    /// The worker whose lines are being read, and the column of its first.
    worker: Option<(usize, Fields)>,
    workers: Vec<Value>,
    /// The key of the line before, for texts that go on in the next line.
    last: Option<String>,
    /// Lines deeper than this are about the compilation of one worker.
    skip: Option<usize>,
}

/// What the lines after the tree are about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    None,
    Planning,
    Jit,
    Serialization,
}

/// Reads the lines of a plan.
pub(super) fn read(text: &str) -> Result<(Fields, u32), Error> {
    let lines: Vec<&str> = text.lines().collect();
    let mut top = Fields::new();
    let start = preamble(&lines, &mut top)?;
    let base = indent(lines[start]);
    let mut reader = Reader {
        base,
        stack: Vec::new(),
        label: None,
        top,
        section: Section::None,
        nodes: 0,
        more: 0,
        root: None,
    };
    reader.open(lines[start].trim(), 0, start)?;
    for number in start + 1..lines.len() {
        let next = lines.get(number + 1).copied();
        if !reader.line(lines[number], next, number)? {
            reader.more = count_roots(&lines[number..], base);
            break;
        }
    }
    reader.close_to(0);
    let root = reader.root.take().ok_or(Error::NoPlan)?;
    reader.top.insert("Plan".to_owned(), root);
    Ok((reader.top, reader.more))
}

/// Counts the plans that follow.
fn count_roots(lines: &[&str], base: usize) -> u32 {
    let roots = lines
        .iter()
        .filter(|line| indent(line) == base && has_numbers(line));
    u32::try_from(roots.count()).unwrap_or(u32::MAX)
}

/// Reads what auto_explain prints before the plan; returns the line of the plan's root.
fn preamble(lines: &[&str], top: &mut Fields) -> Result<usize, Error> {
    let first = lines
        .iter()
        .position(|line| !line.trim().is_empty())
        .ok_or(Error::Empty)?;
    if !lines[first].trim_start().starts_with("Query Text:") {
        return if header::is_node(lines[first].trim()) {
            Ok(first)
        } else {
            Err(Error::line(
                first,
                "a node such as \"Seq Scan on orders  (cost=...)\"",
                lines[first],
            ))
        };
    }
    let root = (first + 1..lines.len()).find(|number| {
        !lines[*number].trim_start().starts_with("->") && has_numbers(lines[*number])
    });
    let root =
        root.ok_or_else(|| Error::line(lines.len() - 1, "a plan after \"Query Text:\"", ""))?;
    let parameters =
        (first + 1..root).rfind(|number| lines[*number].starts_with("Query Parameters: "));
    let query = lines[first..parameters.unwrap_or(root)].join("\n");
    let query = query
        .trim_start()
        .trim_start_matches("Query Text:")
        .trim_start();
    top.insert("Query Text".to_owned(), query.into());
    if let Some(parameters) = parameters {
        let parameters = lines[parameters..root].join("\n");
        let parameters = parameters.trim_start_matches("Query Parameters: ");
        top.insert("Query Parameters".to_owned(), parameters.into());
    }
    Ok(root)
}

/// Tells whether a line ends as that of a node does.
fn has_numbers(line: &str) -> bool {
    let line = line.trim_end();
    line.ends_with(')')
        && (line.contains("  (cost=") || line.contains(" (actual "))
        && header::is_node(line.trim_start())
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

struct Reader {
    base: usize,
    stack: Vec<Open>,
    /// The name of the subplan whose root comes next.
    label: Option<String>,
    top: Fields,
    section: Section,
    nodes: usize,
    more: u32,
    root: Option<Value>,
}

impl Reader {
    /// Reads one line; returns whether the plan goes on.
    fn line(&mut self, line: &str, next: Option<&str>, number: usize) -> Result<bool, Error> {
        if self.continues(line) {
            return Ok(true);
        }
        let content = line.trim();
        if content.is_empty() {
            return Ok(true);
        }
        let column = indent(line).saturating_sub(self.base);
        if let Some(node) = content.strip_prefix("->") {
            let padding = node.len() - node.trim_start().len();
            self.close_to(column + 1);
            self.open(node.trim(), column + 2 + padding, number)?;
            return Ok(true);
        }
        if column == 0 {
            if self.root.is_some() && has_numbers(line) {
                return Ok(false);
            }
            self.close_to(0);
            return if self.top_line(content) {
                Ok(true)
            } else if has_numbers(line) {
                Ok(false)
            } else {
                Err(Error::line(
                    number,
                    "a node, or a line such as \"Planning Time: 0.1 ms\"",
                    content,
                ))
            };
        }
        if self.section != Section::None {
            self.section_line(content);
            return Ok(true);
        }
        if next.is_some_and(|next| {
            next.trim_start().starts_with("->") && indent(next).saturating_sub(self.base) > column
        }) && property::split(content).is_none()
        {
            self.close_to(column);
            self.label = Some(content.to_owned());
            return Ok(true);
        }
        self.node_line(content, column, number)?;
        Ok(true)
    }

    /// Adds a line to the text of the line before, when a constant in it goes on.
    fn continues(&mut self, line: &str) -> bool {
        let Some(open) = self.stack.last_mut() else {
            return false;
        };
        let Some(Value::String(text)) = open.last.as_ref().and_then(|key| open.fields.get_mut(key))
        else {
            return false;
        };
        if !unclosed(text) {
            open.last = None;
            return false;
        }
        text.push('\n');
        text.push_str(line);
        true
    }

    fn open(&mut self, content: &str, column: usize, number: usize) -> Result<(), Error> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || self.stack.len() > MAX_DEPTH {
            return Err(Error::TooLarge);
        }
        let Some(mut fields) = header::read(content) else {
            return Err(Error::line(
                number,
                "the numbers of a node such as \"(cost=0.00..1.01 rows=1 width=4)\"",
                content,
            ));
        };
        let relationship = self.relationship();
        if let Some(relationship) = relationship {
            fields.insert("Parent Relationship".to_owned(), relationship.into());
        }
        if let Some(label) = self.label.take() {
            fields.insert("Subplan Name".to_owned(), label.into());
        }
        self.stack.push(Open {
            column,
            fields,
            children: Vec::new(),
            worker: None,
            workers: Vec::new(),
            last: None,
            skip: None,
        });
        Ok(())
    }

    /// Tells what the node to be opened is to the one on top.
    fn relationship(&self) -> Option<&'static str> {
        let parent = self.stack.last()?;
        if let Some(label) = &self.label {
            let once = label.starts_with("InitPlan") || label.starts_with("CTE ");
            return Some(if once { "InitPlan" } else { "SubPlan" });
        }
        let kind = parent.fields.get("Node Type").and_then(Value::as_str);
        match kind.unwrap_or_default() {
            "Append" | "Merge Append" | "BitmapAnd" | "BitmapOr" => return Some("Member"),
            "Subquery Scan" => return Some("Subquery"),
            _ => {}
        }
        let inputs = parent
            .children
            .iter()
            .filter(|child| child["Parent Relationship"] == "Outer");
        Some(if inputs.count() == 0 {
            "Outer"
        } else {
            "Inner"
        })
    }

    /// Closes the nodes whose names are at a column or right of it.
    fn close_to(&mut self, column: usize) {
        while self.stack.last().is_some_and(|open| open.column >= column) {
            let Some(mut open) = self.stack.pop() else {
                return;
            };
            open.flush_worker();
            if !open.workers.is_empty() {
                open.fields
                    .insert("Workers".to_owned(), open.workers.into());
            }
            if !open.children.is_empty() {
                open.fields.insert("Plans".to_owned(), open.children.into());
            }
            let value = Value::Object(open.fields);
            match self.stack.last_mut() {
                Some(parent) => parent.children.push(value),
                None if self.root.is_none() => self.root = Some(value),
                None => {}
            }
        }
    }

    fn node_line(&mut self, content: &str, column: usize, number: usize) -> Result<(), Error> {
        self.close_to(column + 1);
        let Some(open) = self.stack.last_mut() else {
            return Err(Error::line(number, "a node before its details", content));
        };
        open.line(content, column)
            .ok_or_else(|| Error::line(number, "a detail such as \"Filter: (a = 1)\"", content))
    }

    /// Reads a line that is about the whole plan; returns whether it was one.
    fn top_line(&mut self, content: &str) -> bool {
        self.section = Section::None;
        let Some((key, value)) = property::split(content) else {
            return rows_line(content);
        };
        match key {
            "Planning" => self.section = Section::Planning,
            "JIT" => self.section = Section::Jit,
            "Serialization" => {
                self.section = Section::Serialization;
                let fields = property::group(&mut self.top, "Serialization");
                property::serialization(fields, value);
            }
            "Planning Time" | "Execution Time" | "Total runtime" => {
                let key = if key == "Total runtime" {
                    "Execution Time"
                } else {
                    key
                };
                self.top.insert(key.to_owned(), property::number(value));
            }
            "Planning time" | "Execution time" => {
                let key = key.replace('t', "T").replace("ExecuTion", "Execution");
                self.top.insert(key, property::number(value));
            }
            "Settings" => {
                let fields = property::group(&mut self.top, "Settings");
                property::settings(fields, value);
            }
            key if key.starts_with("Trigger ") => {
                let trigger = property::trigger(key, value);
                if let Value::Array(triggers) = self
                    .top
                    .entry("Triggers")
                    .or_insert_with(|| Value::Array(Vec::new()))
                {
                    triggers.push(trigger);
                }
            }
            key => _ = self.top.insert(key.to_owned(), value.into()),
        }
        true
    }

    fn section_line(&mut self, content: &str) {
        let Some((key, value)) = property::split(content) else {
            return;
        };
        match self.section {
            Section::Planning => property(property::group(&mut self.top, "Planning"), key, value),
            Section::Serialization => {
                property(property::group(&mut self.top, "Serialization"), key, value)
            }
            Section::Jit => property::jit(property::group(&mut self.top, "JIT"), key, value),
            Section::None => {}
        }
    }
}

impl Open {
    fn flush_worker(&mut self) {
        if let Some((_, worker)) = self.worker.take() {
            self.workers.push(Value::Object(worker));
        }
    }

    fn line(&mut self, content: &str, column: usize) -> Option<()> {
        if self.skip.is_some_and(|skip| column > skip) {
            return Some(());
        }
        self.skip = None;
        if let Some((first, worker)) = &mut self.worker
            && column > *first
        {
            let (key, value) = property::split(content)?;
            property(worker, key, value);
            return Some(());
        }
        self.flush_worker();
        let Some((key, value)) = property::split(content) else {
            return self.target(content);
        };
        if key.starts_with("JIT") {
            self.skip = Some(column);
        } else if let Some(worker) = key.strip_prefix("Worker ") {
            let mut fields = Fields::new();
            fields.insert(
                "Worker Number".to_owned(),
                worker.parse::<u64>().ok()?.into(),
            );
            property::worker(&mut fields, value);
            self.worker = Some((column, fields));
        } else {
            property(&mut self.fields, key, value);
            self.last = unclosed(value).then(|| key.to_owned());
        }
        Some(())
    }

    /// Reads a relation that a ModifyTable changes: `Update on public.events_202402 events_1`.
    fn target(&mut self, content: &str) -> Option<()> {
        if !self.fields.contains_key("Operation") {
            return None;
        }
        let (_, relation) = content.split_once(" on ")?;
        let target = header::target(relation);
        if let Value::Array(targets) = self
            .fields
            .entry("Target Tables")
            .or_insert_with(|| Value::Array(Vec::new()))
        {
            targets.push(Value::Object(target));
        }
        Some(())
    }
}

/// Tells whether a constant of a text goes on in the next line.
fn unclosed(text: &str) -> bool {
    let mut inside = None;
    for byte in text.bytes() {
        match (inside, byte) {
            (None, b'\'' | b'"') => inside = Some(byte),
            (Some(quote), byte) if quote == byte => inside = None,
            _ => {}
        }
    }
    inside == Some(b'\'')
}

/// Tells whether a line is psql's count of rows, in any language.
pub(super) fn rows_line(content: &str) -> bool {
    let inner = content
        .strip_prefix('(')
        .and_then(|content| content.strip_suffix(')'));
    inner.is_some_and(|inner| inner.starts_with(|first: char| first.is_ascii_digit()))
}
