//! The store that everything is done to: small, with everything in it that a sweep decides about.

use std::collections::BTreeMap;
use std::path::Path;

use tempfile::TempDir;

use crate::support::layout::{self, blob_data, layer_link, revision_link, tag_current};
use crate::support::snapshot::SeenKind;
use crate::support::*;

/// What is below `docker/`, by path. Modes and times are left out: those of a directory change with what is in it.
pub(crate) type Names = BTreeMap<String, SeenKind>;

/// A store, and what is to become of it.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) tree: Tree,
    /// What a pull of any kept image reads: path and content of blobs and links.
    pub(crate) live: BTreeMap<String, Vec<u8>>,
    pub(crate) before: Names,
    /// What an uninterrupted run leaves.
    pub(crate) after: Names,
}

/// Collects as all runs here do. `--jobs 1` makes the system calls the same in every run. All points may take longer than the hour of
/// the default, and what is young has to stay so.
pub(crate) fn gc(root: &Path) -> Regsweep {
    let words =
        ["garbage-collect", "-m", "--allow-shared-blobs", "--min-age", "12h", "--format", "json", "--jobs", "1", "--root"];
    Regsweep::new().args(words).arg(root)
}

pub(crate) fn names(root: &Path) -> Names {
    let all = snapshot(&root.join("docker")).into_iter();
    all.map(|(path, seen)| (format!("docker/{path}"), seen.kind)).collect()
}

/// A temporary directory, in memory if that is to be had: a flush of a real disk waits for everybody who writes there.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory can be made")
}

impl Subject {
    /// The store of most tests.
    pub(crate) fn small() -> Subject {
        let mut live = Live::default();
        let kept = images(&mut live);
        let dropped_index = index(&[oci_image("dropped amd64", &[layer(7)]), oci_image("dropped arm64", &[layer(1), layer(8)])]);
        let old = oci_image("old", &[layer(1), layer(2)]);
        let old_signature = oci_image("signature of old", &[layer(9)]).referring_to(&old);
        let lost_512 = docker_image("untagged, by sha512", &[layer(32)]).with_sha512_descriptors();
        let nobodys_directory = layout::blob_directory(&layer(95).digest);
        let tree = registry()
            .repo("team/app")
            .pushed(&old)
            .tag("latest")
            .pushed(&old_signature)
            .pushed(&dropped_index)
            .tag("multi")
            .upload_layer(&layer(20))
            .upload_layer(&layer(21))
            .with(|tree| {
                tree.upload("team/app", "3a1e7f7e-0000-4000-8000-000000000000", b"half a layer");
                tree.layer("team/app", &layer(22)).delete_layer("team/app", &layer(22).digest);
            })
            .repo("team/web")
            .pushed(&lost_512)
            .image("deleted", &[layer(34)])
            .tag("v3")
            .deleted()
            .stray_blob(&layer(90))
            .stray_blob(&layer(91))
            .with(|tree| {
                tree.directory(nobodys_directory);
                kept(tree);
            });
        Subject::of(tree.into_tree(), live)
    }

    /// Large enough for a sweep to last: for what comes at a random time.
    pub(crate) fn large() -> Subject {
        let mut live = Live::default();
        let kept = images(&mut live);
        let mut tree = Tree::new();
        for number in 0..120 {
            let repository = format!("many/{}", number % 20);
            let image = oci_image(&format!("kept {number}"), &[layer(1000 + number), layer(1)]);
            tree.push(&repository, &image).tag(&repository, &format!("v{number}"), image.digest());
            live.image(&repository, &image).tag(&repository, &format!("v{number}"));
            let dropped = oci_image(&format!("dropped {number}"), &[layer(2000 + number), layer(3000 + number), layer(1)]);
            tree.push(&repository, &dropped).layer(&repository, &layer(4000 + number)).blob(&layer(5000 + number));
        }
        kept(&mut tree);
        Subject::of(tree, live)
    }

    fn of(tree: Tree, live: Live) -> Subject {
        let content = |path: String| {
            let bytes = tree.bytes(&path).unwrap_or_else(|| panic!("{path} is needed and was never put")).to_vec();
            (path, bytes)
        };
        let live: BTreeMap<String, Vec<u8>> = live.paths.into_iter().map(content).collect();
        let root = directory();
        tree.write_to(root.path());
        let before = names(root.path());
        gc(root.path()).run().expect_code(0);
        let after = names(root.path());
        Subject { tree, live, before, after }
    }

