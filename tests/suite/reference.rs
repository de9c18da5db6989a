//! A second collector, slow and obvious, written from the design alone: what has to go from a [`Tree`].
//!
//! It knows nothing of the product: sets of strings, and loops over all files for each question. Where the design can
//! be read in more than one way a comment marked *Reading* says which way was taken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::tree::Kind;
use crate::support::{Tree, layout, sha256, sha512};

type Digests = BTreeSet<String>;

// What the design leaves open, one switch for each reading. `true` is the more careful one.

/// An empty, garbled or disagreeing layer link holds its repository although a kept manifest needs the digest of its
/// directory, so that it stays anyway.
const NEEDED_BROKEN_LAYER_LINK_HOLDS: bool = false;
/// An empty, garbled or disagreeing link in a tag's history, which is no root, holds its repository.
const BROKEN_HISTORY_HOLDS: bool = false;
/// With `--delete-untagged`, an untagged revision that cannot be read holds its repository: it may be a referrer.
const UNREADABLE_UNTAGGED_REVISION_HOLDS: bool = true;
/// What an index lists with a media type that is no manifest's, and that does not match its digest, holds.
const UNREADABLE_LISTED_HOLDS: bool = false;
/// A referrer stays for a subject that a kept index names and that is not stored.
const ABSENT_SUBJECT_KEEPS_REFERRER: bool = true;
/// The directory of a missing link or blob stays while the link or blob is wanted.
const WANTED_DIRECTORIES_STAY: bool = true;
/// What a held repository keeps is also named by directories of layer links and of history that have no link in them.
const DIRECTORIES_OF_HELD_COUNT: bool = true;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) min_age: Duration,
    pub(crate) delete_untagged: bool,
}

/// Something that has to go: kind, path and reason as a plan row gives them.
pub(crate) type Target = (&'static str, String, &'static str);

/// A file called `link` where the registry has one.
#[derive(Clone, Debug)]
struct Link {
    place: Place,
    path: String,
    /// The digest its directory names. A tag's current link has none.
    named: Option<String>,
    /// The digest it holds, if it holds one.
    content: Option<String>,
    /// Whether it is a file at all.
    is_file: bool,
    modified: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Revision,
    Layer,
    Current,
    History,
}

/// How a manifest speaks of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum As {
    /// Config, layer, anything that is not read.
    Leaf,
    /// In an index, with a media type that is no manifest's.
    Listed,
    Manifest,
}

/// What the store has for a manifest's digest.
enum Stored {
    Absent,
    Mismatch,
    NoJson,
    Json(Value),
}

struct Repository {
    name: String,
    links: Vec<Link>,
    /// Digests that directories are named by in `_layers` and in histories, with a link in them or not.
    directories: Vec<(Place, String)>,
    held: bool,
    /// What kept manifests reach, themselves included.
    reached: Digests,
    /// Blobs that stay for other reasons.
    live: Digests,
}

