//! The end of a program that was started, and what it said last.

use std::io;
use std::process::ExitStatus;

use tokio::io::AsyncReadExt;
use tokio::process::Child;

/// So much of the end of what a program says is told.
const WORDS_BYTES_MAX: usize = 4 << 10;

/// Waits for a program's end; returns how it ended, and the end of what it wrote to its standard error if that is a pipe.
///
/// # Errors
/// The pipe cannot be read, or the program cannot be waited for.
pub(crate) async fn last_words(child: &mut Child) -> io::Result<(ExitStatus, String)> {
    let mut last = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        let mut buffer = [0; WORDS_BYTES_MAX];
        loop {
            let read = stderr.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            last.extend_from_slice(&buffer[..read]);
            last.drain(..last.len().saturating_sub(WORDS_BYTES_MAX));
        }
    }
    let status = child.wait().await?;
    Ok((status, String::from_utf8_lossy(&last).trim().to_owned()))
}
