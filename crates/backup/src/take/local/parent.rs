//! The backup that one from files can stand on: pages say since when they changed, and not all of them can be believed.

use std::io;

use tokio::task::spawn_blocking;

use super::super::preflight::Known;
use super::super::{TakeRequest, parent};
use super::list::{FileList, RELATION_FILES};
use super::place::Place;
use crate::Error;
use crate::repository::Commit;

/// Chooses the newest backup to stand on, with its files, or says why there is none.
///
/// # Errors
/// The repository could not be read.
pub(crate) async fn choose(
    request: &TakeRequest,
    known: &Known,
    place: &Place,
) -> Result<Result<(Commit, FileList), String>, Error> {
    let unfit = |commit: &Commit| {
        if commit.relation_files.is_none() {
            Some("was not read from files")
        } else if commit.mode != place.files.mode() {
            // What makes a file the same one is another thing over SQL.
            Some("was read from files in another way")
        } else if commit.pages.wrong > 0 {
            Some("has wrong pages")
        } else {
            None
        }
    };
    let commit = match parent::newest(request, known, unfit).await? {
        Ok(commit) => commit,
        Err(why) => return Ok(Err(why)),
    };
    let list = read(request, &commit).await?;
    // Without either, a page is marked as visible to all without that its position moves, while the visibility map that comes
    // whole says so: later changes would then not be seen by scans of indexes.
    let trusted = known.data_checksums || (place.hints.logged && list.hints == place.hints);
    Ok(if !trusted {
        Err("without data checksums, \"wal_log_hints\" must be on since the server started, and was not".to_owned())
    } else if list.is_empty() {
        Err("the file system does not say when files were made".to_owned())
    } else {
        Ok((commit, list))
    })
}

async fn read(request: &TakeRequest, commit: &Commit) -> Result<FileList, Error> {
    let path = commit.data_path(RELATION_FILES);
    let object = commit.relation_files.as_ref().expect("it was asked for");
    let stored = request
        .repository
        .open_data(&path, object.bytes, &object.sha256);
    let read = spawn_blocking(move || FileList::read(stored)).await;
    let read = read.map_err(io::Error::other).flatten();
    read.map_err(|error| Error::Format {
        object: path,
        place: request.repository.place().to_owned(),
        problem: error.to_string(),
    })
}
