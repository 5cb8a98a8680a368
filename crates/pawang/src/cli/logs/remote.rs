//! The server's log over its own connection, without superuser and without a shell: through one function that hands out pieces of
//! files of the log directory and nothing else. Its text is [`HELPER`]; an administrator creates it once.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use pawang_core::{Kind, Report, Value};
use pawang_postgres::{Session, Target};

/// Creates the function. `pg_read_binary_file` itself would let the role read every file of the data directory, password hashes
/// among them; this one takes the plain name of a file that `pg_ls_logdir()` lists.
pub(super) const HELPER: &str = "\
CREATE FUNCTION public.pawang_read_log(name text, start bigint, most integer) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_ls_logdir() AS file WHERE file.name = pawang_read_log.name) THEN
        RAISE EXCEPTION 'no such file in the log directory';
    END IF;
    RETURN encode(pg_read_binary_file(current_setting('log_directory') || '/' || name, start, least(most, 1048576)), 'hex');
END $$;
REVOKE ALL ON FUNCTION public.pawang_read_log(text, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.pawang_read_log(text, bigint, integer) TO {role};
";
/// Bytes of one piece; larger ones are slower.
const PIECE_BYTES: u64 = 1 << 20;
/// Pieces that wait for the parser.
const PIECES_MAX: usize = 4;
/// Files that are listed.
const FILES: &str = "\
SELECT name, size FROM pg_catalog.pg_ls_logdir() ORDER BY modification, name";

/// A file of the server's log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Its plain name.
    pub(super) name: String,
    /// Its size when it was listed.
    pub(super) size: u64,
}

/// Lists the log directory, the oldest file first.
///
/// # Errors
/// The server does not answer, or the role may not.
pub(super) async fn list(session: &Session) -> Result<Vec<RemoteFile>, Report> {
    let rows = session.read(FILES).await.map_err(|error| error.report())?;
    let file = |row: &Vec<Value>| {
        let size = match row.get(1) {
            Some(Value::Int(size)) => u64::try_from(*size).ok()?,
            _ => return None,
        };
        Some(RemoteFile {
            name: row.first()?.as_text()?.to_owned(),
            size,
        })
    };
    Ok(rows.rows.iter().filter_map(file).collect())
}

/// The bytes of one file, fetched piece by piece in a thread while they are read; never more than the size that was listed.
pub(super) struct RemoteRead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    position: usize,
    thread: Option<JoinHandle<()>>,
}

impl RemoteRead {
    /// Begins to fetch from a position.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn start(target: Target, file: RemoteFile, from: u64) -> Result<RemoteRead, Report> {
        let (sender, pieces) = sync_channel(PIECES_MAX);
        let thread = std::thread::Builder::new()
            .name("remote log".to_owned())
            .spawn(move || fetch_all(&target, &file, from, &sender))
            .map_err(|error| {
                Report::new(Kind::Refused, "could not start to fetch the log").with_detail(error.to_string())
            })?;
        Ok(RemoteRead {
            pieces,
            piece: Vec::new(),
            position: 0,
            thread: Some(thread),
        })
    }
}

impl Read for RemoteRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.piece.len() {
            match self.pieces.recv() {
                Ok(piece) => self.piece = piece?,
                Err(_) => return Ok(0),
            }
            self.position = 0;
        }
        let rest = &self.piece[self.position..];
        let taken = rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&rest[..taken]);
        self.position += taken;
        Ok(taken)
    }
}

impl Drop for RemoteRead {
    fn drop(&mut self) {
        // Whoever fetches notices at its next piece that nobody takes it.
        let (_, nobody) = sync_channel(1);
        self.pieces = nobody;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn fetch_all(target: &Target, file: &RemoteFile, from: u64, sender: &SyncSender<io::Result<Vec<u8>>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(fetch(target, file, from, sender)),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = result {
        // A reader that went away needs no reason.
        let _ = sender.send(Err(io::Error::other(why)));
    }
}

async fn fetch(
    target: &Target,
    file: &RemoteFile,
    from: u64,
    sender: &SyncSender<io::Result<Vec<u8>>>,
) -> Result<(), String> {
    let session = Session::connect(target, "logs").await.map_err(|error| error.line())?;
    let name = file.name.replace('\'', "''");
    let mut position = from;
    while position < file.size {
        let most = PIECE_BYTES.min(file.size - position);
        let sql = format!("SELECT public.pawang_read_log('{name}', {position}, {most})");
        let rows = session.read(&sql).await.map_err(|error| error.line())?;
        let text = rows.rows.first().and_then(|row| row.first()).and_then(Value::as_text);
        let bytes = decoded(text.unwrap_or_default()).ok_or("the server sent no hexadecimal digits")?;
        if bytes.is_empty() {
            return Err(format!("\"{}\" became shorter while it was read", file.name));
        }
        position += bytes.len() as u64;
        if sender.send(Ok(bytes)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Returns the bytes of hexadecimal digits.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_bytes() {
        assert_eq!(decoded("00ff0a"), Some(vec![0, 255, 10]));
        assert_eq!(decoded(""), Some(Vec::new()));
        assert_eq!(decoded("0"), None);
        assert_eq!(decoded("0g"), None);
    }
}
