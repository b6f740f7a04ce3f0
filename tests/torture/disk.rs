//! A disk that loses what was not flushed: see `scripts/lossy-disk`.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};

use crate::fault::Failure;
use crate::support::command::{run, wait_until};

/// Space for an Engine with a few images of a megabyte; the file is sparse.
pub const SIZE: &str = "2G";

/// Space for the same, with only the free space that the agent requires before an update.
pub const SMALL_SIZE: &str = "300M";

/// The largest and the smallest chunk with which a disk is filled, in bytes.
const FILL: (u64, u64) = (64 << 20, 1 << 10);

/// Space for a state directory; it is full within a moment.
const STATE_SIZE: &str = "8M";

/// The file that fills a disk.
const FILLER: &str = "filler";

/// The disk of one machine, with its Engine's data and its agent's state.
pub struct LossyDisk {
    file: PathBuf,
    point: PathBuf,
    boot_id: PathBuf,
    boots: u32,
}

impl LossyDisk {
    /// Creates the disk in an Engine's directory, before the Engine is started.
    pub fn new(directory: &Path, size: &str) -> Self {
        let (file, point) = (directory.join("disk.img"), directory.join("disk"));
        let disk = Self { file, point, boot_id: directory.join("boot_id"), boots: 0 };
        run(script("make").arg(&disk.file).arg(size).arg(&disk.point));
        fs::create_dir(disk.point.join("data")).expect("the Engine's data");
        symlink("disk/data", directory.join("data")).expect("a link to the Engine's data");
        disk.begin_a_boot();
        disk
    }

    /// The agent's state directory.
    pub fn state(&self) -> PathBuf {
        self.point.join("pilotfish")
    }

    /// The file with the boot ID of this machine, which changes with every cut.
    pub fn boot_id(&self) -> &Path {
        &self.boot_id
    }

    /// Fills the disk completely, also for root.
    pub fn fill(&self) {
        let filler = File::create(self.point.join(FILLER)).expect("the filler");
        let (mut piece, smallest) = FILL;
        let mut length = 0;
        while piece >= smallest {
            match fallocate(&filler, FallocateFlags::empty(), length, piece) {
                Ok(()) => length += piece,
                Err(_) => piece /= 2,
            }
        }
    }

    /// Frees the space again.
    pub fn make_room(&self) {
        fs::remove_file(self.point.join(FILLER)).unwrap_or_default();
    }

    /// Writes everything to the disk.
    pub fn flush(&self) {
        let point = File::open(&self.point).expect("the disk");
        rustix::fs::syncfs(point).expect("to flush the disk");
    }

    /// The power is cut: what was not flushed is lost.
    pub fn cut(&mut self) {
        run(script("cut").arg(&self.point));
    }

    /// The power is back. All users of the disk must have ended before.
    pub fn mount_again(&mut self) {
        run(script("mount").arg(&self.file).arg(&self.point));
        self.boots += 1;
        self.begin_a_boot();
    }

    fn begin_a_boot(&self) {
        let boot_id = format!("00000000-0000-4000-8000-{:012}\n", self.boots);
        fs::write(&self.boot_id, boot_id).expect("the boot ID");
    }
}

/// A small disk for the agent's state alone, which can fail in every way and be repaired.
pub struct StateDisk {
    file: PathBuf,
    point: PathBuf,
}

impl StateDisk {
    /// Creates the disk in an Engine's directory.
    pub fn new(directory: &Path) -> Self {
        let disk = Self { file: directory.join("state.img"), point: directory.join("state-disk") };
        run(script("make").arg(&disk.file).arg(STATE_SIZE).arg(&disk.point));
        disk
    }

    /// The agent's state directory.
    pub fn state(&self) -> PathBuf {
        self.point.join("pilotfish")
    }

    /// Makes the disk fail from now on.
    pub fn fail(&self, failure: Failure) {
        match failure {
            Failure::Full => {
                let filler = File::create(self.point.join(FILLER)).expect("the filler");
                let block = [0; 1024];
                while (&filler).write_all(&block).is_ok() {}
            }
            Failure::ReadOnly => {
                let device = run(Command::new("findmnt").args(["-no", "SOURCE"]).arg(&self.point));
                let device = device.trim_start_matches("/dev/");
                let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
                fs::write(trigger, "1").expect("an error of the file system");
            }
            Failure::Broken => _ = run(script("cut").arg(&self.point)),
        }
    }

    /// Repairs the disk; it must not be in use.
    pub fn mend(&self) {
        drop(fs::remove_file(self.point.join(FILLER)));
        run(Command::new("umount").arg(&self.point));
        run(script("mount").arg(&self.file).arg(&self.point));
    }
}

fn script(what: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lossy-disk");
    let mut command = Command::new(path);
    command.arg(what);
    command
}

/// Another Engine that starts on this machine copies every mount into its own namespace.
#[test]
fn a_disk_can_be_mounted_again_although_another_namespace_copied_its_mount() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut disk = LossyDisk::new(directory.path(), STATE_SIZE);
    let kept = disk.point.join("kept");
    fs::write(&kept, "flushed").expect("a file");
    disk.flush();
    fs::write(disk.point.join("lost"), "not flushed").expect("a file");
    let mut other = Command::new("unshare");
    let mut other = other.args(["--mount", "sleep", "60"]).spawn().expect("a namespace");
    let mounts = format!("/proc/{}/mounts", other.id());
    let point = disk.point.to_string_lossy().into_owned();
    let has_copied = || {
        let own = fs::read_link("/proc/self/ns/mnt").ok();
        fs::read_link(format!("/proc/{}/ns/mnt", other.id())).is_ok_and(|it| Some(it) != own)
            && fs::read_to_string(&mounts).is_ok_and(|all| all.contains(&*point))
    };
    wait_until("the mount is copied", Duration::from_secs(10), has_copied);

    disk.cut();
    run(Command::new("umount").arg("--lazy").arg(&disk.point));
    disk.mount_again();

    assert_eq!(fs::read_to_string(&kept).expect("what was flushed"), "flushed");
    fs::write(&kept, "written again").expect("it can be written");
    run(Command::new("umount").arg(&disk.point));
    other.kill().expect("its end");
    other.wait().expect("its end");
}
