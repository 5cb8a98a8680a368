//! Marks on backups: holds, which keep them, and tombs, which say that they are to be deleted.

use jiff::Timestamp;
use pawang_core::{Kind, Report};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{BackupId, ClusterId, Repository};
use crate::Error;

/// A backup must be kept, whatever the policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// [`super::FORMAT`].
    pub format: u32,
    /// Which.
    pub backup: BackupId,
    /// Who wants it.
    pub by: String,
    /// What for.
    pub why: String,
    /// Since when.
    pub at: Timestamp,
    /// Until when; without it until it is taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A backup is to be deleted once the grace is over, unless something changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tomb {
    /// [`super::FORMAT`].
    pub format: u32,
    /// Which.
    pub backup: BackupId,
    /// When that was decided, by the clock of who decided.
    pub at: Timestamp,
    /// Why, as it was told.
    pub why: Vec<String>,
    /// When the store took the tomb, by its clock: the grace counts from here.
    #[serde(skip)]
    pub laid_at: Timestamp,
}

impl Repository {
    /// Holds a backup.
    ///
    /// # Errors
    /// It is held already, for another reason; it does not exist; or the store refused.
    pub async fn hold(&self, cluster: &ClusterId, hold: &Hold) -> Result<(), Error> {
        let id = &hold.backup;
        if self.commit(cluster, id).await?.is_none() {
            let report = Report::new(Kind::Usage, format!("backup \"{id}\" does not exist"))
                .with_hint("pawang backup list");
            return Err(Error::Refused(Box::new(report)));
        }
        match self.create_json(&cluster.hold(id), hold).await {
            Err(Error::Exists { .. }) => {
                let there: Option<Hold> = self.read_json(&cluster.hold(id)).await?;
                let held = there.map_or_else(String::new, |there| {
                    format!("by {}: {}", there.by, there.why)
                });
                let report = Report::new(Kind::Refused, format!("backup \"{id}\" is held already"))
                    .with_detail(held)
                    .with_hint(format!("pawang backup unhold {id}"));
                Err(Error::Refused(Box::new(report)))
            }
            other => other.map(drop),
        }
    }

    /// Takes a hold away, and says whether there was one.
    ///
    /// # Errors
    /// The store refused.
    pub async fn unhold(&self, cluster: &ClusterId, id: &BackupId) -> Result<bool, Error> {
        let hold = cluster.hold(id);
        let was_held = self.read(&hold).await?.is_some();
        self.delete(&hold).await.map(|()| was_held)
    }

    /// Returns the holds of a cluster, also those whose time is over.
    ///
    /// # Errors
    /// The store could not say, or a hold cannot be read.
    pub async fn holds(&self, cluster: &ClusterId) -> Result<Vec<Hold>, Error> {
        let marks = self.marks(&cluster.holds()).await?;
        Ok(marks.into_iter().map(|(hold, _)| hold).collect())
    }

    /// Lays a tomb; one that lies there already stays as it is.
    ///
    /// # Errors
    /// The store refused.
    pub async fn lay_tomb(&self, cluster: &ClusterId, tomb: &Tomb) -> Result<(), Error> {
        match self.create_json(&cluster.tomb(&tomb.backup), tomb).await {
            Err(Error::Exists { .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Takes a tomb away; that there is none is no mistake.
    ///
    /// # Errors
    /// The store refused.
    pub async fn lift_tomb(&self, cluster: &ClusterId, id: &BackupId) -> Result<(), Error> {
        self.delete(&cluster.tomb(id)).await
    }

    /// Returns the tombs of a cluster.
    ///
    /// # Errors
    /// The store could not say, or a tomb cannot be read.
    pub async fn tombs(&self, cluster: &ClusterId) -> Result<Vec<Tomb>, Error> {
        let marks = self.marks(&cluster.tombs()).await?;
        let laid = |(tomb, laid_at): (Tomb, Timestamp)| Tomb { laid_at, ..tomb };
        Ok(marks.into_iter().map(laid).collect())
    }

    /// Reads all objects in JSON of a folder, by path, with the store's time of each.
    pub(super) async fn marks<T: DeserializeOwned>(
        &self,
        folder: &str,
    ) -> Result<Vec<(T, Timestamp)>, Error> {
        let mut entries = self.list(folder).await?;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let mut marks = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some(mark) = self.read_json(&entry.path).await? {
                marks.push((mark, entry.modified));
            }
        }
        Ok(marks)
    }
}
