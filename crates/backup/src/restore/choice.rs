//! From which backup of a chain each block of a file comes: of the newest that has it, so that each is written once.
//!
//! A file whose blocks come from several backups costs a byte of memory for each of its blocks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::increment::Header;

/// A chain of more backups than this is unpacked one backup over the other.
pub(super) const BACKUPS_MAX: usize = 250;
/// Who has a block that was cut off, and grew again without WAL: it is zeroes.
const NOBODY: u8 = u8::MAX;

/// What the increments of a chain say; backups are numbered from the oldest on, which is full and need not be asked.
#[derive(Debug, Default)]
pub(super) struct Survey(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    files: HashMap<PathBuf, Sources>,
    /// Whether a backup has a path twice.
    twice: bool,
}

/// Where a file comes from.
#[derive(Debug, Default)]
struct Sources {
    /// The increments that have it, and what those say of its length that have only changes of it.
    increments: Vec<(u8, Option<Lengths>)>,
    /// Which backup has each block newest; blocks behind the last are the base's.
    owners: Vec<u8>,
    /// The newest backup that has it whole.
    base: u8,
    /// Blocks of the base from here on are not the file's any more.
    cut: u32,
    /// Its length in blocks, unless the base is the last backup.
    length: Option<u32>,
    /// The backups that something comes from.
    givers: Vec<u8>,
}

/// Lengths in blocks.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    /// What is left of the older file.
    truncation: u32,
    /// The file's own.
    length: u32,
}

/// From which backups the files of the last one come.
#[derive(Debug)]
pub(super) struct Choice {
    files: HashMap<PathBuf, Sources>,
}

/// A file that comes from several backups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared<'a> {
    pub(super) path: &'a Path,
    /// Its length in blocks.
    pub(super) length: u32,
    /// Whether each block that one of the increments has is some backup's.
    pub(super) whole: bool,
}

/// What is taken of one file of one backup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    backup: u8,
    sources: &'a Sources,
}

impl Survey {
    /// Adds what an increment has of a file: the header of its changes, or nothing more when it has the file whole.
    pub(super) fn add(&self, backup: u8, path: &Path, header: Option<&Header>) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Said { files, twice } = &mut *said;
        let sources = files.entry(path.to_owned()).or_default();
        *twice |= sources.increments.iter().any(|(there, _)| *there == backup);
        let lengths = header.map(|header| Lengths {
            truncation: header.truncation,
            length: header.length(),
        });
        sources.increments.push((backup, lengths));
        let Some(header) = header else {
            sources.base = sources.base.max(backup);
            return;
        };
        for block in &header.blocks {
            let block = *block as usize;
            if block >= sources.owners.len() {
                sources.owners.resize(block + 1, 0);
            }
            sources.owners[block] = sources.owners[block].max(backup);
        }
    }

    /// Chooses; `None` when a backup has a path twice, since then the order counts in which its parts are unpacked.
    pub(super) fn choose(self, last: u8) -> Option<Choice> {
        let said = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut files = said.files;
        files.retain(|_, sources| sources.choose(last));
        (!said.twice).then_some(Choice { files })
    }
}

impl Sources {
    /// Chooses for one file; says whether the last backup has it at all.
    fn choose(&mut self, last: u8) -> bool {
        let increments = std::mem::take(&mut self.increments);
        let Some((_, lengths)) = increments.iter().find(|(backup, _)| *backup == last) else {
            return false;
        };
        self.length = lengths.map(|lengths| lengths.length);
        let cut_after = |backup: u8| {
            let later = increments.iter().filter(|(there, _)| *there > backup);
            let cuts = later.filter_map(|(_, lengths)| Some(lengths.as_ref()?.truncation));
            cuts.min().unwrap_or(u32::MAX)
        };
        let cuts: Vec<u32> = (0..=last).map(cut_after).collect();
        self.cut = cuts[usize::from(self.base)];
        let mut gives = vec![false; usize::from(NOBODY) + 1];
        for (owner, block) in self.owners.iter_mut().zip(0u32..) {
            *owner = (*owner).max(self.base);
            if block >= cuts[usize::from(*owner)] {
                *owner = NOBODY;
            }
            gives[usize::from(*owner)] = true;
        }
        let others = (self.base + 1..NOBODY).filter(|owner| gives[usize::from(*owner)]);
        self.givers = std::iter::once(self.base).chain(others).collect();
        if self.givers.len() == 1 {
            self.owners = Vec::new();
        }
        true
    }

