//! From tables to the terminal: header, body, footer; 80 columns and 24 lines are enough.

use pawang_core::{Level, Outcome, Timestamp};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Clear, Paragraph, Row, Table, TableState, Wrap};

use crate::memory::{Memory, Seen};
use crate::screen::{Screen, glyph};
use crate::state::{Input, State};
use crate::table::Table as Content;
use crate::words::{age, line};

/// Facts older than this are said to be old.
const STALE_SECONDS: i64 = 60;

const HELP: [(&str, &str); 13] = [
    ("1..8  Tab", "screens, by number or the next"),
    (
        ":name",
        "a screen by name: :fleet :find :act :blk :wait :query :table :repl",
    ),
    (
        "j k  arrows",
        "move the cursor; PageUp, PageDown, g, G jump",
    ),
    (
        "Enter",
        "details of the line; of the fleet: go to the instance",
    ),
    ("Esc", "back: details, filter, fleet"),
    ("/", "only lines with a word"),
    ("s", "sort by the next column"),
    ("r", "turn the order around"),
    ("n p", "next or previous instance"),
    ("Space", "hold the picture still"),
    ("?", "these keys"),
    ("q  Ctrl-C", "leave"),
    ("", "nothing here changes a server"),
];

/// Draws everything.
pub(crate) fn draw(
    frame: &mut Frame<'_>,
    state: &mut State,
    memory: &Memory,
    source: &str,
    now: Timestamp,
) {
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ]);
    let [header, tabs, body, footer] = areas.areas(frame.area());
    frame.render_widget(header_line(state, memory, source, now), header);
    frame.render_widget(tab_line(state), tabs);
    let mut content = state.screen.table(state.seen(memory), memory, now);
    content.filter(&state.filter);
    if let Some(column) = state.sort {
        content.sort(column, state.reverse);
    } else if state.reverse {
        content.lines.reverse();
    }
    follow(state, &content);
    if state.detail {
        details(frame, state, &content, body);
    } else {
        table(frame, state, &content, body);
    }
    frame.render_widget(footer_line(state), footer);
    if state.help {
        help(frame, body);
    }
}

/// Keeps the cursor on the line it was on, wherever that went.
fn follow(state: &mut State, content: &Content) {
    let key = state.cursor_key.as_ref();
    let found = key.and_then(|key| content.lines.iter().position(|line| line.key == *key));
    let last = content.lines.len().saturating_sub(1);
    state.cursor = found.unwrap_or(state.cursor).min(last);
    if state.detail && key.is_some() && found.is_none() {
        state.detail = false;
        state.message = Some("the line that was shown is gone".to_owned());
    }
    state.cursor_key = content.lines.get(state.cursor).map(|line| line.key.clone());
    state.drawn = (content.lines.len(), content.headings.len());
}

fn header_line<'a>(
    state: &State,
    memory: &Memory,
    source: &'a str,
    now: Timestamp,
) -> Paragraph<'a> {
    let mut spans = vec![Span::styled(
        "pawang ",
        Style::new().add_modifier(Modifier::BOLD),
    )];
    match state.seen(memory) {
        Some(seen) if state.screen != Screen::Fleet => spans.extend(instance_spans(seen, now)),
        _ => spans.push(Span::raw(format!(
            "{} instances  ",
            memory.instances().len()
        ))),
    }
    let place = if state.paused { "held  " } else { "" };
    spans.push(Span::styled(
        format!("{place}{source}"),
        Style::new().fg(Color::DarkGray),
    ));
    Paragraph::new(Line::from(spans))
}

fn instance_spans(seen: &Seen, now: Timestamp) -> Vec<Span<'static>> {
    let present = &seen.present;
    let mut spans = vec![Span::styled(
        format!("{}  ", line(&present.instance.name)),
        Style::new().add_modifier(Modifier::BOLD),
    )];
    match &present.facts.server {
        Ok(server) => {
            let role = match server.role {
                pawang_core::Role::Primary => "primary",
                pawang_core::Role::Standby => "standby",
            };
            spans.push(Span::raw(format!("{} {role}  ", server.short_version())));
        }
        Err(blind) => spans.push(Span::styled(
            format!("!! {}  ", line(&blind.sentence())),
            style(Some(Level::Critical)),
        )),
    }
    if let Some(evaluation) = &present.evaluation {
        for (level, word) in [
            (Level::Critical, "act now"),
            (Level::Warning, "today"),
            (Level::Unknown, "not seen"),
        ] {
            let count = evaluation.count(level);
            if count > 0 {
                let text = format!("{} {count} {word}  ", glyph(level));
                spans.push(Span::styled(text, style(Some(level))));
            }
        }
        let judged =
            |v: &&pawang_core::Verdict| v.outcome == Outcome::Judged && v.level == Level::Ok;
        let ok = evaluation.verdicts.iter().filter(judged).count();
        spans.push(Span::raw(format!("{ok} ok  ")));
    }
    let old = now.duration_since(present.facts.at).as_secs() > STALE_SECONDS;
    let seen_at = format!("seen {} ago  ", age(present.facts.at, now));
    let level = if old { Some(Level::Warning) } else { None };
    spans.push(Span::styled(seen_at, style(level)));
    spans
}