/// Everything that has to go from a tree.
pub(crate) fn what_goes(tree: &Tree, policy: Policy) -> BTreeSet<Target> {
    let young = |modified: SystemTime| tree.now().duration_since(modified).map_or(true, |age| age < policy.min_age);
    let mut repositories = repositories(tree);
    for repository in &mut repositories {
        decide(repository, tree, policy, &young);
    }

    let mut goes = BTreeSet::new();
    let mut dropped = Digests::new();
    for repository in repositories.iter().filter(|repository| !repository.held) {
        let kept = |revision: &Link| !policy.delete_untagged || repository.reaches(revision);
        for link in &repository.links {
            // Reading: the minimum age holds for every link, history entries of dropped revisions too (section 3 says
            // it of layer links; STYLE G2 says that nothing younger goes).
            if young(link.modified) {
                continue;
            }
            match (link.place, repository.revision_of(link)) {
                (Place::Revision, _) if !kept(link) => {
                    dropped.extend(link.named.clone());
                    goes.insert(("revision", link.path.clone(), "untagged"));
                }
                (Place::History, Some(revision)) if !kept(revision) => {
                    goes.insert(("tag-history", link.path.clone(), "untagged"));
                }
                // Reading: not when a tag names it all the same, as one whose revision was lost.
                (Place::History, None) if !repository.is_target(link) => {
                    goes.insert(("tag-history", link.path.clone(), "revision-gone"));
                }
                (Place::Layer, _) if !repository.reaches(link) => {
                    goes.insert(("layer-link", link.path.clone(), "unreferenced"));
                }
                _ => {}
            }
        }
    }

    let links_to = |digest: &str| -> Vec<&Link> {
        repositories.iter().flat_map(|repository| &repository.links).filter(|link| link.speaks_of(digest)).collect()
    };
    let is_wanted = |digest: &str| is_live(&repositories, digest) || links_to(digest).iter().any(|link| young(link.modified));
    for (path, _, modified) in tree.files() {
        let Some(digest) = blob_at(path) else { continue };
        if is_wanted(&digest) || young(modified) {
            continue;
        }
        let linked = if links_to(&digest).is_empty() { "unlinked" } else { "unreferenced" };
        goes.insert(("blob", path.to_owned(), if dropped.contains(&digest) { "untagged" } else { linked }));
    }

    let directories = tree.directories();
    let something_in = |directory: &str| {
        let inside = format!("{directory}/");
        tree.entries().keys().chain(directories.keys()).any(|path| path.starts_with(&inside))
    };
    for (directory, modified) in &directories {
        // The directory of a link or of a blob is one that would be recognised with its file in it.
        // Reading: a blob that is not there is wanted by whatever would keep it if it were, a young link among that.
        let of_blob = blob_at(&format!("{directory}/data")).is_some_and(|digest| !WANTED_DIRECTORIES_STAY || !is_wanted(&digest));
        let of_link = link_at(&format!("{directory}/link")).is_some_and(|(name, place, named)| {
            let named = named.unwrap_or_default();
            let repository = repositories.iter().find(|repository| repository.name == name && !repository.held);
            repository.is_some_and(|repository| match place {
                Place::Current => false,
                Place::Revision => true,
                Place::Layer => !WANTED_DIRECTORIES_STAY || !repository.reached.contains(&named),
                Place::History => {
                    let goes_on = repository
                        .of(Place::Revision)
                        .any(|link| link.named.as_ref() == Some(&named) && repository.reaches(link));
                    let target = repository.of(Place::Current).any(|link| link.content.as_ref() == Some(&named));
                    !WANTED_DIRECTORIES_STAY || !(goes_on || target)
                }
            })
        });
        if (of_blob || of_link) && !young(*modified) && !something_in(directory) {
            goes.insert(("empty-directory", directory.clone(), "empty-directory"));
        }
        if let Some((name, tag)) = directory.split_once("/_manifests/tags/")
            && !tag.contains('/')
            && repositories.iter().any(|repository| layout::repository(&repository.name) == name && !repository.held)
        {
            // A tag in which there is nothing but directories.
            let inside = format!("{directory}/");
            let within = || directories.iter().filter(|(path, _)| path.starts_with(&inside));
            let has_files = tree.entries().keys().any(|path| path.starts_with(&inside) && !directories.contains_key(path));
            if !has_files && !young(*modified) && within().all(|(_, modified)| !young(*modified)) {
                goes.insert(("empty-directory", directory.clone(), "empty-directory"));
            }
        }
    }
    goes
}

fn is_live(repositories: &[Repository], digest: &str) -> bool {
    repositories.iter().any(|repository| repository.reached.contains(digest) || repository.live.contains(digest))
}