    fn wants(&self, backup: u8, block: u32) -> bool {
        match self.owners.get(block as usize) {
            Some(owner) => *owner == backup,
            None => backup == self.base && block < self.cut,
        }
    }
}

impl Choice {
    /// Returns what is taken of a file of a backup, if anything is.
    pub(super) fn of(&self, backup: u8, path: &Path) -> Option<Wish<'_>> {
        let sources = self.files.get(path)?;
        let gives = sources.givers.contains(&backup);
        gives.then_some(Wish { backup, sources })
    }

    /// Returns the files that come from several backups.
    pub(super) fn shared(&self) -> impl Iterator<Item = Shared<'_>> {
        self.files.iter().filter_map(|(path, sources)| {
            let shared = sources.givers.len() > 1;
            Some(Shared {
                path,
                length: sources.length.filter(|_| shared)?,
                whole: !sources.owners.contains(&NOBODY),
            })
        })
    }

    /// Returns all files of the last backup.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }
}

impl Wish<'_> {
    /// Says whether a block is taken.
    pub(super) fn wants(&self, block: u32) -> bool {
        self.sources.wants(self.backup, block)
    }

    /// Says whether a later backup of the chain writes a block.
    pub(super) fn comes_later(&self, block: u32) -> bool {
        let owner = self.sources.owners.get(block as usize);
        owner.is_some_and(|owner| *owner > self.backup && *owner != NOBODY)
    }

    /// Says whether all of the file comes from this backup.
    pub(super) fn alone(&self) -> bool {
        self.sources.givers.len() == 1
    }

    /// Returns how many of the backup's blocks are the file's at most.
    pub(super) fn cut(&self) -> u32 {
        self.sources.cut
    }

    /// Returns the blocks that nobody has, behind those of a file of so many blocks that the backup has whole.
    pub(super) fn behind(self, blocks: u64) -> impl Iterator<Item = u32> {
        let length = self.sources.length.unwrap_or(0);
        let first = u32::try_from(blocks).unwrap_or(u32::MAX);
        let first = first.min(self.sources.cut);
        let behind = move |block: &u32| match self.sources.owners.get(*block as usize) {
            Some(owner) => *owner == self.backup,
            None => true,
        };
        (first..length).filter(behind)
    }

    /// Returns the length in blocks that the file has in the end, unless it is what the backup says.
    pub(super) fn length(&self) -> Option<u32> {
        self.sources.length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a backup has of a file: a filler of each of its blocks when it is whole, else the cut and the changes.
    #[derive(Clone, Debug)]
    enum Has {
        Nothing,
        Whole(Vec<u8>),
        Changes(u32, Vec<(u32, u8)>),
    }

    fn has() -> impl Strategy<Value = Has> {
        let changes = prop::collection::btree_map(0u32..40, 1u8..=255, 0..20);
        prop_oneof![
            1 => Just(Has::Nothing),
            1 => prop::collection::vec(1u8..=255, 0..40).prop_map(Has::Whole),
            6 => (0u32..45, changes)
                .prop_map(|(cut, changes)| Has::Changes(cut, changes.into_iter().collect())),
        ]
    }

    /// One backup over the other.
    fn expected(chain: &[Has]) -> Vec<u8> {
        let mut file = Vec::new();
        for has in chain {
            match has {
                Has::Nothing => {}
                Has::Whole(blocks) => file.clone_from(blocks),
                Has::Changes(cut, changes) => {
                    file.truncate(*cut as usize);
                    file.resize(*cut as usize, 0);
                    for (block, filler) in changes {
                        let block = *block as usize;
                        file.resize(file.len().max(block + 1), 0);
                        file[block] = *filler;
                    }
                }
            }
        }
        file
    }

    /// Takes from each backup what is wanted of it, in any order, and counts how often each block is written.
    fn taken(chain: &[Has], choice: &Choice, order: &[usize]) -> Vec<u8> {
        let path = Path::new("base/1/1");
        let mut file: Vec<Option<u8>> = Vec::new();
        let mut length = None;
        let mut put = |block: u32, filler: u8| {
            let block = block as usize;
            file.resize(file.len().max(block + 1), None);
            assert_eq!(
                file[block].replace(filler),
                None,
                "block {block} is written twice"
            );
        };
        for backup in order {
            let Some(wish) = choice.of(u8::try_from(*backup).unwrap(), path) else {
                continue;
            };
            length = wish.length().or(length);
            match &chain[*backup] {
                Has::Nothing => panic!("nothing can be taken of it"),
                Has::Whole(blocks) => {
                    if wish.length().is_none() {
                        length = Some(u32::try_from(blocks.len()).unwrap());
                    }
                    let blocks = blocks.iter().zip(0u32..);
                    blocks
                        .filter(|(_, block)| wish.wants(*block))
                        .for_each(|(filler, block)| put(block, *filler));
                }
                Has::Changes(_, changes) => changes
                    .iter()
                    .filter(|(block, _)| wish.wants(*block))
                    .for_each(|(block, filler)| put(*block, *filler)),
            }
        }
        file.resize(length.unwrap() as usize, None);
        file.into_iter().map(|filler| filler.unwrap_or(0)).collect()
    }

    fn header(cut: u32, changes: &[(u32, u8)]) -> Header {
        Header {
            blocks: changes.iter().map(|(block, _)| *block).collect(),
            truncation: cut,
        }
    }

    proptest! {
        #[test]
        fn each_block_is_taken_once_from_the_newest_that_has_it(
            full in prop::collection::vec(1u8..=255, 0..40),
            increments in prop::collection::vec(has(), 1..6),
            shuffle in any::<prop::sample::Index>(),
        ) {
            let mut chain = vec![Has::Whole(full)];
            // A file that a backup does not have was dropped, and is another one when it comes again: whole.
            for has in increments {
                let gone = matches!(chain.last(), Some(Has::Nothing));
                chain.push(match has {
                    Has::Changes(cut, _) if gone => Has::Whole(vec![9; cut as usize]),
                    has => has,
                });
            }
            let survey = Survey::default();
            let last = chain.len() - 1;
            let mut order: Vec<usize> = (0..=last).collect();
            order.rotate_left(shuffle.index(last + 1));
            for backup in &order {
                let number = u8::try_from(*backup).unwrap();
                match &chain[*backup] {
                    _ if *backup == 0 => {}
                    Has::Nothing => {}
                    Has::Whole(_) => survey.add(number, Path::new("base/1/1"), None),
                    Has::Changes(cut, changes) => {
                        survey.add(number, Path::new("base/1/1"), Some(&header(*cut, changes)));
                    }
                }
            }
            let choice = survey.choose(u8::try_from(last).unwrap()).unwrap();
            if matches!(chain[last], Has::Nothing) {
                prop_assert_eq!(choice.files().count(), 0);
            } else {
                order.reverse();
                prop_assert_eq!(taken(&chain, &choice, &order), expected(&chain));
            }
        }
    }

    #[test]
    fn a_path_that_comes_twice_is_not_chosen_from() {
        let survey = Survey::default();
        survey.add(1, Path::new("a"), None);
        survey.add(2, Path::new("a"), None);
        survey.add(1, Path::new("a"), Some(&header(1, &[])));
        assert!(survey.choose(2).is_none());
    }
}
