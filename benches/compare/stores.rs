//! The stores that are compared on, written once and kept.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::image::{self, Image};
use crate::support::{Content, Tree, layer};

/// A healthy store: so many repositories, each with so many tags, each pushed so many times.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    repositories: u64,
    tags: u64,
    pushes: u64,
}

/// Layers of each image that are its own; two more are shared by all.
const OWN_LAYERS: u64 = 4;

impl Shape {
    /// Many repositories.
    pub(crate) const WIDE: Shape = Shape { repositories: 200, tags: 10, pushes: 5 };
    /// Few repositories with many tags.
    pub(crate) const DEEP: Shape = Shape { repositories: 2, tags: 1500, pushes: 3 };
    /// Small enough to be read cold many times.
    pub(crate) const COLD: Shape = Shape { repositories: 60, tags: 10, pushes: 5 };
    /// The same at sizes that grow by about three.
    pub(crate) const GROWING: [Shape; 5] = [
        Shape { repositories: 7, tags: 10, pushes: 5 },
        Shape { repositories: 20, tags: 10, pushes: 5 },
        Shape { repositories: 60, tags: 10, pushes: 5 },
        Shape::WIDE,
        Shape { repositories: 600, tags: 10, pushes: 5 },
    ];

    /// How many blobs it has.
    pub(crate) fn blobs(&self) -> u64 {
        self.repositories * self.tags * self.pushes * (OWN_LAYERS + 2) + 2
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { repositories, tags, pushes } = self;
        write!(f, "{repositories} repositories x {tags} tags x {pushes} pushes, {} blobs", self.blobs())
    }
}

/// Writes a store unless it is there.
pub(crate) fn make(directory: &Path, shape: Shape) -> PathBuf {
    let root = directory.join(format!("{}x{}x{}", shape.repositories, shape.tags, shape.pushes));
    if root.exists() {
        return root;
    }
    let mut tree = Tree::new();
    let shared = [layer(0), layer(1)];
    let mut serial = 0;
    for repository in 0..shape.repositories {
        let name = format!("team{}/app{repository}", repository % 10);
        for tag in 0..shape.tags {
            for _ in 0..shape.pushes {
                serial += 1;
                let image = docker_image(serial, &shared);
                tree.push(&name, &image).tag(&name, &format!("v{tag}"), image.digest());
            }
        }
    }
    write(&tree, &root)
}

fn docker_image(serial: u64, shared: &[Content]) -> Image {
    let own = (0..OWN_LAYERS).map(|number| layer(2 + serial * OWN_LAYERS + number));
    let layers: Vec<Content> = shared.iter().cloned().chain(own).collect();
    image::docker_image(&format!("image {serial}"), &layers)
}

/// Writes a store with one image and so many blobs that nothing links.
pub(crate) fn make_garbage(directory: &Path, blobs: u64) -> PathBuf {
    let root = directory.join(format!("garbage-{blobs}"));
    if root.exists() {
        return root;
    }
    let mut tree = Tree::new();
    let kept = image::docker_image("kept", &[layer(0)]);
    tree.push("kept", &kept).tag("kept", "v1", kept.digest());
    for number in 1..=blobs {
        tree.blob(&layer(number));
    }
    write(&tree, &root)
}

/// Under another name first: a store that was not finished is not to be taken for one.
fn write(tree: &Tree, root: &Path) -> PathBuf {
    let unfinished = root.with_extension("unfinished");
    let _ = std::fs::remove_dir_all(&unfinished);
    std::fs::create_dir_all(&unfinished).expect("the directory for stores can be made");
    tree.write_to(&unfinished);
    std::fs::rename(&unfinished, root).expect("the finished store can be named");
    root.to_owned()
}

/// Copies a store, in place of an earlier copy, and waits until the disk has it.
pub(crate) fn copy_anew(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    run("cp", &["-a".as_ref(), from.as_ref(), to.as_ref()]);
    run("sync", &["-f".as_ref(), to.as_ref()]);
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) {
    let status = Command::new(program).args(arguments).status().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {arguments:?} ended with {status}");
}

/// A filesystem of its own, whose cache can be emptied without a word to any other.
pub(crate) struct LoopImage {
    mount: PathBuf,
    file: PathBuf,
}

impl LoopImage {
    /// Makes an ext4 image that holds a copy of a store; nothing without the right to.
    pub(crate) fn mount(directory: &Path, store: &Path) -> Option<LoopImage> {
        let image = LoopImage { mount: directory.join("cold"), file: directory.join("cold.img") };
        std::fs::create_dir_all(&image.mount).ok()?;
        run("truncate", &["-s".as_ref(), "4G".as_ref(), image.file.as_ref()]);
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), "-N".as_ref(), "1000000".as_ref(), image.file.as_ref()]);
        image.attach()?;
        run("cp", &["-a".as_ref(), store.as_ref(), image.root().as_os_str()]);
        Some(image)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.mount.join("store")
    }

    /// Empties the cache of this filesystem.
    pub(crate) fn forget(&self) {
        run("umount", &[self.mount.as_ref()]);
        self.attach().expect("what was mounted once can be mounted again");
    }

    /// The loop device reads past the page cache: else the image's own file would be the cache.
    fn attach(&self) -> Option<()> {
        let attached = Command::new("losetup").args(["--find", "--show", "--direct-io=on"]).arg(&self.file).output().ok()?;
        let device = String::from_utf8_lossy(&attached.stdout).trim().to_owned();
        let mounted = Command::new("mount").arg(&device).arg(&self.mount).status().ok()?.success();
        // Detaches when it is unmounted.
        let _ = Command::new("losetup").args(["--detach", &device]).status();
        mounted.then_some(())
    }
}

impl Drop for LoopImage {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.mount).status();
        let _ = std::fs::remove_file(&self.file);
    }
}
