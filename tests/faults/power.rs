//! Power cuts on ext4 and xfs, in files on loop devices.
//!
//! `xfs_io -x -c shutdown` ends a filesystem without writing its log, on ext4 as well: what was done since the last flush is undone when
//! it is mounted again, as after a power cut. Counted is how often that was so.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::figures::{Tried, numbers, try_all};
use crate::mounts::{EXT4, Image, Kind, Mounted, XFS};
use crate::strace::{self, Effect, Fault, Thread};
use crate::subject::{Names, Subject, gc, names};
use crate::support::layout::blob_data;
use crate::support::*;
use crate::verdict::{Verdict, lost, run_again};
use crate::{skipped, whole};

/// When the power goes.
#[derive(Debug)]
enum Cut {
    /// Once a call is reached, which is not made any more.
    At(Fault),
    /// So long after the run began, and while it goes on.
    After(Duration),
    /// When it has ended.
    AtTheEnd,
}

/// A filesystem with a store on it that is all on the disk.
fn image_of(subject: &Subject, kind: Kind) -> Option<Image> {
    let image = Image::make(kind, &[])?;
    let mounted = image.mounted()?;
    subject.tree.write_to(&mounted.path);
    mounted.flush();
    drop(mounted);
    Some(image)
}

/// (c) The power goes at any removal of a sweep, at its flush, and when it has ended.
#[test]
fn the_power_goes_at_any_removal() {
    let subject = Subject::small();
    let calls = if strace::works() { strace::baseline(&subject) } else { None };
    let Some(calls) = calls else { return skipped("no strace: the power is not cut") };
    for kind in [EXT4, XFS] {
        let name = kind.name;
        let Some(image) = image_of(&subject, kind) else {
            skipped(&format!("no {name} can be made and mounted here: its power is not cut"));
            continue;
        };
        if !image.copied().mounted().expect("it could be mounted").cut_power() {
            skipped(&format!("no xfs_io, or it does not shut down {name}: its power is not cut"));
            continue;
        }
        let mut points = vec![Cut::AtTheEnd];
        for call in ["unlinkat", "syncfs"] {
            let count = calls[&(Thread::Worker, call.to_owned())];
            points.extend(
                numbers(count, 20, 0)
                    .into_iter()
                    .map(|nth| Cut::At(Fault { thread: Thread::Worker, call: call.to_owned(), nth, effect: Effect::Kill })),
            );
        }
        points.extend((0..if whole() { 50 } else { 8 }).map(|nth| Cut::After(Duration::from_micros(500 * nth))));
        let undone = AtomicUsize::new(0);
        try_all(&format!("power cut on {name}"), &points, |cut| {
            let image = image.copied();
            let mounted = image.mounted().expect("it could be mounted before");
            let Some(then) = cut.strike(&mounted) else { return Tried::NotReached };
            drop(mounted);
            let mounted = image.mounted().expect("a filesystem outlives a power cut");
            let now = names(&mounted.path);
            undone.fetch_add(usize::from(!then.is_empty() && now != then), Ordering::Relaxed);
            let mut verdict = Verdict { lost: lost(&subject, &mounted.path, &now), ..Verdict::default() };
            run_again(&subject, &mounted.path, &mut verdict);
            Tried::Struck(verdict)
        });
        let undone = undone.into_inner();
        println!("faults: power cut on {name}: {undone} times something came back that was gone");
        assert!(undone > 0, "no power was cut");
    }
}

impl Cut {
    /// Runs until the power goes, and cuts it. Returns what was there just before, as far as that is known; nothing if the run ended
    /// first.
    fn strike(&self, mounted: &Mounted) -> Option<Names> {
        match self {
            Cut::At(fault) => {
                let (_, struck) = fault.run(&mounted.path);
                if !struck {
                    return None;
                }
            }
            Cut::AtTheEnd => {
                gc(&mounted.path).run().expect_code(0);
            }
            Cut::After(delay) => {
                let running = gc(&mounted.path).start();
                thread::sleep(*delay);
                assert!(mounted.cut_power());
                let ran = running.wait();
                // It never says that all is well when it is not; that it had ended before is well.
                assert!(matches!(ran.code, Some(0 | 2 | 3)), "{:?}: {}", ran.code, ran.stderr);
                return Some(Names::new());
            }
        }
        let then = names(&mounted.path);
        assert!(mounted.cut_power());
        Some(then)
    }
}

