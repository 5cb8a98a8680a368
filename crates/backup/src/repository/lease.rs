//! Leases: who works in a repository now, so that two do not do the same, and nobody deletes what another reads.
//!
//! A lease in force is the newest generation of its name. Only one who wants it can create a generation; only its owner writes
//! it again. Whether it ran out is judged by the store's clock alone: what the store says of a fresh object against what it
//! says of the lease.

use jiff::{SignedDuration, Timestamp};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt, PutPayload};
use pawang_core::{Kind, Report};
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::{BackupId, ClusterId, Created, Entry, FORMAT, Repository};
use crate::Error;

/// So often somebody else may be faster than us.
const RACES_MAX: usize = 8;

/// Who holds something, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseFacts {
    /// [`FORMAT`].
    pub format: u32,
    /// What is held: small letters, digits and dashes.
    pub name: String,
    /// A random word that is the owner's alone.
    pub owner: String,
    /// The owner's machine: a word that no other boot and no other space of process numbers has, since a process that is
    /// gone there holds nothing any more.
    pub host: String,
    /// The owner's process there.
    pub pid: u32,
    /// What it does, in words.
    pub doing: String,
    /// The backups that must stay meanwhile.
    #[serde(default)]
    pub backups: Vec<BackupId>,
    /// When it was taken, by the owner's clock.
    pub taken_at: Timestamp,
    /// When it was renewed, by the owner's clock.
    pub renewed_at: Timestamp,
    /// For how long it holds after each renewal.
    pub lasts_seconds: u32,
    /// Whether the owner gave it back.
    #[serde(default)]
    pub released: bool,
}

/// A lease that is ours until it runs out; whoever works for long renews it.
#[derive(Debug)]
pub struct Lease {
    repository: Repository,
    cluster: ClusterId,
    /// What it says.
    pub facts: LeaseFacts,
    generation: u32,
    /// Whether nobody else can want this name.
    own_name: bool,
}

/// Whose a lease is.
#[derive(Debug)]
pub enum Held {
    /// Ours.
    Ours(Lease),
    /// Somebody else's, and it holds still.
    Other(LeaseFacts),
}

impl LeaseFacts {
    /// Returns what a lease says, of one who takes it now.
    pub fn new(name: &str, owner: &str, lasts_seconds: u32, now: Timestamp) -> LeaseFacts {
        LeaseFacts {
            format: FORMAT,
            name: name.to_owned(),
            owner: owner.to_owned(),
            host: String::new(),
            pid: 0,
            doing: String::new(),
            backups: Vec::new(),
            taken_at: now,
            renewed_at: now,
            lasts_seconds,
            released: false,
        }
    }

    /// Says whether its owner was a process of this machine that ended without giving it back.
    fn gone(&self, host: &str) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let here = !host.is_empty() && self.host == host;
        let ended = |pid| rustix::process::test_kill_process(pid) == Err(Errno::SRCH);
        here && pid.is_some_and(ended)
    }

    fn lasts(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.lasts_seconds))
    }
}

impl Repository {
    /// Takes a lease that only one may have.
    ///
    /// # Errors
    /// The store could not say.
    pub async fn take_lease(&self, cluster: &ClusterId, facts: LeaseFacts) -> Result<Held, Error> {
        for _ in 0..RACES_MAX {
            let top = self.newest_lease(cluster, &facts.name).await?;
            let generation = match &top {
                None => 0,
                Some((generation, entry)) => {
                    let Some(there) = self.read_json::<LeaseFacts>(&entry.path).await? else {
                        continue;
                    };
                    let given_up = there.released || there.gone(&facts.host);
                    if !given_up && !self.ran_out(cluster, &facts.owner, &there, entry).await? {
                        return Ok(Held::Other(there));
                    }
                    generation + 1
                }
            };
            let path = cluster.lease(&facts.name, generation);
            match self.create_json(&path, &facts).await {
                Ok(Created::New | Created::Same) => {}
                Err(Error::Exists { .. }) => continue,
                Err(error) => return Err(error),
            }
            if let Some((_, older)) = top {
                self.delete(&older.path).await?;
            }
            return Ok(Held::Ours(Lease {
                repository: self.clone(),
                cluster: *cluster,
                facts,
                generation,
                own_name: false,
            }));
        }
        let report = Report::new(
            Kind::Target,
            format!(
                "could not take the lease \"{}\": others are always faster",
                facts.name
            ),
        );
        Err(Error::Refused(Box::new(report)))
    }

    /// Takes a lease that many may have at the same time, each under the owner's name; it keeps backups from being deleted.
    ///
    /// # Errors
    /// The store refused.
    pub async fn share_lease(
        &self,
        cluster: &ClusterId,
        mut facts: LeaseFacts,
    ) -> Result<Lease, Error> {
        facts.name = format!("{}-{}", facts.name, facts.owner);
        self.create_json(&cluster.lease(&facts.name, 0), &facts)
            .await?;
        Ok(Lease {
            repository: self.clone(),
            cluster: *cluster,
            facts,
            generation: 0,
            own_name: true,
        })
    }

