//! Small file systems in memory, which only root may mount.
#![expect(
    clippy::disallowed_methods,
    reason = "a test starts programs to break a server"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The shell unmounts when its pipe is closed, so also when the test is killed; the mount is lazy to go because a server
/// may still have files open there.
const SCRIPT: &str = r#"
trap '' HUP INT TERM PIPE
mount -t tmpfs -o "$2" tmpfs "$1" || exit 1
echo mounted
while read -r words; do
  mount -o "$words" "$1" && echo done || echo refused
done
umount -l "$1"
"#;

/// A file system of a few megabytes that goes away with the test.
pub(crate) struct Mount {
    path: PathBuf,
    bytes: u64,
    shell: Child,
    answers: BufReader<ChildStdout>,
}

impl Mount {
    /// Tells whether the tests run as root, and says so when they do not.
    #[expect(clippy::print_stderr, reason = "a test that cannot run must tell")]
    pub(crate) fn allowed() -> bool {
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        if !root {
            eprintln!("skipped: only root may mount a small file system");
        }
        root
    }

    /// Mounts at `path`, for the owner of the file or directory `like`; `more` are options of tmpfs.
    pub(crate) fn new(path: PathBuf, megabytes: u64, like: &Path, more: &str) -> Mount {
        fs::create_dir(&path).unwrap();
        let owner = fs::metadata(like).unwrap();
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "mount"])
            .arg(&path)
            .arg(format!(
                "size={megabytes}m,mode=0700,uid={},gid={}{more}",
                owner.uid(),
                owner.gid()
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(shell.stdout.take().unwrap());
        assert_eq!(answer(&mut answers), "mounted", "root may mount");
        Mount {
            path,
            bytes: megabytes << 20,
            shell,
            answers,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Copies a directory with its owners here and puts a link in its place.
    pub(crate) fn replace(&self, directory: &Path) {
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(directory.join(".")).arg(&self.path);
        assert!(copy.status().unwrap().success());
        fs::remove_dir_all(directory).unwrap();
        symlink(&self.path, directory).unwrap();
    }

    /// Makes a share of the file system used, in percent, by the size of one file.
    pub(crate) fn fill(&self, percent: u64) {
        self.clear();
        let size = (self.bytes * percent / 100).saturating_sub(used(&self.path));
        fs::write(self.filler(), vec![0_u8; usize::try_from(size).unwrap()]).unwrap();
    }

    /// Takes away what [`Mount::fill`] put there.
    pub(crate) fn clear(&self) {
        if self.filler().exists() {
            fs::remove_file(self.filler()).unwrap();
        }
    }

    /// Mounts anew with other options.
    pub(crate) fn remount(&mut self, options: &str) {
        let orders = self.shell.stdin.as_mut().unwrap();
        writeln!(orders, "remount,{options}").unwrap();
        assert_eq!(answer(&mut self.answers), "done", "{options}");
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _status = self.shell.wait();
    }
}

fn answer(answers: &mut impl BufRead) -> String {
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn used(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().flatten();
    entries
        .map(|entry| match entry.metadata().unwrap() {
            seen if seen.is_dir() => used(&entry.path()),
            seen => seen.len(),
        })
        .sum()
}
