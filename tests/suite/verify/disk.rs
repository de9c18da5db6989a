//! A disk that has lost a sector: btrfs in a file, with the bytes of one blob overwritten under it.

use std::process::Stdio;

use super::*;

const PAGE_BYTES: usize = 4096;

/// A filesystem in a file. Gone with the value.
struct Disk {
    directory: tempfile::TempDir,
}

impl Disk {
    /// Nothing where that cannot be had.
    fn new() -> Option<Disk> {
        let disk = Disk { directory: tempfile::tempdir().expect("a directory") };
        fs::create_dir(disk.mount_point()).expect("made");
        fs::File::create(disk.image()).and_then(|image| image.set_len(200 << 20)).expect("made");
        let made = succeeds(Command::new("mkfs.btrfs").args(["-q", "-m", "single", "-d", "single"]).arg(disk.image()));
        (made && disk.mount()).then_some(disk)
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn mount_point(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    fn mount(&self) -> bool {
        succeeds(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.mount_point()))
    }

    fn unmount(&self) -> bool {
        succeeds(Command::new("umount").arg(self.mount_point()))
    }

    /// Overwrites the one place on the disk where a page begins with these bytes.
    fn lose(&self, bytes: &[u8]) {
        assert!(self.unmount(), "nobody uses it");
        let image = fs::read(self.image()).expect("readable");
        // A file's pages begin where the disk's do.
        let pages = image.chunks(PAGE_BYTES).enumerate().filter(|(_, page)| page.starts_with(bytes));
        let places: Vec<usize> = pages.map(|(number, _)| number * PAGE_BYTES).collect();
        let [place] = places[..] else { panic!("it is there {} times", places.len()) };
        let file = fs::File::options().write(true).open(self.image()).expect("there");
        file.write_all_at(&vec![0; bytes.len()], place as u64).expect("written");
        file.sync_all().expect("written");
        assert!(self.mount(), "mounted once, mounted again");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn a_lost_sector_is_told_with_its_place_and_the_rest_is_read() {
    let Some(disk) = Disk::new() else {
        skipped("only root mounts, and only with btrfs-progs");
        return;
    };
    let tree = tree();
    tree.write_to(&disk.mount_point());
    let large = layer_of(2, LARGE);
    verify(&disk.mount_point()).run().expect_code(0);
    let place = 150 * PAGE_BYTES;
    disk.lose(&large.bytes[place..place + 32]);
    let ran = verify(&disk.mount_point()).json().run().expect_code(1);
    assert_eq!(found(&ran), [("unreadable-blob".to_owned(), large.digest)]);
    let message = ran.findings()[0].message.clone();
    assert!(message.contains("Input/output error"), "{message}");
    let offset: usize = message.split_whitespace().find_map(|word| word.parse().ok()).expect("an offset");
    assert!((512 << 10..=place).contains(&offset), "{message}");
    assert_eq!(number(&ran, "/good/blobs"), tree.blobs().len() as u64 - 1);
}