    /// Returns the leases in force. The word names the object by which the store's clock is asked.
    ///
    /// # Errors
    /// The store could not say.
    pub async fn leases(&self, cluster: &ClusterId, word: &str) -> Result<Vec<LeaseFacts>, Error> {
        let mut entries = self.list(&cluster.leases()).await?;
        entries.retain(|entry| generation_of(&entry.path).is_some());
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let mut leases = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            let name = generation_of(&entry.path).map(|(name, _)| name);
            let next = entries
                .get(place + 1)
                .and_then(|next| generation_of(&next.path));
            if next.map(|(name, _)| name) == name {
                continue;
            }
            if let Some(facts) = self.read_json::<LeaseFacts>(&entry.path).await?
                && !facts.released
                && !self.ran_out(cluster, word, &facts, entry).await?
            {
                leases.push(facts);
            }
        }
        Ok(leases)
    }

    /// Returns what time it is by the store's clock, which it says of an object that is written for this.
    ///
    /// # Errors
    /// The store refused.
    pub async fn store_time(&self, cluster: &ClusterId, word: &str) -> Result<Timestamp, Error> {
        let path = cluster.clock(word);
        let location = ObjectPath::from(path.as_str());
        let put = self
            .store
            .put(&location, PutPayload::from_static(b"what time is it?"));
        put.await
            .map_err(|source| self.failed("write", &path, source))?;
        let meta = self.store.head(&location).await;
        let meta = meta.map_err(|source| self.failed("read", &path, source))?;
        self.delete(&path).await?;
        Ok(super::timestamp(&meta))
    }

    async fn newest_lease(
        &self,
        cluster: &ClusterId,
        name: &str,
    ) -> Result<Option<(u32, Entry)>, Error> {
        let entries = self.list(&cluster.leases()).await?;
        let own = entries.into_iter().filter_map(|entry| {
            let (found, generation) = generation_of(&entry.path)?;
            (found == name).then_some((generation, entry))
        });
        Ok(own.max_by_key(|(generation, _)| *generation))
    }

    async fn ran_out(
        &self,
        cluster: &ClusterId,
        word: &str,
        facts: &LeaseFacts,
        entry: &Entry,
    ) -> Result<bool, Error> {
        let now = self.store_time(cluster, word).await?;
        Ok(now.duration_since(entry.modified) > facts.lasts())
    }
}

impl Lease {
    /// Renews it; what it protects changes to what its facts say.
    ///
    /// # Errors
    /// It ran out and somebody else has it, so that the work must end; or the store refused.
    pub async fn renew(&mut self, now: Timestamp) -> Result<(), Error> {
        self.still_ours().await?;
        self.facts.renewed_at = now;
        self.write().await?;
        // Between the look and the writing it may have run out and been taken.
        self.still_ours().await
    }

    /// Gives it back.
    ///
    /// # Errors
    /// The store refused; it runs out by itself then.
    pub async fn release(mut self) -> Result<(), Error> {
        if self.own_name {
            return self.repository.delete(&self.path()).await;
        }
        // The generation stays: a former owner that wakes up late must not find its number free.
        self.still_ours().await?;
        self.facts.released = true;
        self.write().await
    }

    fn path(&self) -> String {
        self.cluster.lease(&self.facts.name, self.generation)
    }

    async fn write(&self) -> Result<(), Error> {
        let path = self.path();
        let bytes = self.repository.json(&path, &self.facts)?;
        let location = ObjectPath::from(path.as_str());
        let put = self
            .repository
            .store
            .put(&location, PutPayload::from_bytes(bytes));
        put.await
            .map_err(|source| self.repository.failed("write", &path, source))?;
        self.repository.given(&path)
    }

    async fn still_ours(&self) -> Result<(), Error> {
        let newest = self
            .repository
            .newest_lease(&self.cluster, &self.facts.name)
            .await?;
        let there = match &newest {
            Some((generation, entry)) if *generation == self.generation => {
                self.repository.read_json::<LeaseFacts>(&entry.path).await?
            }
            _ => None,
        };
        if there.is_some_and(|there| there.owner == self.facts.owner) {
            return Ok(());
        }
        let primary = format!("the lease \"{}\" ran out, and was taken", self.facts.name);
        let report = Report::new(Kind::Refused, primary)
            .with_detail("this process stood still for too long; what it began is swept later")
            .with_hint("pawang backup list");
        Err(Error::Refused(Box::new(report)))
    }
}

/// Returns name and generation of a lease's object; `None` for other objects of the folder.
fn generation_of(path: &str) -> Option<(&str, u32)> {
    let (_, file) = path.rsplit_once('/')?;
    let (name, generation) = file.strip_suffix(".json")?.rsplit_once('.')?;
    Some((name, u32::from_str_radix(generation, 16).ok()?))
}
