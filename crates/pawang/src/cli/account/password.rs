//! Asks for a password without showing it.

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::path::Path;

use pawang_core::{Kind, Report, Secret};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Shortest password that is taken.
const CHARACTERS_MIN: usize = 8;
/// Longest password that the dashboard's form takes.
const BYTES_MAX: usize = 1_024;
/// How often two different words are typed before the command gives up.
const ATTEMPTS_MAX: usize = 3;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const DELETE: u8 = 127;

/// Reads the first line of a file, or of standard input for `-`.
///
/// # Errors
/// The file cannot be read, or its first line is too short or too long.
pub(super) fn from_file(path: &Path) -> Result<Secret<String>, Report> {
    let bytes = BYTES_MAX as u64 + 2;
    let mut line = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(bytes).read_line(&mut line)
    } else {
        File::open(path)
            .and_then(|file| std::io::BufReader::new(file.take(bytes)).read_line(&mut line))
    };
    read.map_err(|error| {
        let what = format!("could not read password file \"{}\"", path.display());
        Report::new(Kind::Usage, what).with_detail(error.to_string())
    })?;
    let password = line.trim_end_matches(['\n', '\r']).to_owned();
    match refusal(&password) {
        Some(why) => Err(Report::new(Kind::Usage, why)),
        None => Ok(Secret::new(password)),
    }
}

/// Asks the terminal twice; `None` when the person interrupts.
///
/// # Errors
/// There is no terminal, or the person typed nothing that can be taken.
pub(super) fn from_terminal(name: &str) -> Result<Option<Secret<String>>, Report> {
    let terminal = File::options().read(true).write(true).open("/dev/tty");
    let mut terminal = terminal.map_err(|error| {
        Report::new(Kind::Usage, "there is no terminal to ask for the password")
            .with_detail(error.to_string())
            .with_hint("use --password-file FILE, or --password-file - for standard input")
    })?;
    let mut why = String::new();
    for _ in 0..ATTEMPTS_MAX {
        let asked = ask(&mut terminal, &format!("Password of {name}: "))?;
        let Some(password) = asked else {
            return Ok(None);
        };
        if let Some(refusal) = refusal(&password) {
            say(&mut terminal, &format!("{refusal}\n"))?;
            why = refusal;
            continue;
        }
        match ask(&mut terminal, "Once more: ")? {
            None => return Ok(None),
            Some(again) if again == password => return Ok(Some(Secret::new(password))),
            Some(_) => {
                "the two passwords differ".clone_into(&mut why);
                say(&mut terminal, &format!("{why}\n"))?;
            }
        }
    }
    Err(Report::new(Kind::Usage, why))
}

/// Returns why a password is not taken.
fn refusal(password: &str) -> Option<String> {
    if password.chars().count() < CHARACTERS_MIN {
        return Some(format!(
            "a password has at least {CHARACTERS_MIN} characters"
        ));
    }
    (password.len() > BYTES_MAX).then(|| format!("a password has at most {BYTES_MAX} bytes"))
}

/// Asks one question; `None` when the person interrupts.
fn ask(terminal: &mut File, question: &str) -> Result<Option<String>, Report> {
    // Silent before it asks, so that nothing typed at once is shown.
    let quiet = Quiet::begin(terminal)?;
    say(terminal, question)?;
    let line = read_line(terminal).map_err(trouble);
    drop(quiet);
    say(terminal, "\n")?;
    line?
        .map(|line| {
            String::from_utf8(line)
                .map_err(|_| Report::new(Kind::Usage, "the password is not valid UTF-8"))
        })
        .transpose()
}

fn read_line(terminal: &mut File) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut byte = [0];
    // One at a time: what is typed after the line belongs to whoever reads next.
    while terminal.read(&mut byte)? > 0 {
        match byte[0] {
            b'\n' | b'\r' => return Ok(Some(line)),
            CTRL_C => return Ok(None),
            CTRL_D => break,
            CTRL_U => line.clear(),
            BACKSPACE | DELETE => {
                // A character of several bytes goes as a whole.
                while line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
            }
            byte if line.len() <= BYTES_MAX => line.push(byte),
            _ => {}
        }
    }
    Ok((!line.is_empty()).then_some(line))
}

fn say(terminal: &mut File, text: &str) -> Result<(), Report> {
    terminal.write_all(text.as_bytes()).map_err(trouble)
}

fn trouble(error: impl std::error::Error) -> Report {
    Report::new(Kind::Usage, "could not use the terminal").with_detail(error.to_string())
}

/// A terminal that does not show what is typed; shows it again when dropped. Keys that would end the program are read
/// like others, so that it never ends before.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn begin(terminal: &File) -> Result<Quiet, Report> {
        let terminal = terminal.try_clone().map_err(trouble)?;
        let before = tcgetattr(&terminal).map_err(trouble)?;
        let mut quiet = before.clone();
        let modes = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        quiet.local_modes.remove(modes);
        tcsetattr(&terminal, OptionalActions::Flush, &quiet).map_err(trouble)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that went away cannot be made to show anything.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
