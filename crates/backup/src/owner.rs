//! Whose the files are that root writes: those of the user who runs the server.
//!
//! PostgreSQL refuses to run as root, and its user must read what was restored, and read WAL from a repository and store it there.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

/// The user who owns servers where nothing else says so.
const USUAL_OWNER: &str = "postgres";

/// To whom files are given; nobody but root can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
}

impl Owner {
    /// Returns who should own what is made at `path`: nobody else when the caller is not root; else the owner of the
    /// directory, or of its first parent that exists; where that is root, the user `postgres` of the machine.
    pub fn of(path: &Path) -> Option<Owner> {
        Owner::named(path).or_else(|| is_root().then(usual_owner).flatten())
    }

    /// Returns who owns a directory, or its first parent that exists, when the caller is root and it is somebody else.
    pub(crate) fn named(path: &Path) -> Option<Owner> {
        if !is_root() {
            return None;
        }
        let found = path.ancestors().find_map(|path| fs::metadata(path).ok())?;
        let owner = Owner {
            user: found.uid(),
            group: found.gid(),
        };
        (owner.user != 0).then_some(owner)
    }

    /// Gives a file or folder to the owner, but not what a link leads to.
    ///
    /// # Errors
    /// It is not there, or the caller may not give it.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        lchown(path, Some(self.user), Some(self.group))
    }

    /// Returns the name of the user, or the number of one that has none.
    pub(crate) fn name(&self) -> String {
        let found = users().find(|(_, user, _)| *user == self.user);
        found.map_or_else(|| self.user.to_string(), |(name, ..)| name)
    }

    /// Returns the groups that the user is a member of besides the own one.
    pub(crate) fn groups(&self) -> Vec<u32> {
        let name = self.name();
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        let of_user = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, group, members] = fields[..] else {
                return None;
            };
            let member = members.split(',').any(|member| member == name);
            group.parse().ok().filter(|_| member)
        };
        groups.lines().filter_map(of_user).collect()
    }

    /// Gives a file to the owner, with the folders that were made for it below another.
    pub(crate) fn give_below(&self, folder: &Path, name: &str) -> io::Result<()> {
        let path = folder.join(name);
        for place in path.ancestors() {
            if place == folder || fs::symlink_metadata(place)?.uid() == self.user {
                break;
            }
            self.give(place)?;
        }
        Ok(())
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn usual_owner() -> Option<Owner> {
    let mut users = users();
    let (_, user, group) = users.find(|(name, ..)| name == USUAL_OWNER)?;
    Some(Owner { user, group })
}

/// Returns the users of this machine: name, number, number of the own group.
fn users() -> impl Iterator<Item = (String, u32, u32)> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, user, group, ..] = fields[..] else {
            return None;
        };
        Some((name.to_owned(), user.parse().ok()?, group.parse().ok()?))
    };
    let users: Vec<_> = text.lines().filter_map(user).collect();
    users.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_writes_belongs_to_the_owner_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/c"), "").unwrap();
        assert_eq!(Owner::named(folder.path()), None);
        if !is_root() {
            return;
        }
        let owner = Owner {
            user: 12_345,
            group: 54_321,
        };
        owner.give(folder.path()).unwrap();
        assert_eq!(Owner::named(&at("not/there")), Some(owner));
        owner.give_below(folder.path(), "a/b/c").unwrap();
        for name in ["a", "a/b", "a/b/c"] {
            let facts = fs::metadata(at(name)).unwrap();
            assert_eq!((facts.uid(), facts.gid()), (12_345, 54_321), "{name}");
        }
        assert!(owner.give_below(folder.path(), "a/none").is_err());
    }
}
