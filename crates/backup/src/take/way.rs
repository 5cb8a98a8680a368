//! How a backup is to be taken: by the protocol or from files, and on which one before it stands.

use pawang_core::{Kind, Report};

use super::contact::Contact;
use super::local::list::FileList;
use super::local::place::{self, Files, Place};
use super::preflight::Known;
use super::{Progress, Reading, TakeRequest, Wanted, lanes, local, parent};
use crate::Error;
use crate::repository::{Commit, Mode};

/// How a backup is taken.
pub(super) enum Way {
    /// By the protocol, on another one where the server makes increments.
    Protocol(Box<Option<Commit>>),
    /// From files, here or over SQL.
    Files(Box<FilesWay>),
}

/// A backup that is taken from files.
pub(super) struct FilesWay {
    pub(super) place: Place,
    /// What it stands on, and the files that this one had.
    pub(super) parent: Option<(Commit, FileList)>,
}

impl Way {
    /// Returns the backup that it stands on.
    pub(super) fn parent(&self) -> Option<&Commit> {
        match self {
            Way::Protocol(parent) => parent.as_ref().as_ref(),
            Way::Files(way) => way.parent.as_ref().map(|(parent, _)| parent),
        }
    }
}

/// Chooses the way: by lanes only where that is asked for, or where nothing else is possible.
///
/// # Errors
/// What is wanted, and nothing else, is not possible; or somebody could not say.
pub(super) async fn choose(
    request: &TakeRequest,
    known: &Known,
    contact: &mut Contact,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<Way, Error> {
    let replication = match contact {
        Contact::Replication(replication) if request.reading != Reading::Lanes => replication,
        Contact::Replication(_) | Contact::Sql(..) => {
            let place = lanes::find(request, known).await?;
            let place = place.map_err(|report| Error::Refused(Box::new(report)))?;
            return files(request, known, place, observe).await;
        }
    };
    let mut no_parent = None;
    if request.wanted != Wanted::Full && request.reading != Reading::Local {
        match parent::possible(request, known, replication).await? {
            Ok(parent) => {
                let why = "the server knows what changed".to_owned();
                observe(Progress::Reads(Mode::Protocol, why));
                return Ok(Way::Protocol(Box::new(Some(parent))));
            }
            Err(why) => no_parent = Some(why),
        }
    }
    let place = match request.reading {
        Reading::Protocol => Err("that was asked for".to_owned()),
        _ => place::find(request, known).await?,
    };
    match place {
        Ok(place) => files(request, known, place, observe).await,
        Err(why) if request.reading == Reading::Local => Err(refused(request, &why)),
        Err(why) => {
            observe(Progress::Reads(Mode::Protocol, why));
            if let Some(why) = no_parent {
                parent::instead(request, &why, observe)?;
            }
            Ok(Way::Protocol(Box::new(None)))
        }
    }
}

/// Returns the way from files, with what they can stand on.
async fn files(
    request: &TakeRequest,
    known: &Known,
    place: Place,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<Way, Error> {
    let from = match &place.files {
        Files::Here(root) => format!("the files in \"{}\"", root.display()),
        Files::Server(count) => format!("files over {count} SQL connections"),
    };
    observe(Progress::Reads(place.files.mode(), from));
    let parent = match request.wanted {
        Wanted::Full => None,
        Wanted::Auto | Wanted::Incremental => {
            match local::parent::choose(request, known, &place).await? {
                Ok(parent) => Some(parent),
                Err(why) => {
                    parent::instead(request, &why, observe)?;
                    None
                }
            }
        }
    };
    Ok(Way::Files(Box::new(FilesWay { place, parent })))
}

fn refused(request: &TakeRequest, why: &str) -> Error {
    let primary = format!("the files of \"{}\" cannot be read here", request.instance);
    let report = Report::new(Kind::Refused, primary)
        .with_detail(why)
        .with_hint(format!(
            "pawang backup create -i {} --mode protocol",
            request.instance
        ));
    Error::Refused(Box::new(report))
}