    pub(crate) fn on_disk(&self) -> TempDir {
        let root = directory();
        self.tree.write_to(root.path());
        root
    }
}

/// Notes what has to be pulled, and returns what pushes it.
fn images(live: &mut Live) -> impl FnOnce(&mut Tree) + use<> {
    let new = oci_image("new", &[layer(1), layer(3)]);
    let multi = index(&[oci_image("amd64", &[layer(1), layer(4)]), oci_image("arm64", &[layer(5)])]);
    let signature = oci_image("signature", &[layer(6)]).referring_to(&multi);
    let by_512 = docker_image("by sha512", &[layer(30), layer(31)]).with_sha512_descriptors();
    let base = schema1_image("base", &[layer(1)]);
    let report = artifact_manifest("report", &[layer(36)]);
    let list = manifest_list(&[docker_image("s390x", &[layer(37)])]);
    let young = oci_image("young", &[layer(40), layer(41)]);
    live.image("team/app", &new).tag("team/app", "latest").tag("team/app", "v2");
    live.image("team/app", &multi).tag("team/app", "multi").image("team/app", &signature);
    live.image("team/web", &by_512).tag("team/web", "v1");
    live.image("library/base", &base).tag("library/base", "1");
    live.image("library/base", &report).tag("library/base", "report").image("library/base", &list).tag("library/base", "list");
    live.image("team/app", &young).layer("team/web", &layer(42));
    move |tree| {
        let tags: [(&str, &Image, &[&str]); 7] = [
            ("team/app", &new, &["latest", "v2"]),
            ("team/app", &multi, &["multi"]),
            ("team/app", &signature, &[]),
            ("team/web", &by_512, &["v1"]),
            ("library/base", &base, &["1"]),
            ("library/base", &report, &["report"]),
            ("library/base", &list, &["list"]),
        ];
        for (repository, image, tags) in tags {
            tree.push(repository, image);
            for tag in tags {
                tree.tag(repository, tag, image.digest());
            }
        }
        tree.aged(minutes(1)).push("team/app", &young).layer("team/web", &layer(42)).aged(days(30));
    }
}

/// The paths that pulls need.
#[derive(Debug, Default)]
struct Live {
    paths: Vec<String>,
}

impl Live {
    fn layer(&mut self, repository: &str, content: &Content) -> &mut Self {
        self.paths.extend([blob_data(&content.digest), layer_link(repository, &content.digest)]);
        self
    }

    fn image(&mut self, repository: &str, image: &Image) -> &mut Self {
        for blob in &image.blobs {
            self.layer(repository, blob);
            if image.by_sha512 {
                self.paths.push(layer_link(repository, &blob.sha512()));
            }
        }
        for child in &image.children {
            self.image(repository, child);
        }
        self.paths.extend([blob_data(image.digest()), revision_link(repository, image.digest())]);
        self
    }

    fn tag(&mut self, repository: &str, tag: &str) -> &mut Self {
        self.paths.push(tag_current(repository, tag));
        self
    }
}

/// The store has what the other tests presuppose; and what has to stay and to go does, before any fault.
#[test]
fn without_a_fault_all_garbage_goes_and_nothing_else() {
    for subject in [Subject::small(), Subject::large()] {
        let blobs = |names: &Names| -> Vec<String> { names.keys().filter_map(|path| tree::digest_of_blob(path)).collect() };
        let needed: Vec<String> = subject.live.keys().filter_map(|path| tree::digest_of_blob(path)).collect();
        assert_eq!(blobs(&subject.after), needed);
        assert!(subject.live.keys().all(|path| subject.after.contains_key(path)));
        let links = |names: &Names| names.keys().filter(|path| path.ends_with("/link")).count();
        assert!(links(&subject.before) > links(&subject.after) && blobs(&subject.before).len() > needed.len());
        // The run was a real one, and the next finds nothing to do.
        let root = subject.on_disk();
        let plan = gc(root.path()).run().expect_code(0).report();
        assert!(plan["removed"]["blobs"].as_u64() > Some(10), "{plan}");
        let again = gc(root.path()).run().expect_code(0).report();
        assert_eq!(again["removed"]["blobs"], 0);
        assert_eq!(names(root.path()), subject.after);
    }
}
