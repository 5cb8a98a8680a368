//! Where a person is, and what keys do.

use pawang_core::Timestamp;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::memory::{Memory, Seen};
use crate::screen::Screen;

/// Characters of a filter or command.
const INPUT_CHARACTERS_MAX: usize = 60;
/// No detail is longer.
const SCROLL_LINES_MAX: isize = 10_000;
/// Lines that one page key moves.
const PAGE_LINES: usize = 15;

/// Whether the dashboard goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It goes on.
    Stay,
    /// The person leaves it.
    Leave,
}

/// What is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// `/`: only lines with this word.
    Filter,
    /// `:`: the name of a screen.
    Command,
}

/// Where a person is.
pub(crate) struct State {
    /// The screen.
    pub screen: Screen,
    /// The instance that screens other than the fleet show.
    pub instance: Option<String>,
    /// Only lines with this word.
    pub filter: String,
    /// The column that sorts; `None` is the screen's own order.
    pub sort: Option<usize>,
    /// Whether the order is turned around.
    pub reverse: bool,
    /// The line of the cursor.
    pub cursor: usize,
    /// The key of that line, so that the cursor follows it through refreshes.
    pub cursor_key: Option<String>,
    /// Whether the details of that line are shown.
    pub detail: bool,
    /// Lines scrolled in the details.
    pub scroll: u16,
    /// Whether the keys are shown.
    pub help: bool,
    /// Whether new facts are held back.
    pub paused: bool,
    /// What is being typed, and into what.
    pub input: Option<(Input, String)>,
    /// A sentence for the footer, until the next key.
    pub message: Option<String>,
    /// How many lines and columns were drawn last.
    pub drawn: (usize, usize),
    second: i64,
}

impl State {
    /// Begins with an instance, or with the fleet.
    pub(crate) fn new(instance: Option<String>) -> State {
        State {
            screen: if instance.is_some() {
                Screen::Activity
            } else {
                Screen::Fleet
            },
            instance,
            filter: String::new(),
            sort: None,
            reverse: false,
            cursor: 0,
            cursor_key: None,
            detail: false,
            scroll: 0,
            help: false,
            paused: false,
            input: None,
            message: None,
            drawn: (0, 0),
            second: 0,
        }
    }

    /// Chooses an instance when there is only one, and leaves one that is gone.
    pub(crate) fn settle(&mut self, memory: &Memory) {
        let gone = |name: &String| memory.instance(name).is_none();
        if let Some(name) = self.instance.take_if(|name| gone(name)) {
            self.go(Screen::Fleet);
            self.message = Some(format!("\"{name}\" is no longer looked after"));
        }
        if let ([only], None) = (memory.instances(), &self.instance) {
            self.instance = Some(only.present.instance.name.clone());
            if self.screen == Screen::Fleet {
                self.go(Screen::Activity);
            }
        }
    }

    /// Says whether the clock shows another second than when it was asked last.
    pub(crate) fn clock_moved(&mut self, now: Timestamp) -> bool {
        let moved = now.as_second() != self.second;
        self.second = now.as_second();
        moved
    }

