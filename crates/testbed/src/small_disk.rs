//! A small disk that can be full: memory that is mounted where only this process and what it starts see it.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::owner;

/// Names the test that runs in a process that may mount.
const MOUNTS: &str = "PAWANG_TESTBED_MOUNTS";
const FILLER: &str = "filler";
const FILLER_PIECE: usize = 64 << 10;

/// Says whether this process may mount; where it may not, runs one test of this program again in a process that may, to
/// its end, and says no.
///
/// That process has mounts of its own, which nobody else sees and which go away with it, however it ends.
///
/// # Panics
///
/// When the test fails there, or the machine lets nobody mount.
pub fn may_mount(test: &str) -> bool {
    if env::var_os(MOUNTS).as_deref() == Some(OsStr::new(test)) {
        return true;
    }
    let this = env::current_exe().expect("the test has a program");
    let mut alone = Command::new("unshare");
    if !owner::as_root() {
        alone.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    alone.args(["--mount", "--"]).arg(this);
    alone.args(["--exact", test, "--nocapture"]);
    let output = owner::output(alone.env(MOUNTS, test));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test} did not pass in a process with mounts of its own (unshare --mount, as root or in a user namespace): {said}{}",
        String::from_utf8_lossy(&output.stderr),
    );
    false
}

/// A disk of some megabytes.
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts it on a folder, which everybody may write.
    ///
    /// # Panics
    ///
    /// In a process that was not asked whether it [`may_mount`].
    pub fn mount(folder: &Path, megabytes: u32) -> SmallDisk {
        assert!(
            env::var_os(MOUNTS).is_some(),
            "only where may_mount says so: else others would see it"
        );
        let size = format!("size={megabytes}m,mode=0777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "pawang-testbed"]);
        owner::run(mount.arg(folder));
        SmallDisk {
            folder: folder.to_owned(),
        }
    }

    /// Returns how many bytes are free.
    pub fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.folder).expect("it is mounted");
        found.f_bavail * found.f_frsize
    }

    /// Fills it until only so many bytes are free.
    pub fn fill(&self, free: u64) {
        let path = self.folder.join(FILLER);
        let mut filler = File::options()
            .append(true)
            .create(true)
            .open(&path)
            .expect("a file can be made");
        let everybody = fs::Permissions::from_mode(0o666);
        fs::set_permissions(&path, everybody).expect("it is ours");
        loop {
            let more = self.free().saturating_sub(free);
            let more = usize::try_from(more).map_or(FILLER_PIECE, |more| more.min(FILLER_PIECE));
            match filler.write_all(&[0; FILLER_PIECE][..more]) {
                Ok(()) if more > 0 => {}
                Ok(()) => return,
                // Somebody else took the rest.
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("could not fill \"{}\": {error}", path.display()),
            }
        }
    }

    /// Gives back what was filled.
    pub fn clear(&self) {
        let path = self.folder.join(FILLER);
        fs::remove_file(path).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The folder goes next, and servers on it may still be ending.
        let mut unmount = Command::new("umount");
        let _gone = owner::output(unmount.arg("--lazy").arg(&self.folder));
    }
}
