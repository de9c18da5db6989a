//! Disks that are full, or that may not be written to.
//!
//! Not here: what is mounted inside the store (`suite/hostile/places.rs`), files that may not be read (`suite/hostile.rs`).

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

use crate::mounts::{EXT4, Image, Mounted, succeeds};
use crate::skipped;
use crate::subject::{Names, Subject, gc, names};
use crate::support::layout::{self, blob_data, layer_link};
use crate::support::*;
use crate::verdict::{Allowed, Verdict, judge, lost, run_again};

/// (d) A full disk is when people collect: without a block, and without an inode, to spare.
#[test]
fn a_full_disk_is_collected() {
    let subject = Subject::small();
    let images = [Image::make(EXT4, &[]), Image::make(EXT4, &["-N", "1024"])];
    let disks = images.iter().map(|image| image.as_ref()?.mounted());
    let names_of_disks = ["ext4 without a free block", "ext4 without a free inode", "tmpfs without a free inode"];
    for (disk, name) in disks.chain([Mounted::tmpfs("nr_inodes=2000")]).zip(names_of_disks) {
        let Some(disk) = disk else {
            skipped(&format!("nothing to be mounted here: {name}"));
            continue;
        };
        subject.tree.write_to(&disk.path);
        disk.fill();
        gc(&disk.path).dry().run().expect_code(0);
        assert_eq!(names(&disk.path), subject.before, "{name}");
        let ran = gc(&disk.path).run().expect_code(0);
        assert!(ran.stderr.contains("No space left on device"), "{name}: it was not full: {}", ran.stderr);
        assert_eq!(names(&disk.path), subject.after, "{name}");
        fs::create_dir(disk.path.join("one-more")).unwrap_or_else(|error| panic!("{name}: nothing was freed: {error}"));
        // With room, the lock is as usual, and there is nothing to say.
        let again = gc(&disk.path).run().expect_code(0);
        assert!(again.stderr.is_empty() && disk.path.join(".regsweep/lock").exists(), "{name}: {}", again.stderr);
        println!("faults: {name}: collected");
    }
}

/// Where the filesystem does not tell when a file was made, a copy of a store that is still under way looks like a `chown -R`.
#[test]
fn a_copy_under_way_is_not_collected_where_no_file_tells_its_birth() {
    let subject = Subject::small();
    let image = Image::make(EXT4, &["-I", "128"]);
    let Some(disk) = image.as_ref().and_then(Image::mounted) else {
        return skipped("nothing to be mounted here: ext4 without times of birth");
    };
    subject.tree.write_to(&disk.path);
    let run = || gc(&disk.path).counting_birth();
    let refused = run().run().expect_code(2);
    assert!(refused.stderr.contains("--ignore-birth-time") && refused.stderr.contains("under way"), "{}", refused.stderr);
    run().dry().run().expect_code(2);
    assert_eq!(names(&disk.path), subject.before);
    run().arg("--ignore-birth-time").run().expect_code(0);
    let data = |names: &Names| names.keys().filter(|path| path.ends_with("/data")).cloned().collect::<Vec<_>>();
    assert!(data(&names(&disk.path)) == data(&subject.after), "it does not collect what is told to be no copy");
}

#[test]
fn a_read_only_disk_is_left_alone() {
    let subject = Subject::small();
    let Some(disk) = Mounted::tmpfs("size=64m") else {
        return skipped("nothing may be mounted here: no disk is read-only");
    };
    subject.tree.write_to(&disk.path);
    // Without a lock file, and with one.
    for _ in 0..2 {
        assert!(disk.remount("ro"));
        let refused = gc(&disk.path).run().expect_code(2);
        assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
        gc(&disk.path).dry().run().expect_code(0);
        assert_eq!(names(&disk.path), subject.before);
        assert!(disk.remount("rw"));
        fs::create_dir_all(disk.path.join(".regsweep")).expect("made");
        fs::write(disk.path.join(".regsweep/lock"), "").expect("written");
    }
    gc(&disk.path).run().expect_code(0);
    assert_eq!(names(&disk.path), subject.after);
}

/// What may not be removed is left with all that it leads to, and said; the next run finishes when it may.
#[test]
fn what_is_immutable_is_left_until_it_is_not() {
    let subject = Subject::small();
    let alias = layer(32).sha512();
    for place in [
        blob_data(&layer(2).digest),
        layout::blob_directory(&layer(90).digest),
        layer_link("team/app", &layer(20).digest),
        layer_link("team/web", &alias),
        layout::parent(&layer_link("team/web", &alias)).to_owned(),
    ] {
        assert!(subject.before.contains_key(&place) && !subject.after.contains_key(&place), "{place} is no garbage");
        let root = subject.on_disk();
        let set = |flag: &str| succeeds("chattr", &[flag], &[&root.path().join(&place)]);
        if !set("+i") {
            return skipped("no immutable files here");
        }
        let ran = gc(root.path()).run();
        let is_left = root.path().join(&place).exists();
        assert!(set("-i"));
        let ran = ran.expect_code(3);
        assert!(is_left && ran.finding_codes().contains(&"failed-removal".to_owned()), "{place}: {:?}", ran.finding_codes());
        let verdict = judge(&subject, root.path(), &ran, Allowed::default());
        assert!(verdict.is_good(), "{place}: {verdict:#?}");
    }
}

