//! The backups of a chain into a tree, by several workers: what increments hold is read first, and then each block is written
//! once, from the newest backup that has it.
//!
//! Where that cannot be chosen, the backups are unpacked one over the other.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::archive::Archive;
use super::choice::{BACKUPS_MAX, Choice, Survey};
use super::delta::Delta;
use super::tree::{Opening, Tree, failed};
use super::unpack::{self, Manner, Trouble, Unpacked};
use crate::Error;
use crate::repository::{BackupKind, Commit, Part, Repository};

const WORKERS_MAX: usize = 64;

/// What is unpacked, and where to.
#[derive(Clone, Copy)]
pub(super) struct Chain<'a> {
    pub(super) repository: &'a Repository,
    /// The backups, the oldest first.
    pub(super) commits: &'a [Commit],
    pub(super) tree: &'a Arc<Tree>,
    /// How many parts are unpacked at the same time.
    pub(super) workers: usize,
}

/// A part of one of the backups.
#[derive(Clone, Debug)]
struct Job {
    backup: usize,
    part: Part,
}

/// What the threads of one step share.
#[derive(Clone)]
struct Step {
    repository: Repository,
    commits: Arc<[Commit]>,
    tree: Arc<Tree>,
    kept: Arc<HashSet<PathBuf>>,
    choice: Option<Arc<Choice>>,
    /// Whether a directory is changed in place.
    in_place: bool,
    /// Set when nobody waits for the threads any more.
    stop: Arc<AtomicBool>,
}

