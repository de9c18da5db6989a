//! Small filesystems in files, mounted for as long as a value lives.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::subject::directory;

/// A filesystem in a file that nobody has mounted.
#[derive(Debug)]
pub(crate) struct Image {
    directory: TempDir,
    options: &'static str,
}

/// A mount, which goes with the value, its loop device with it.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub(crate) path: PathBuf,
    _place: Option<TempDir>,
}

/// A filesystem to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// As small as its `mkfs` allows.
    size_bytes: u64,
    mkfs: &'static [&'static str],
    options: &'static str,
}

pub(crate) const EXT4: Kind =
    Kind { name: "ext4", size_bytes: 16 << 20, mkfs: &["mkfs.ext4", "-q", "-F", "-m", "0"], options: "loop" };
/// Copies of one image bear one name, under which only one may be mounted otherwise.
pub(crate) const XFS: Kind = Kind { name: "xfs", size_bytes: 300 << 20, mkfs: &["mkfs.xfs", "-q", "-f"], options: "loop,nouuid" };

/// Runs a program; says whether it is there and succeeded.
pub(crate) fn succeeds(program: &str, arguments: &[&str], paths: &[&Path]) -> bool {
    Command::new(program).args(arguments).args(paths).output().is_ok_and(|output| output.status.success())
}

impl Image {
    /// Makes a filesystem; nothing if that cannot be done here.
    pub(crate) fn make(kind: Kind, more: &[&str]) -> Option<Image> {
        let image = Image { directory: directory(), options: kind.options };
        File::create(image.file()).and_then(|file| file.set_len(kind.size_bytes)).expect("a sparse file can be made");
        succeeds(kind.mkfs[0], &[&kind.mkfs[1..], more].concat(), &[&image.file()]).then_some(image)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// The same filesystem once more.
    pub(crate) fn copied(&self) -> Image {
        let copy = Image { directory: directory(), options: self.options };
        assert!(succeeds("cp", &["--sparse=always"], &[&self.file(), &copy.file()]), "an image can be copied");
        copy
    }

    /// Mounts it; nothing if that cannot be done here.
    pub(crate) fn mounted(&self) -> Option<Mounted> {
        let place = directory();
        let mounted = succeeds("mount", &["-o", self.options], &[&self.file(), place.path()]);
        mounted.then(|| Mounted { path: place.path().to_owned(), _place: Some(place) })
    }
}

impl Mounted {
    /// A filesystem in memory; nothing if none can be mounted.
    pub(crate) fn tmpfs(options: &str) -> Option<Mounted> {
        let place = directory();
        let mounted = succeeds("mount", &["-t", "tmpfs", "-o", options, "none"], &[place.path()]);
        mounted.then(|| Mounted { path: place.path().to_owned(), _place: Some(place) })
    }

    /// Cuts the power: nothing that is not on the disk by now gets there any more.
    pub(crate) fn cut_power(&self) -> bool {
        succeeds("xfs_io", &["-x", "-c", "shutdown"], &[&self.path])
    }

    /// Changes how it is mounted.
    pub(crate) fn remount(&self, options: &str) -> bool {
        succeeds("mount", &["-o", &format!("remount,{options}")], &[&self.path])
    }

    /// Writes everything to the disk.
    pub(crate) fn flush(&self) {
        let directory = File::open(&self.path).expect("a directory can be opened");
        rustix::fs::syncfs(&directory).expect("a filesystem can be flushed");
    }

    /// Takes all the room there is, and all the files if there are few.
    pub(crate) fn fill(&self) {
        let filler = self.path.join("filler");
        fs::create_dir(&filler).expect("there is room yet");
        for length in [1 << 20, 1 << 12, 1, 0] {
            for number in 0.. {
                let path = filler.join(format!("{length}-{number}"));
                if fs::write(path, vec![1; length]).is_err() {
                    break;
                }
                // Of files without anything in them there can be many.
                if length == 0 && number > 5000 {
                    break;
                }
            }
        }
        let full = fs::create_dir(self.path.join("one-more")).expect_err("there is no room");
        assert_eq!(full.raw_os_error(), Some(rustix::io::Errno::NOSPC.raw_os_error()));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A program that was killed may take a moment to let go.
        for _ in 0..100 {
            if succeeds("umount", &[], &[&self.path]) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        assert!(succeeds("umount", &["-l"], &[&self.path]) || thread::panicking(), "{} stays mounted", self.path.display());
    }
}