/// Runs as `nobody`, who may go anywhere but own nothing.
fn as_nobody(program: &Path, root: &Path) -> Option<Outcome> {
    // Nor does it matter which registries of others it may not look into.
    let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    succeeds(words[0], &[&words[1..], &["true"]].concat(), &[])
        .then(|| gc(root).arg("--assume-offline").program(program).under(words).run())
}

#[test]
fn another_user_removes_nothing_and_is_told_why() {
    let subject = Subject::small();
    // The build directory is root's alone on some machines.
    let aside = tempfile::tempdir().expect("a directory");
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its own directory");
    open(aside.path());
    let program = aside.path().join("regsweep");
    fs::copy(env!("CARGO_BIN_EXE_regsweep"), &program).expect("copied");

    let root = subject.on_disk();
    open(root.path());
    let Some(refused) = as_nobody(&program, root.path()) else {
        return skipped("only root becomes somebody else");
    };
    let refused = refused.expect_code(2);
    assert!(refused.stderr.contains("Permission denied") && refused.stderr.contains(".regsweep"), "{}", refused.stderr);
    assert_eq!(names(root.path()), subject.before);

    // May lock, and may not remove: nothing was changed.
    let own = root.path().join(".regsweep");
    fs::create_dir(&own).expect("made");
    assert!(succeeds("chown", &["65534:65534"], &[&own]));
    let ran = as_nobody(&program, root.path()).expect("it went before").expect_code(2);
    assert!(ran.stdout.contains("Permission denied"), "{}", ran.stdout);
    let mut verdict = Verdict { lost: lost(&subject, root.path(), &names(root.path())), ..Verdict::default() };
    assert_eq!(names(root.path()), subject.before);
    run_again(&subject, root.path(), &mut verdict);
    assert!(verdict.is_good(), "{verdict:#?}");
}

/// Memory that reads wrong where the disk is right: `verify` asks the disk before it takes anything away.
#[test]
fn what_is_wrong_in_the_page_cache_alone_is_not_quarantined() {
    for count in [3, 12] {
        wrong_in_the_page_cache(count);
    }
}

/// The same for so many blobs: few of them are no less right on the disk than many.
fn wrong_in_the_page_cache(count: u8) {
    let Some(image) = Image::make(EXT4, &[]) else { return skipped("no ext4 here: no page cache is made wrong") };
    let layers: Vec<Content> = (0..count).map(|number| Content::new([[number, 0x5a].repeat(4096), vec![7]].concat())).collect();
    let Some(disk) = image.mounted() else { return skipped("nothing may be mounted here: no page cache is made wrong") };
    registry().repo("a").image("x", &layers).tag("v1").write_to(&disk.path);
    drop(disk);
    let right = fs::read(image.file()).expect("an image");
    let mut wrong = right.clone();
    for layer in &layers {
        let places: Vec<usize> = (0..right.len()).step_by(1024).filter(|&at| right[at..].starts_with(&layer.bytes)).collect();
        let [place] = places[..] else { panic!("it is there {} times", places.len()) };
        wrong[place] ^= 1;
    }
    let file = fs::File::options().write(true).open(image.file()).expect("an image");
    file.write_all_at(&wrong, 0).expect("written");
    let disk = image.mounted().expect("it was before");
    for layer in &layers {
        assert_ne!(fs::read(disk.path.join(blob_data(&layer.digest))).expect("cached"), layer.bytes, "read wrong");
    }
    // Beneath the filesystem, which remembers what it has read.
    for (place, _) in wrong.iter().zip(&right).enumerate().filter(|(_, (wrong, right))| wrong != right) {
        file.write_all_at(&right[place..=place], place as u64).expect("written");
    }
    let verify = |flags: &[&str]| Regsweep::new().args(["verify", "--root"]).arg(&disk.path).args(flags).json().run();
    let ran = verify(&["--quarantine", "--min-age", "0s"]).expect_code(1);
    let codes = ran.finding_codes();
    assert_eq!(codes.iter().filter(|code| *code == "corrupt-blob").count(), usize::from(count), "{codes:?}");
    let suspicion = ran.findings().into_iter().find(|finding| finding.code == "suspect-disk").expect("said");
    assert!(
        suspicion.message.contains(&format!("{count} of them right past the page cache: it looks like the memory")),
        "{suspicion:?}"
    );
    assert_eq!(ran.report()["quarantined"]["blobs"], 0);
    drop(disk);
    let disk = image.mounted().expect("it was before");
    Regsweep::new().args(["verify", "--root"]).arg(&disk.path).run().expect_code(0);
}