/// Tells the threads that nobody waits for them any more.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Chain<'_> {
    /// Unpacks the backups; of a directory that is changed in place, only what does not stay. Returns what the last backup
    /// has, and how many bytes were written of all.
    pub(super) async fn unpack(self, delta: Option<&Delta>) -> Result<Unpacked, Error> {
        let step = Step {
            repository: self.repository.clone(),
            commits: self.commits.into(),
            tree: Arc::clone(self.tree),
            kept: delta.map_or_else(Arc::default, |delta| Arc::clone(&delta.kept)),
            choice: None,
            in_place: delta.is_some(),
            stop: Arc::default(),
        };
        let _stop = Stop(Arc::clone(&step.stop));
        if let Some(delta) = delta {
            let parts = delta.parts.iter().map(Vec::as_slice);
            let (unpacked, missing) = self.parts(&step, self.jobs(parts)).await?;
            let is_there = |path| delta.kept.contains(path) || unpacked.files.contains(path);
            if missing.is_none() && delta.wanted.iter().all(is_there) {
                return Ok(unpacked);
            }
        }
        let parts = self.commits.iter().map(|commit| commit.parts.as_slice());
        let (unpacked, missing) = self.parts(&step, self.jobs(parts)).await?;
        missing.map_or(Ok(unpacked), |path| Err(self.incomplete(&path)))
    }

    /// Lists parts of each backup; what lies in a tablespace that the last backup does not have is nobody's any more.
    fn jobs<'p>(&self, parts: impl Iterator<Item = &'p [Part]>) -> Vec<Job> {
        let last = self.commits.len().saturating_sub(1);
        let all = parts.enumerate().flat_map(|(backup, parts)| {
            let jobs = parts.iter().cloned();
            jobs.map(move |part| Job { backup, part })
        });
        all.filter(|job| job.backup == last || self.tree.root(job.part.tablespace).is_some())
            .collect()
    }

    /// Unpacks parts. Also returns a file that none of them has whole, though the last backup has changes of it.
    async fn parts(
        &self,
        step: &Step,
        jobs: Vec<Job>,
    ) -> Result<(Unpacked, Option<PathBuf>), Error> {
        let backups = self.commits.len();
        if (2..=BACKUPS_MAX).contains(&backups)
            && let Some((choice, jobs)) = self.choose(step, &jobs).await?
        {
            let choice = Arc::new(choice);
            let step = Step {
                choice: Some(Arc::clone(&choice)),
                ..step.clone()
            };
            let (first, later): (Vec<Job>, Vec<Job>) =
                jobs.into_iter().partition(|job| job.backup == 0);
            let mut unpacked = self.together(&step, first, self.workers).await?;
            unpacked.add(self.together(&step, later, self.workers).await?);
            if !unpacked.twice {
                let mut files = choice.files();
                let missing = files.find(|path| !unpacked.files.contains(*path));
                return Ok((unpacked, missing.map(Path::to_owned)));
            }
        }
        let mut last = Unpacked::default();
        for backup in 0..backups {
            let own = jobs.iter().filter(|job| job.backup == backup);
            let own: Vec<Job> = own.cloned().collect();
            let bytes = last.bytes;
            last = self.together(step, own.clone(), self.workers).await?;
            // A path that comes twice counts as it comes last; then, which no writer of ours does, the order of parts matters.
            if last.twice && self.workers > 1 {
                last = self.together(step, own, 1).await?;
            }
            last.bytes += bytes;
        }
        Ok((last, None))
    }

    /// Reads what the increments hold, and chooses; returns which parts something is taken of, the largest first. The files
    /// that several parts write are made.
    async fn choose(&self, step: &Step, jobs: &[Job]) -> Result<Option<(Choice, Vec<Job>)>, Error> {
        let last = self.commits.len() - 1;
        let number = u8::try_from(last).expect("a longer chain is not chosen from");
        let (full, increments): (Vec<Job>, Vec<Job>) =
            jobs.iter().cloned().partition(|job| job.backup == 0);
        let survey = Arc::new(Survey::default());
        let seen = Arc::clone(&survey);
        let work = move |step: &Step, job: Job| step.survey(&seen, job);
        let surveyed = each(step, increments, self.workers, work).await?;
        let survey = Arc::into_inner(survey).expect("the threads have ended");
        let Some(choice) = survey.choose(number) else {
            return Ok(None);
        };
        let taken = |(job, files): &(Job, Vec<PathBuf>)| {
            let any = || {
                files
                    .iter()
                    .any(|path| choice.of(job.number(), path).is_some())
            };
            job.backup == last || any()
        };
        let needed = surveyed.into_iter().filter(taken).map(|(job, _)| job);
        let mut jobs: Vec<Job> = full.into_iter().chain(needed).collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.part.raw_bytes));
        let (tree, block_bytes) = (Arc::clone(self.tree), self.commits[last].server.block_bytes);
        let in_place = step.in_place;
        let made = tokio::task::spawn_blocking(move || {
            make(&choice, &tree, block_bytes, in_place).map(|()| choice)
        });
        let choice = made.await.expect("making files does not panic")?;
        Ok(Some((choice, jobs)))
    }

    async fn together(
        &self,
        step: &Step,
        jobs: Vec<Job>,
        workers: usize,
    ) -> Result<Unpacked, Error> {
        let unpacked = each(step, jobs, workers, |step: &Step, job| step.unpack(&job)).await?;
        let mut sum = Unpacked::default();
        unpacked.into_iter().for_each(|part| sum.add(part));
        Ok(sum)
    }

    fn incomplete(&self, path: &Path) -> Error {
        let commit = self.commits.last().expect("a chain has a backup");
        Error::Format {
            object: commit.cluster.backup(&commit.backup),
            place: self.repository.place().to_owned(),
            problem: format!(
                "it has changes of \"{}\", and no backup before has that file",
                path.display()
            ),
        }
    }
}

/// Makes the files that several parts write.
fn make(choice: &Choice, tree: &Tree, block_bytes: u32, in_place: bool) -> Result<(), Error> {
    for file in choice.shared() {
        // What nobody writes is zeroes in one that was empty.
        let opening = match in_place && file.whole {
            true => Opening::Over,
            false => Opening::Empty,
        };
        let length = u64::from(file.length) * u64::from(block_bytes);
        tree.open_file(file.path, opening)?
            .set_len(length)
            .map_err(|source| failed("write", file.path, source))?;
    }
    Ok(())
}