/// Finds what a repository keeps, and whether it is held.
fn decide(repository: &mut Repository, tree: &Tree, policy: Policy, young: &dyn Fn(SystemTime) -> bool) {
    let mut roots = Digests::new();
    let young_history: Digests =
        repository.of(Place::History).filter(|link| young(link.modified)).filter_map(|link| link.named.clone()).collect();
    for link in &repository.links {
        let root = match link.place {
            Place::Current => true,
            // Reading: young history keeps a revision too, or its tag would be left with history of nothing.
            Place::Revision => {
                let recent = young(link.modified) || link.digests().any(|digest| young_history.contains(&digest));
                !policy.delete_untagged || recent
            }
            Place::Layer | Place::History => false,
        };
        if root {
            roots.extend(link.digests());
        }
        repository.held |= link.is_broken()
            && match link.place {
                Place::Current | Place::Revision => true,
                Place::History => BROKEN_HISTORY_HOLDS,
                Place::Layer => NEEDED_BROKEN_LAYER_LINK_HOLDS,
            };
        let unreadable = |digest: String| matches!(stored(tree, &digest), Stored::Mismatch | Stored::NoJson);
        if UNREADABLE_UNTAGGED_REVISION_HOLDS && link.place == Place::Revision && link.digests().any(unreadable) {
            repository.held = true;
        }
        let target_absent = |digest: String| matches!(stored(tree, &digest), Stored::Absent);
        if policy.delete_untagged && link.place == Place::Current && link.digests().any(target_absent) {
            repository.held = true;
        }
    }
    loop {
        let (reached, sound) = closure(tree, repository, &roots);
        repository.held |= !sound;
        let is_kept = |subject: &str| {
            // Reading: a subject is kept in a repository when a kept manifest there reaches it, linked there or not.
            reached.contains(subject) && (ABSENT_SUBJECT_KEEPS_REFERRER || matches!(stored(tree, subject), Stored::Json(_)))
        };
        let referrers = repository.of(Place::Revision).flat_map(Link::digests).filter(|digest| match stored(tree, digest) {
            Stored::Json(json) => subject(&json).is_some_and(is_kept),
            _ => false,
        });
        let before = roots.len();
        let referrers: Vec<String> = referrers.collect();
        roots.extend(referrers);
        if roots.len() == before {
            repository.reached = reached;
            break;
        }
    }
    let mut live = Digests::new();
    for link in repository.links.iter().filter(|link| link.place == Place::Layer) {
        let needed = link.named.as_ref().is_some_and(|digest| repository.reached.contains(digest));
        if young(link.modified) && !(needed && link.is_broken()) {
            live.extend(link.digests());
        }
        let stored = link.named.as_ref().is_some_and(|digest| tree.directories().contains_key(&layout::blob_directory(digest)));
        if link.is_broken() && !(needed && stored && !link.is_alias()) {
            repository.held = true;
        }
    }
    repository.live = live;
    // Only files can go; what should go and is none has to be looked at by somebody.
    let odd: Vec<&Link> = repository.of(Place::History).filter(|link| !link.is_file).collect();
    let stays = |entry: &Link| match repository.revision_of(entry) {
        Some(revision) => !policy.delete_untagged || repository.reaches(revision),
        None => repository.is_target(entry),
    };
    let holds = odd.into_iter().any(|entry| !stays(entry));
    repository.held |= holds;
    if repository.held {
        for link in &repository.links {
            match link.place {
                Place::Layer => repository.live.extend(link.digests()),
                // Reading: what is in a link of a tag's history counts for nothing, only where it is.
                Place::History if !BROKEN_HISTORY_HOLDS => roots.extend(link.named.clone()),
                _ => roots.extend(link.digests()),
            }
        }
        if DIRECTORIES_OF_HELD_COUNT {
            for (place, digest) in repository.directories.clone() {
                let kept = if place == Place::Layer { &mut repository.live } else { &mut roots };
                kept.insert(digest);
            }
        }
        repository.reached = closure(tree, repository, &roots).0;
    }
}

