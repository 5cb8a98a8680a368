//! Small disks are full when they are, and nobody else sees them.

use std::fs;
use std::io::ErrorKind;

use pawang_testbed::{SmallDisk, may_mount};

#[test]
fn a_small_disk_can_be_full() {
    let folder = std::env::temp_dir().join(format!("pawang-disk-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    if may_mount("small_disk::a_small_disk_can_be_full") {
        let disk = SmallDisk::mount(&folder, 1);
        fs::write(folder.join("small"), [7; 4096]).unwrap();
        disk.fill(8192);
        assert_eq!(disk.free(), 8192);
        fs::write(folder.join("fits"), [7; 8192]).unwrap();
        let full = fs::write(folder.join("more"), "x").unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        disk.clear();
        fs::write(folder.join("more"), "x").unwrap();
        let mounted = fs::read_to_string("/proc/mounts").unwrap();
        assert!(mounted.contains(folder.to_str().unwrap()));
        let others = fs::read_to_string(format!(
            "/proc/{}/mounts",
            std::os::unix::process::parent_id()
        ));
        assert!(!others.unwrap().contains(folder.to_str().unwrap()));
        drop(disk);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
    fs::remove_dir(&folder).unwrap();
}