/// Works on parts in several threads; all of them have ended when it returns.
async fn each<T: Send + 'static>(
    step: &Step,
    jobs: Vec<Job>,
    workers: usize,
    work: impl Fn(&Step, Job) -> Result<T, Error> + Send + Sync + 'static,
) -> Result<Vec<T>, Error> {
    let shared = Arc::new((Mutex::new(jobs.into_iter()), work));
    let first = Arc::new(Mutex::new(None));
    let threads = (0..workers.clamp(1, WORKERS_MAX)).map(|_| {
        let (step, shared, first) = (step.clone(), Arc::clone(&shared), Arc::clone(&first));
        tokio::task::spawn_blocking(move || {
            let (jobs, work) = &*shared;
            let mut done = Vec::new();
            while !step.stop.load(Ordering::Relaxed) {
                let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(job) = next else { break };
                match work(&step, job) {
                    Ok(result) => done.push(result),
                    // What the others say when they are stopped is of no account.
                    Err(error) => {
                        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                        first.get_or_insert(error);
                        step.stop.store(true, Ordering::Relaxed);
                    }
                }
            }
            done
        })
    });
    let mut all = Vec::new();
    for done in futures_util::future::join_all(threads).await {
        all.extend(done.expect("a worker does not panic"));
    }
    let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
    first.take().map_or(Ok(all), Err)
}

impl Job {
    /// The number of the backup for those who choose.
    fn number(&self) -> u8 {
        u8::try_from(self.backup).unwrap_or(u8::MAX)
    }
}

impl Step {
    fn survey(&self, survey: &Survey, job: Job) -> Result<(Job, Vec<PathBuf>), Error> {
        let mut archive = self.open(&job)?;
        let surveyed = unpack::survey(&mut archive, &self.manner(&job), survey, job.number());
        let (files, members) = surveyed.map_err(|trouble| self.told(&job, trouble))?;
        self.count(&job, members)?;
        Ok((job, files))
    }

    fn unpack(&self, job: &Job) -> Result<Unpacked, Error> {
        let mut archive = self.open(job)?;
        let unpacked = unpack::unpack(&mut archive, &self.manner(job));
        let unpacked = unpacked.map_err(|trouble| self.told(job, trouble))?;
        self.count(job, unpacked.members)?;
        Ok(unpacked)
    }

    fn open(&self, job: &Job) -> Result<Archive<'_>, Error> {
        let commit = &self.commits[job.backup];
        let (cluster, backup) = (&commit.cluster, &commit.backup);
        let reader = self.repository.open_part(cluster, backup, &job.part)?;
        Ok(Archive::new(reader, &self.stop))
    }

    fn manner(&self, job: &Job) -> Manner<'_> {
        let commit = &self.commits[job.backup];
        let choice = self.choice.as_deref();
        Manner {
            tree: &self.tree,
            tablespace: job.part.tablespace,
            block_bytes: commit.server.block_bytes,
            incremental: commit.kind == BackupKind::Incremental,
            kept: &self.kept,
            choice: choice.map(|choice| (choice, job.number())),
            last: job.backup + 1 == self.commits.len(),
            is_first: job.backup == 0 && !self.in_place,
            in_place: self.in_place,
        }
    }

    fn count(&self, job: &Job, members: u32) -> Result<(), Error> {
        let said = job.part.members;
        if members == said {
            return Ok(());
        }
        let problem = format!("it has {members} members, and its commit says {said}");
        Err(self.told(job, Trouble::Part(problem)))
    }

    fn told(&self, job: &Job, trouble: Trouble) -> Error {
        let commit = &self.commits[job.backup];
        match trouble {
            Trouble::Here(error) => error,
            Trouble::Part(problem) => Error::Format {
                object: commit.cluster.part(&commit.backup, &job.part.name),
                place: self.repository.place().to_owned(),
                problem,
            },
        }
    }
}