/// All that some manifests reach through a repository, and whether every manifest on the way could be read.
fn closure(tree: &Tree, repository: &Repository, roots: &Digests) -> (Digests, bool) {
    let mut sound = true;
    let mut seen = BTreeSet::new();
    let mut todo: Vec<(String, As)> = roots.iter().map(|digest| (digest.clone(), As::Manifest)).collect();
    while let Some((digest, mut named_as)) = todo.pop() {
        // Reading: a revision that is reached is kept, and so kept whole, whatever the manifest that names it calls it (H7).
        if repository.of(Place::Revision).any(|link| link.named.as_ref() == Some(&digest)) {
            named_as = As::Manifest;
        }
        if !seen.insert((digest.clone(), named_as)) {
            continue;
        }
        let names_it = |link: &&Link| link.named.as_ref() == Some(&digest) && !link.is_broken();
        for alias in repository.of(Place::Layer).filter(names_it) {
            todo.extend(alias.content.clone().map(|content| (content, named_as)));
        }
        if named_as == As::Leaf {
            continue;
        }
        match stored(tree, &digest) {
            Stored::Absent => {}
            Stored::Json(json) => references(&json, true, false, &mut todo),
            Stored::Mismatch => sound &= named_as == As::Listed && !UNREADABLE_LISTED_HOLDS,
            Stored::NoJson => sound &= named_as == As::Listed,
        }
    }
    (seen.into_iter().map(|(digest, _)| digest).collect(), sound)
}

/// The digests that a manifest names.
fn references(json: &Value, top: bool, listed: bool, found: &mut Vec<(String, As)>) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| references(item, false, listed, found)),
        Value::Object(fields) => {
            // Reading: what an index lists with no media type at all is not "of another media type".
            let manifest = fields.get("mediaType").and_then(Value::as_str).map_or(listed, is_manifest_type);
            for (key, value) in fields {
                // Reading: exactly these keys; `Annotations` or `Subject` is walked like any other.
                if key == "annotations" || (top && key == "subject") {
                    continue;
                }
                let key = fold(key);
                match value.as_str() {
                    Some(text) if is_digest(text) && (key == "digest" || key == "blobsum") => {
                        let other = if listed { As::Listed } else { As::Leaf };
                        found.push((text.to_owned(), if manifest { As::Manifest } else { other }));
                    }
                    _ => references(value, false, listed || (top && key == "manifests"), found),
                }
            }
        }
        _ => {}
    }
}

fn subject(json: &Value) -> Option<&str> {
    json.get("subject")?.get("digest")?.as_str()
}

fn is_manifest_type(media_type: &str) -> bool {
    const TYPES: [&str; 7] = [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.artifact.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ];
    TYPES.contains(&media_type)
}

/// As Go compares keys: regardless of case, with the two letters outside ASCII that fold into it.
fn fold(key: &str) -> String {
    key.replace('ſ', "s").replace('\u{212a}', "k").to_lowercase()
}

fn stored(tree: &Tree, digest: &str) -> Stored {
    let Some(bytes) = tree.bytes(&layout::blob_data(digest)) else { return Stored::Absent };
    let actual = if digest.starts_with("sha512:") { sha512(bytes) } else { sha256(bytes) };
    if actual != digest {
        return Stored::Mismatch;
    }
    serde_json::from_slice(bytes).map_or(Stored::NoJson, Stored::Json)
}

impl Link {
    fn digests(&self) -> impl Iterator<Item = String> {
        self.named.clone().into_iter().chain(self.content.clone())
    }

    fn speaks_of(&self, digest: &str) -> bool {
        let content = self.content.as_ref().filter(|_| !self.is_broken());
        self.named.iter().chain(content).any(|spoken| spoken == digest)
    }

    /// Empty, garbled, not a file, or at odds with its directory.
    fn is_broken(&self) -> bool {
        let agrees = self.named.is_none() || self.named == self.content;
        self.content.is_none() || !(agrees || self.is_alias() && self.content.as_ref().is_some_and(|digest| is_sha256(digest)))
    }

    /// A layer link by another algorithm than the one that blobs are stored by.
    fn is_alias(&self) -> bool {
        self.place == Place::Layer && self.named.as_ref().is_some_and(|digest| !is_sha256(digest))
    }
}

impl Repository {
    fn of(&self, place: Place) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(move |link| link.place == place)
    }

    /// Reading: a layer link stays for the digest in its path or in its content, so an alias stays with its blob, and
    /// either of them stays for the other one's being young.
    fn reaches(&self, link: &Link) -> bool {
        let content = link.content.iter().filter(|_| !link.is_broken());
        let live = |digest| link.place == Place::Layer && self.live.contains(digest);
        link.named.iter().chain(content).any(|digest| self.reached.contains(digest) || live(digest))
    }

    fn revision_of(&self, entry: &Link) -> Option<&Link> {
        self.of(Place::Revision).find(|revision| revision.named == entry.named)
    }

    fn is_target(&self, link: &Link) -> bool {
        self.of(Place::Current).any(|current| current.content == link.named)
    }
}