fn tab_line(state: &State) -> Paragraph<'static> {
    let mut spans = Vec::new();
    for (index, screen) in Screen::ALL.iter().enumerate() {
        let text = format!("{} {}", index + 1, screen.title());
        let style = if *screen == state.screen {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new().fg(Color::DarkGray)
        };
        spans.push(Span::styled(text, style));
        spans.push(Span::raw(" "));
    }
    Paragraph::new(Line::from(spans))
}

fn table(frame: &mut Frame<'_>, state: &State, content: &Content, area: Rect) {
    let notes = u16::try_from(content.notes.len())
        .unwrap_or(0)
        .min(area.height / 2);
    let [above, below] =
        Layout::vertical([Constraint::Length(notes), Constraint::Min(1)]).areas(area);
    let lines: Vec<Line<'_>> = content
        .notes
        .iter()
        .map(|note| Line::raw(line(note)))
        .collect();
    frame.render_widget(Paragraph::new(lines), above);
    if content.lines.is_empty() {
        let empty = Paragraph::new(content.empty.clone()).wrap(Wrap { trim: true });
        frame.render_widget(empty, below);
        return;
    }
    let aligned = |text: String, right: bool| {
        let line = Line::raw(text);
        Cell::new(if right { line.right_aligned() } else { line })
    };
    let headings = content.headings.iter().enumerate().map(|(index, heading)| {
        let mark = match state.sort {
            Some(column) if column == index => {
                if state.reverse {
                    "^"
                } else {
                    "v"
                }
            }
            _ => "",
        };
        aligned(format!("{}{mark}", heading.name), heading.right)
    });
    let rows = content.lines.iter().map(|entry| {
        let cells = entry.cells.iter().zip(&content.headings);
        let cells = cells.map(|(cell, heading)| aligned(line_or_indent(&cell.text), heading.right));
        Row::new(cells).style(style(entry.level))
    });
    let widths = content.headings.iter().map(|heading| match heading.width {
        0 => Constraint::Fill(1),
        width => Constraint::Length(width),
    });
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let table = Table::new(rows, widths)
        .header(Row::new(headings).style(bold))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut cursor = TableState::new().with_selected(Some(state.cursor));
    frame.render_stateful_widget(table, below, &mut cursor);
}

/// Returns a cell on one line, with the blanks before it: they are the depth of a tree.
fn line_or_indent(text: &str) -> String {
    let indent = text.len() - text.trim_start_matches(' ').len();
    format!("{}{}", &text[..indent], line(text))
}

fn details(frame: &mut Frame<'_>, state: &State, content: &Content, area: Rect) {
    let Some(entry) = content.lines.get(state.cursor) else {
        return;
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut lines = Vec::new();
    for (name, text) in &entry.detail {
        lines.push(Line::styled(line(name), bold));
        lines.extend(
            text.lines()
                .map(|part| Line::raw(format!("  {}", line(part)))),
        );
    }
    let text = Paragraph::new(lines).wrap(Wrap { trim: false });
    frame.render_widget(text.scroll((state.scroll, 0)), area);
}

fn footer_line(state: &State) -> Paragraph<'static> {
    let text = match (&state.input, &state.message) {
        (Some((Input::Filter, text)), _) => format!("/{text}_   Enter keep   Esc clear"),
        (Some((Input::Command, text)), _) => format!(":{text}_   Enter go   Esc stay"),
        (None, Some(message)) => line(message),
        (None, None) if state.detail => "j k scroll   Esc back   q leave".to_owned(),
        (None, None) => {
            let filter = if state.filter.is_empty() {
                String::new()
            } else {
                format!("filter \"{}\"   ", state.filter)
            };
            format!(
                "{filter}? keys   / filter   : screen   s sort   Enter details   n next   q leave"
            )
        }
    };
    Paragraph::new(text).style(Style::new().fg(Color::DarkGray))
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let lines: Vec<Line<'_>> = HELP
        .iter()
        .map(|(keys, what)| Line::raw(format!(" {keys:<12} {what} ")))
        .collect();
    let height = u16::try_from(lines.len()).unwrap_or(0).min(area.height);
    let area = Rect { height, ..area };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines), area);
}

fn style(level: Option<Level>) -> Style {
    match level {
        Some(Level::Critical) => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        Some(Level::Warning) => Style::new().fg(Color::Yellow),
        Some(Level::Unknown) => Style::new().fg(Color::Magenta),
        Some(Level::Info) => Style::new().fg(Color::Cyan),
        Some(Level::Ok) | None => Style::new(),
    }
}
