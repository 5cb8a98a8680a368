//! What a person names, as a list of things to read in the order of their content.
//!
//! It opens files to look at their beginning; reading them whole is the engine's work.

mod layers;
mod members;
mod names;
mod peek;

pub(crate) use names::stem;
pub use names::{FILES_MAX, Found, Skipped, expand};

pub(crate) use layers::{MAGIC_BYTES, compressed, is_archive, peel, refused};
pub(crate) use members::{EndSeen, Exact};
pub(crate) use peek::Peeked;

use std::io::Read;
use std::path::PathBuf;

/// One thing to read.
pub struct Input {
    /// Its name as a person would write it; `-` for standard input.
    pub name: String,
    /// Where its bytes are.
    pub from: From,
}

/// Where the bytes of an input are.
pub enum From {
    /// A file, which may turn out to be missing or not readable.
    File(PathBuf),
    /// A reader that was handed in: standard input, or a log that comes over a connection.
    Reader(Box<dyn Read + Send>),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Input")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Input {
    /// Returns the input of a file.
    pub fn file(path: impl Into<PathBuf>) -> Input {
        let path = path.into();
        Input {
            name: path.display().to_string(),
            from: From::File(path),
        }
    }

    /// Returns the input of a reader.
    pub fn reader(name: impl Into<String>, reader: Box<dyn Read + Send>) -> Input {
        Input {
            name: name.into(),
            from: From::Reader(reader),
        }
    }
}