fn is_sha256(digest: &str) -> bool {
    digest.starts_with("sha256:")
}

fn repositories(tree: &Tree) -> Vec<Repository> {
    let names: BTreeSet<String> =
        tree.directories().keys().filter_map(|directory| Some(inside_repository(directory)?.0)).collect();
    let repository = |name: String| {
        let links = tree.entries().iter().filter_map(|(path, entry)| {
            let (repository, place, named) = link_at(path)?;
            let text = tree.bytes(path).and_then(|bytes| std::str::from_utf8(bytes).ok());
            let content = text.filter(|text| is_digest(text)).map(str::to_owned);
            // A directory called `link` is a directory when something is in it, and a link that is no file when not.
            debug_assert!(!matches!(entry.kind, Kind::Symlink(_)), "symbolic links are for other tests");
            (repository == name).then(|| Link {
                place,
                path: path.clone(),
                named,
                content,
                is_file: tree.bytes(path).is_some(),
                modified: entry.modified,
            })
        });
        let directories = tree.directories().into_keys().filter_map(|directory| {
            let (repository, place, named) = link_at(&format!("{directory}/link"))?;
            named.filter(|_| repository == name && place != Place::Revision).map(|digest| (place, digest))
        });
        let held = !is_valid_name(&name);
        Repository {
            links: links.collect(),
            directories: directories.collect(),
            name: name.clone(),
            held,
            reached: Digests::new(),
            live: Digests::new(),
        }
    };
    names.into_iter().map(repository).collect()
}

/// The repository that a path is in, and the rest of the path.
fn inside_repository(path: &str) -> Option<(String, Vec<&str>)> {
    let parts: Vec<&str> = path.strip_prefix(layout::BASE)?.strip_prefix("/repositories/")?.split('/').collect();
    let at = parts.iter().position(|part| ["_manifests", "_layers", "_uploads"].contains(part)).filter(|at| *at > 0)?;
    Some((parts[..at].join("/"), parts[at..].to_vec()))
}

fn link_at(path: &str) -> Option<(String, Place, Option<String>)> {
    let (name, rest) = inside_repository(path)?;
    let (place, algorithm, hex) = match rest[..] {
        ["_manifests", "tags", _, "current", "link"] => return Some((name, Place::Current, None)),
        ["_manifests", "tags", _, "index", algorithm, hex, "link"] => (Place::History, algorithm, hex),
        ["_manifests", "revisions", algorithm, hex, "link"] => (Place::Revision, algorithm, hex),
        ["_layers", algorithm, hex, "link"] => (Place::Layer, algorithm, hex),
        _ => return None,
    };
    let digest = format!("{algorithm}:{hex}");
    is_digest(&digest).then_some((name, place, Some(digest)))
}

fn blob_at(path: &str) -> Option<String> {
    match path.strip_prefix(layout::BASE)?.strip_prefix("/blobs/")?.split('/').collect::<Vec<_>>()[..] {
        [algorithm, shard, hex, "data"] if hex.starts_with(shard) && shard.len() == 2 => {
            Some(format!("{algorithm}:{hex}")).filter(|digest| is_digest(digest))
        }
        _ => None,
    }
}

/// Whether the registry would take a text for a digest.
pub(crate) fn is_digest(text: &str) -> bool {
    let lengths = BTreeMap::from([("sha256", 64), ("sha384", 96), ("sha512", 128)]);
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        lengths.get(algorithm) == Some(&hex.len()) && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Enough of the registry's rule for the names that tests use.
fn is_valid_name(name: &str) -> bool {
    name.split('/').all(|part| {
        let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
            && ends(part.bytes().next())
            && ends(part.bytes().last())
    })
}
