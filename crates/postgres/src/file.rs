//! Reading small files with a bound.

use std::io::Read;
use std::path::Path;

use crate::Error;

/// Reads a file of at most `bytes_max` bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let attempt = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(bytes_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            let message = format!("it is larger than {bytes_max} bytes");
            return Err(std::io::Error::new(
                std::io::ErrorKind::FileTooLarge,
                message,
            ));
        }
        Ok(bytes)
    };
    attempt().map_err(|source| Error::File {
        path: path.to_path_buf(),
        source,
    })
}

/// Reads a text file of at most `bytes_max` bytes.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> Result<String, Error> {
    String::from_utf8(read(path, bytes_max)?).map_err(|error| Error::File {
        path: path.to_path_buf(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error()),
    })
}