/// Blobs on one filesystem and links on another, as administrators have it: nothing but our flush puts one before the other.
struct Two {
    links: Image,
    blobs: Image,
    mounted: Option<(Mounted, Mounted)>,
}

impl Two {
    fn make(subject: &Subject) -> Option<Two> {
        let mut two = Two { links: Image::make(EXT4, &[])?, blobs: Image::make(EXT4, &[])?, mounted: None };
        let (links, blobs) = (two.links.mounted()?, two.blobs.mounted()?);
        std::fs::create_dir_all(links.path.join(layout::BASE)).expect("made");
        std::fs::create_dir(blobs.path.join("blobs")).expect("made");
        std::os::unix::fs::symlink(blobs.path.join("blobs"), links.path.join(layout::BASE).join("blobs")).expect("linked");
        subject.tree.write_to(&links.path);
        links.flush();
        blobs.flush();
        two.mounted = Some((links, blobs));
        Some(two)
    }

    fn links(&self) -> &Path {
        &self.mounted.as_ref().expect("mounted").0.path
    }

    /// What was done to blobs gets to the disk by chance, and what was done to links does not. Says whether the power can be cut here.
    fn cut_power_of_links(&mut self) -> bool {
        let (links, blobs) = self.mounted.take().expect("mounted");
        blobs.flush();
        let is_cut = links.cut_power();
        drop(links);
        self.mounted = Some((self.links.mounted().expect("a filesystem outlives a power cut"), blobs));
        is_cut
    }

    /// Links that are there and lead to blobs that a sweep took.
    fn broken_links(&self, subject: &Subject) -> Vec<String> {
        let links = names(self.links()).into_keys().filter(|path| path.ends_with("/link"));
        let blob_of = |link: &String| blob_data(&std::fs::read_to_string(self.links().join(link)).expect("a link can be read"));
        links.filter(|link| subject.before.contains_key(&blob_of(link)) && !self.links().join(blob_of(link)).exists()).collect()
    }

    fn is_complete(&self, subject: &Subject) {
        for (path, content) in &subject.live {
            assert_eq!(std::fs::read(self.links().join(path)).ok().as_ref(), Some(content), "{path}");
        }
        assert_eq!(self.broken_links(subject), Vec::<String>::new(), "links came back without their blobs");
    }
}

/// I7: the flush between links and blobs. Also when the run that removed the links was killed before it.
#[test]
fn a_power_cut_brings_back_no_link_without_its_blob() {
    if !strace::works() {
        return skipped("no strace: the power of one of two filesystems is not cut");
    }
    let subject = Subject::small();
    for killed_first in [false, true] {
        let Some(mut two) = Two::make(&subject) else {
            return skipped("no ext4 can be made and mounted here: the power of one of two filesystems is not cut");
        };
        if killed_first {
            let kill = Fault { thread: Thread::Worker, call: "syncfs".into(), nth: 1, effect: Effect::Kill };
            let (_, struck) = kill.run(two.links());
            assert!(struck, "a sweep without a flush");
        }
        gc(two.links()).run().expect_code(0);
        let blobs = snapshot::blobs_on_disk(two.links());
        assert!(!blobs.is_empty() && !blobs.contains_key(&layer(2).digest), "{blobs:?}");
        if !two.cut_power_of_links() {
            return skipped("no xfs_io, or it does not shut down ext4: the power of one of two filesystems is not cut");
        }
        two.is_complete(&subject);
        gc(two.links()).run().expect_code(0);
        two.is_complete(&subject);
    }
}
