//! A registry's storage as a value: paths, bytes and ages, put together as the registry would and damaged as only
//! disks, crashes and people can.
//!
//! Each method does what one operation of the registry does to its storage; the paths a test wants to break come from
//! [`layout`]. Nothing touches the disk before [`Tree::write_to`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::image::{Content, Image};
use super::layout;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File(Vec<u8>),
    Directory,
    /// A symbolic link and where it points.
    Symlink(String),
}

/// What is at a path, and when it was last written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) modified: SystemTime,
}

/// A registry's storage: path relative to its root directory to what is there. Directories above an entry need no entry.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    entries: BTreeMap<String, Entry>,
    now: SystemTime,
    age: Duration,
}

pub(crate) const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

pub(crate) const fn hours(count: u64) -> Duration {
    minutes(60 * count)
}

pub(crate) const fn days(count: u64) -> Duration {
    hours(24 * count)
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// Empty storage. What is added is thirty days old until [`Tree::aged`] says otherwise.
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        Self::new_at(UNIX_EPOCH + Duration::from_secs(since.as_secs()))
    }

    /// The same with a time of the caller's as now, for storage that is equal from run to run.
    pub(crate) fn new_at(now: SystemTime) -> Self {
        Self { entries: BTreeMap::new(), now, age: days(30) }
    }

    /// The time ages count from.
    pub(crate) fn now(&self) -> SystemTime {
        self.now
    }

    /// Sets how old everything added from here on is.
    pub(crate) fn aged(&mut self, age: Duration) -> &mut Self {
        self.age = age;
        self
    }

    // What the registry does.

    /// Stores a blob. One already stored keeps its time, as in the registry.
    pub(crate) fn blob(&mut self, content: &Content) -> &mut Self {
        let path = layout::blob_data(&content.digest);
        if !self.entries.contains_key(&path) {
            self.file(path, content.bytes.clone());
        }
        self
    }

    /// Lets a repository serve a layer.
    pub(crate) fn layer_link(&mut self, repository: &str, digest: &str) -> &mut Self {
        self.file(layout::layer_link(repository, digest), digest)
    }

    /// Lets a repository serve a layer under a second digest: the link at `alias` holds `digest`.
    pub(crate) fn layer_alias(&mut self, repository: &str, alias: &str, digest: &str) -> &mut Self {
        self.file(layout::layer_link(repository, alias), digest)
    }

    /// Uploads a layer or a config: blob and layer link.
    pub(crate) fn layer(&mut self, repository: &str, content: &Content) -> &mut Self {
        self.blob(content).layer_link(repository, &content.digest)
    }

    /// Uploads a layer by its sha512: blob by sha256, and a link under either digest.
    pub(crate) fn layer_by_sha512(&mut self, repository: &str, content: &Content) -> &mut Self {
        self.layer(repository, content).layer_alias(repository, &content.sha512(), &content.digest)
    }

    /// Lets a repository serve a manifest.
    pub(crate) fn revision(&mut self, repository: &str, digest: &str) -> &mut Self {
        self.file(layout::revision_link(repository, digest), digest)
    }

    /// Puts a manifest and nothing that it names: what a sparse index leaves, for one.
    pub(crate) fn put_manifest(&mut self, repository: &str, image: &Image) -> &mut Self {
        self.blob(&image.manifest).revision(repository, image.digest())
    }

    /// Pushes by digest: config, layers and children first, as clients do. No tag names it.
    pub(crate) fn push(&mut self, repository: &str, image: &Image) -> &mut Self {
        for blob in &image.blobs {
            if image.by_sha512 {
                self.layer_by_sha512(repository, blob);
            } else {
                self.layer(repository, blob);
            }
        }
        for child in &image.children {
            self.push(repository, child);
        }
        self.put_manifest(repository, image)
    }

    /// Makes a tag name a digest from now on; its history grows by it.
    pub(crate) fn tag(&mut self, repository: &str, tag: &str, digest: &str) -> &mut Self {
        self.file(layout::tag_history(repository, tag, digest), digest).file(layout::tag_current(repository, tag), digest)
    }

    /// Deletes a manifest as the API does: the revision's link, and all of each tag that names it now. The directory the
    /// link was in stays, and so do history entries of other tags, blobs and layer links.
    pub(crate) fn delete_manifest(&mut self, repository: &str, digest: &str) -> &mut Self {
        self.remove_leaving_directory(&layout::revision_link(repository, digest));
        for tag in self.tags(repository) {
            let current = layout::tag_current(repository, &tag);
            if self.bytes(&current) == Some(digest.as_bytes()) {
                self.remove(&layout::tag(repository, &tag));
            }
        }
        self.directory(layout::tags(repository))
    }

    /// Deletes a tag as registry 3 does: all of it; the revision stays.
    pub(crate) fn delete_tag(&mut self, repository: &str, tag: &str) -> &mut Self {
        self.remove(&layout::tag(repository, tag)).directory(layout::tags(repository))
    }

    /// Deletes a layer as the API does: the link; its directory and the blob stay.
    pub(crate) fn delete_layer(&mut self, repository: &str, digest: &str) -> &mut Self {
        self.remove_leaving_directory(&layout::layer_link(repository, digest))
    }

    /// Begins an upload and does not finish it.
    pub(crate) fn upload(&mut self, repository: &str, id: &str, bytes: &[u8]) -> &mut Self {
        let directory = layout::upload(repository, id);
        self.file(format!("{directory}/startedat"), "2026-01-02T03:04:05Z")
            .file(format!("{directory}/data"), bytes)
            .file(format!("{directory}/hashstates/sha256/0"), vec![0; 108])
    }

    // What happens to it otherwise.

    /// Writes a file, whatever was there.
    pub(crate) fn file(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.put(path.into(), Kind::File(bytes.into()))
    }

    /// Makes a directory, for one that is to be there without anything in it.
    pub(crate) fn directory(&mut self, path: impl Into<String>) -> &mut Self {
        self.put(path.into(), Kind::Directory)
    }

    /// Makes a symbolic link. Its target is written as given: relative to where it is, or absolute.
    pub(crate) fn symlink(&mut self, path: impl Into<String>, target: &str) -> &mut Self {
        self.put(path.into(), Kind::Symlink(target.to_owned()))
    }

    /// Removes a file, or a directory with all that is below it.
    pub(crate) fn remove(&mut self, path: &str) -> &mut Self {
        for below in self.at_or_below(path) {
            self.entries.remove(&below);
        }
        self
    }

    /// Removes a file; the directory it was in stays, perhaps empty.
    pub(crate) fn remove_leaving_directory(&mut self, path: &str) -> &mut Self {
        if self.entries.remove(path).is_some() {
            self.directory(layout::parent(path));
        }
        self
    }

    /// Moves a file, or a directory with all that is below it.
    pub(crate) fn rename(&mut self, from: &str, to: &str) -> &mut Self {
        for path in self.at_or_below(from) {
            let entry = self.entries.remove(&path).expect("it was listed just now");
            self.entries.insert(format!("{to}{}", &path[from.len()..]), entry);
        }
        self
    }

    /// Sets the age of a file, or of a directory with all that is below it.
    pub(crate) fn touch(&mut self, path: &str, age: Duration) -> &mut Self {
        let modified = self.now - age;
        self.touch_at(path, modified)
    }

    /// The same with a time, which may lie in the future.
    pub(crate) fn touch_at(&mut self, path: &str, modified: SystemTime) -> &mut Self {
        for below in self.at_or_below(path) {
            self.entries.get_mut(&below).expect("it was listed just now").modified = modified;
        }
        self
    }

    // What is in it.

    /// The bytes of a file.
    pub(crate) fn bytes(&self, path: &str) -> Option<&[u8]> {
        match &self.entries.get(path)?.kind {
            Kind::File(bytes) => Some(bytes),
            Kind::Directory | Kind::Symlink(_) => None,
        }
    }

    /// All that was put, by path.
    pub(crate) fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// Every file: relative path, bytes, modification time.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &[u8], SystemTime)> {
        self.entries.iter().filter_map(|(path, entry)| match &entry.kind {
            Kind::File(bytes) => Some((path.as_str(), bytes.as_slice(), entry.modified)),
            Kind::Directory | Kind::Symlink(_) => None,
        })
    }

    /// Every directory there is, above an entry or put by itself, with its modification time: its own when it was put,
    /// else that of the newest thing in it. Parents come before children.
    pub(crate) fn directories(&self) -> BTreeMap<String, SystemTime> {
        let mut directories = BTreeMap::<String, SystemTime>::new();
        for (path, entry) in &self.entries {
            let mut above = layout::parent(path);
            while !above.is_empty() {
                match directories.get_mut(above) {
                    Some(newest) if *newest >= entry.modified => break,
                    Some(newest) => *newest = entry.modified,
                    None => {
                        directories.insert(above.to_owned(), entry.modified);
                    }
                }
                above = layout::parent(above);
            }
        }
        for (path, entry) in &self.entries {
            if entry.kind == Kind::Directory {
                directories.insert(path.clone(), entry.modified);
            }
        }
        directories
    }

    /// Digests of all stored blobs.
    pub(crate) fn blobs(&self) -> BTreeSet<String> {
        self.files().filter_map(|(path, _, _)| digest_of_blob(path)).collect()
    }

    /// Names of a repository's tags.
    pub(crate) fn tags(&self, repository: &str) -> BTreeSet<String> {
        let tags = format!("{}/", layout::tags(repository));
        self.entries
            .range(tags.clone()..)
            .map_while(|(path, _)| path.strip_prefix(&tags))
            .filter_map(|rest| rest.split('/').next())
            .map(str::to_owned)
            .collect()
    }

    /// Writes all of it below a directory, times included.
    pub(crate) fn write_to(&self, root: &Path) {
        let directories = self.directories();
        for path in directories.keys() {
            // Sorted, so a parent is there before its child; an earlier tree may have left it there too.
            match fs::create_dir(root.join(path)) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                outcome => outcome.expect("a directory can be made"),
            }
        }
        for (path, entry) in &self.entries {
            let to = root.join(path);
            match &entry.kind {
                Kind::File(bytes) => {
                    let mut file = File::create(to).expect("a file can be made");
                    file.write_all(bytes).expect("a file can be written");
                    file.set_modified(entry.modified).expect("a file's time can be set");
                }
                Kind::Symlink(target) => symlink(target, to).expect("a symlink can be made"),
                Kind::Directory => {}
            }
        }
        for (path, modified) in &directories {
            File::open(root.join(path))
                .and_then(|directory| directory.set_modified(*modified))
                .expect("a directory's time can be set");
        }
    }

    /// Writes all of it to a new temporary directory, which goes when the value does.
    pub(crate) fn on_disk(&self) -> TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        self.write_to(directory.path());
        directory
    }

    fn put(&mut self, path: String, kind: Kind) -> &mut Self {
        let modified = self.now - self.age;
        self.entries.insert(path, Entry { kind, modified });
        self
    }

    fn at_or_below(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let inside = self.entries.range(below.clone()..).map_while(|(found, _)| found.starts_with(&below).then(|| found.clone()));
        self.entries.contains_key(path).then(|| path.to_owned()).into_iter().chain(inside).collect()
    }
}

/// The digest a path is the `data` of.
pub(crate) fn digest_of_blob(path: &str) -> Option<String> {
    let inside = path.strip_prefix(layout::BASE)?.strip_prefix("/blobs/")?;
    match inside.split('/').collect::<Vec<_>>()[..] {
        [algorithm, _, hex, "data"] => Some(format!("{algorithm}:{hex}")),
        _ => None,
    }
}

/// Everything in a directory becomes older than what counts as young.
pub(crate) fn age(root: &Path) {
    let then = SystemTime::now() - hours(2);
    for entry in walkdir::WalkDir::new(root).into_iter().map(|entry| entry.expect("listable")) {
        fs::File::open(entry.path()).and_then(|file| file.set_modified(then)).expect("a time can be set");
    }
}
