//! A review in Markdown and in HTML; what servers and people wrote is escaped here and nowhere else.

use std::fmt::Write;

use maud::{DOCTYPE, Markup, PreEscaped, html as page};

use super::review::{Block, Review};
use crate::template::one_line;

const CSS: &str = "\
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums; max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 1.5rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); padding: .2rem .5rem; overflow-wrap: anywhere; }
blockquote { border-left: .3rem solid var(--line); margin: .5rem 0; padding: 0 .75rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.tasks { list-style: '\\2610\\20'; }";

/// Returns Markdown for a ticket or a wiki.
pub(super) fn markdown(review: &Review) -> String {
    let mut out = format!("# {}\n", escape(&review.title));
    for section in &review.sections {
        let _ = writeln!(out, "\n## {}\n", section.heading);
        for (index, block) in section.blocks.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            block_as_markdown(&mut out, block);
        }
    }
    out
}

fn block_as_markdown(out: &mut String, block: &Block) {
    match block {
        Block::Text(text) => {
            let _ = writeln!(out, "{}", escape(text));
        }
        Block::Quote(text) => {
            for line in text.lines() {
                let _ = writeln!(out, "{}", format!("> {}", escape(line)).trim_end());
            }
        }
        Block::List(items) => {
            for item in items {
                let _ = writeln!(out, "- {}", escape(item));
            }
        }
        Block::Tasks(items) => {
            for item in items {
                let _ = writeln!(out, "- [ ] {}", escape(item));
            }
        }
        Block::Table(head, rows) => {
            let _ = writeln!(out, "| {} |", head.join(" | "));
            let _ = writeln!(out, "|{}", "---|".repeat(head.len()));
            for row in rows {
                let cells: Vec<String> = row.iter().map(|cell| escape(cell)).collect();
                let _ = writeln!(out, "| {} |", cells.join(" | "));
            }
        }
    }
}

/// Makes text safe in Markdown: one line, no markup, no HTML.
fn escape(text: &str) -> String {
    let line = one_line(text);
    let line = line.trim();
    let mut safe = String::with_capacity(line.len());
    for (index, c) in line.char_indices() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '!' => {
                safe.push('\\');
                safe.push(c);
            }
            // At the begin of a line they would make a list or a rule.
            '-' | '+' | '=' if index == 0 => {
                safe.push('\\');
                safe.push(c);
            }
            _ => safe.push(c),
        }
    }
    safe
}

/// Returns a page without any other file.
pub(super) fn html(review: &Review) -> String {
    let page = page! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (one_line(&review.title)) }
                style { (PreEscaped(CSS)) }
            }
            body {
                h1 { (one_line(&review.title)) }
                @for section in &review.sections {
                    h2 { (section.heading) }
                    @for block in &section.blocks { (block_as_html(block)) }
                }
            }
        }
    };
    page.into_string()
}

fn block_as_html(block: &Block) -> Markup {
    page! {
        @match block {
            Block::Text(text) => p { (one_line(text)) },
            Block::Quote(text) => blockquote {
                @for line in text.lines() { (one_line(line)) "\n" }
            },
            Block::List(items) => ul { @for item in items { li { (one_line(item)) } } },
            Block::Tasks(items) => ul.tasks { @for item in items { li { (one_line(item)) } } },
            Block::Table(head, rows) => div.wide { table {
                thead { tr { @for name in head { th scope="col" { (name) } } } }
                tbody { @for row in rows { tr { @for cell in row { td { (one_line(cell)) } } } } }
            } },
        }
    }
}