    /// Returns the chosen instance.
    pub(crate) fn seen<'a>(&self, memory: &'a Memory) -> Option<&'a Seen> {
        memory.instance(self.instance.as_deref()?)
    }

    /// Does what a key says.
    pub(crate) fn press(&mut self, key: KeyEvent, memory: &Memory) -> Flow {
        self.message = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Flow::Leave;
        }
        if let Some((input, text)) = self.input.take() {
            self.type_on(input, text, key.code);
            return Flow::Stay;
        }
        if self.help {
            self.help = false;
            return Flow::Stay;
        }
        match key.code {
            KeyCode::Char('q') => return Flow::Leave,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('/') => self.input = Some((Input::Filter, self.filter.clone())),
            KeyCode::Char(':') => self.input = Some((Input::Command, String::new())),
            KeyCode::Char(' ') => self.paused = !self.paused,
            KeyCode::Esc => return self.back(),
            KeyCode::Enter => self.enter(),
            KeyCode::Char('s') => self.sort_next(),
            KeyCode::Char('r') => self.reverse = !self.reverse,
            KeyCode::Char('n') => self.next_instance(memory, 1),
            KeyCode::Char('p') => self.next_instance(memory, -1),
            KeyCode::Char(digit @ '1'..='9') => self.choose(digit),
            KeyCode::Tab => self.go(self.screen.next()),
            code => self.step(code),
        }
        Flow::Stay
    }

    fn step(&mut self, code: KeyCode) {
        let lines = match code {
            KeyCode::Char('j') | KeyCode::Down => 1,
            KeyCode::Char('k') | KeyCode::Up => -1,
            KeyCode::PageDown => PAGE_LINES.cast_signed(),
            KeyCode::PageUp => -PAGE_LINES.cast_signed(),
            KeyCode::Home | KeyCode::Char('g') => isize::MIN,
            KeyCode::End | KeyCode::Char('G') => isize::MAX,
            _ => return,
        };
        if self.detail {
            let scroll = isize::try_from(self.scroll).unwrap_or(0);
            let moved = scroll.saturating_add(lines).clamp(0, SCROLL_LINES_MAX);
            self.scroll = u16::try_from(moved).unwrap_or(0);
            return;
        }
        let last = self.drawn.0.saturating_sub(1).cast_signed();
        let moved = self.cursor.cast_signed().saturating_add(lines);
        self.cursor = moved.clamp(0, last).unsigned_abs();
        self.cursor_key = None;
    }

    fn type_on(&mut self, input: Input, mut text: String, code: KeyCode) {
        match code {
            KeyCode::Enter if input == Input::Command => return self.command(&text),
            KeyCode::Enter => return,
            KeyCode::Esc => {
                if input == Input::Filter {
                    self.filter.clear();
                }
                return;
            }
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char(c) if text.chars().count() < INPUT_CHARACTERS_MAX => text.push(c),
            _ => {}
        }
        if input == Input::Filter {
            self.filter.clone_from(&text);
            self.cursor = 0;
            self.cursor_key = None;
        }
        self.input = Some((input, text));
    }

    fn command(&mut self, text: &str) {
        let text = text.trim();
        match Screen::ALL.iter().find(|screen| screen.answers_to(text)) {
            Some(screen) => self.go(*screen),
            None => {
                let names = Screen::ALL.map(|screen| screen.command());
                self.message = Some(format!(
                    "there is no screen \"{text}\": {}",
                    names.join(" ")
                ));
            }
        }
    }

    fn choose(&mut self, digit: char) {
        let index = digit
            .to_digit(10)
            .and_then(|digit| usize::try_from(digit).ok());
        let screen = index.and_then(|index| Screen::ALL.get(index - 1));
        if let Some(screen) = screen {
            self.go(*screen);
        }
    }

    /// Goes to another screen.
    fn go(&mut self, screen: Screen) {
        self.screen = screen;
        self.filter.clear();
        (self.sort, self.reverse) = (None, false);
        (self.cursor, self.cursor_key) = (0, None);
        (self.detail, self.scroll) = (false, 0);
    }

    fn enter(&mut self) {
        match (self.screen, &self.cursor_key) {
            (Screen::Fleet, Some(name)) => {
                self.instance = Some(name.clone());
                self.go(Screen::Findings);
            }
            _ => {
                self.detail = self.drawn.0 > 0 && !self.detail;
                self.scroll = 0;
            }
        }
    }

    fn back(&mut self) -> Flow {
        if self.detail {
            self.detail = false;
        } else if !self.filter.is_empty() {
            self.filter.clear();
        } else if self.screen != Screen::Fleet {
            self.go(Screen::Fleet);
        }
        Flow::Stay
    }

    fn sort_next(&mut self) {
        let next = self.sort.map_or(0, |column| column + 1);
        self.sort = (next < self.drawn.1).then_some(next);
    }

    fn next_instance(&mut self, memory: &Memory, step: isize) {
        let names: Vec<&String> = memory
            .instances()
            .iter()
            .map(|seen| &seen.present.instance.name)
            .collect();
        if names.is_empty() {
            return;
        }
        let here = names
            .iter()
            .position(|name| Some(*name) == self.instance.as_ref());
        let here = here.unwrap_or(0).cast_signed();
        let next = (here + step).rem_euclid(names.len().cast_signed());
        self.instance = Some(names[next.unsigned_abs()].clone());
        (self.cursor, self.cursor_key, self.detail) = (0, None, false);
        if self.screen == Screen::Fleet {
            self.go(Screen::Activity);
        }
    }
}
