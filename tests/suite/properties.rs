//! What holds for every store: properties over generated registries, with everything in them that a registry, a crash
//! or a person leaves behind.
//!
//! A store is made by a list of steps. A failing case shrinks to the fewest steps that still fail, and those read as
//! the story of the store. What has to go is decided a second time by [`reference`], which shares nothing with the
//! product. Not generated, since other tests have them: symbolic links, fifos, manifests too large, repeated keys.

#[path = "reference.rs"]
pub(crate) mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use walkdir::WalkDir;

use crate::support::image::{DOCKER_MANIFEST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use crate::support::snapshot::SeenKind;
use crate::support::tree::Kind;
use crate::support::*;
use reference::{Policy, is_digest, what_goes};

/// How long ago something happened. In between lies the minimum age, when there is one.
#[derive(Clone, Copy, Debug)]
enum Age {
    Old,
    Young,
}

/// What the time of a file is changed to.
#[derive(Clone, Copy, Debug)]
enum Time {
    Of(Age),
    Future,
}

/// How a file that holds a digest is damaged.
#[derive(Clone, Copy, Debug)]
enum LinkDamage {
    Empty,
    Garbled,
    NewLine,
    OtherDigest,
    Directory,
}

/// How a blob is damaged.
#[derive(Clone, Copy, Debug)]
enum BlobDamage {
    Empty,
    Truncated,
    Flipped,
    Appended,
}

/// One thing that happens to a store. Numbers choose from what there is: repositories, images, layers, tags; an `Index`
/// chooses a file of the store as it is at that moment.
#[derive(Clone, Debug)]
enum Step {
    Push { repository: usize, image: usize, tag: Option<usize>, age: Age },
    PutManifestOnly { repository: usize, image: usize, tag: Option<usize>, age: Age },
    Tag { repository: usize, image: usize, tag: usize, age: Age },
    UploadLayer { repository: usize, layer: usize, age: Age },
    UploadLayerBySha512 { repository: usize, layer: usize, age: Age, alias_age: Age },
    StrayBlob { layer: usize, age: Age },
    BlobStoredBySha512 { repository: usize, age: Age },
    DeleteManifest { repository: usize, image: usize, age: Age },
    DeleteTag { repository: usize, tag: usize, age: Age },
    StaleHistory { repository: usize, image: usize, tag: usize, age: Age },
    Upload { repository: usize, age: Age },
    RemoveLink { link: Index, age: Age },
    RemoveBlob { blob: Index, directory_stays: bool, age: Age },
    DamageLink { link: Index, how: LinkDamage },
    DamageBlob { blob: Index, how: BlobDamage },
    Touch { file: Index, time: Time },
    StrayFile { beside: Index, levels: usize },
    EmptyDirectory { repository: usize, image: usize, which: usize, age: Age },
}

const REPOSITORIES: usize = 5;
const TAGS: [&str; 3] = ["latest", "v1", "v2"];

/// The last is a name that the registry would refuse: somebody's copy of a directory.
const NAMES: [&str; REPOSITORIES] = ["app", "app/web", "base", "team/x/y", "Backup_A"];

/// Other names, which sort and nest otherwise. What is valid stays valid.
const OTHER_NAMES: [&str; REPOSITORIES] = ["zoo/deep/down", "m", "m/n", "a", "m/Copy_Of_N"];

/// All that is ever pushed. Images share layers, indexes share images, referrers refer to each other.
struct Pool {
    layers: Vec<Content>,
    images: Vec<Image>,
}

fn pool() -> Pool {
    let layers: Vec<Content> = (0..6).map(layer).collect();
    let pick = |numbers: &[usize]| numbers.iter().map(|number| layers[*number].clone()).collect::<Vec<_>>();
    let first = oci_image("first", &pick(&[0, 1]));
    let second = oci_image("second", &pick(&[1, 2]));
    let docker = docker_image("docker", &pick(&[2, 3]));
    let old = schema1_image("old", &pick(&[0, 4]));
    let sealed = oci_image("sealed", &pick(&[3, 5])).with_sha512_descriptors();
    let both = index(&[first.clone(), second.clone()]);
    let list = manifest_list(&[second.clone(), docker.clone()]);
    let nested = index(&[both.clone(), old.clone()]);
    let of_sealed = index(&[sealed.clone(), docker.clone()]);
    let signature = artifact_manifest("signature", &pick(&[4])).referring_to(&first);
    let of_signature = oci_image("of signature", &pick(&[5])).referring_to(&signature);
    let of_index = oci_image("of index", &pick(&[4])).referring_to(&both);
    let of_nothing = oci_image("of nothing", &pick(&[0])).referring_to(&oci_image("never pushed", &[]));
    let images = vec![
        unknown_kind(&layers),
        cache_index(&layers, &docker),
        talkative(&layers),
        odd_index(&first, &docker),
        bundle(&second),
        first,
        second,
        docker,
        old,
        sealed,
        both,
        list,
        nested,
        of_sealed,
        signature,
        of_signature,
        of_index,
        of_nothing,
    ];
    Pool { layers, images }
}

/// A manifest of a kind that nobody knows, with digests at odd places and under keys that only Go takes for `digest`.
fn unknown_kind(layers: &[Content]) -> Image {
    let json = json!({
        "mediaType": "application/vnd.example.thing.v7+json",
        "parts": [{ "deep": [{ "DIGEST": layers[0].digest }] }, [{ "dige\u{17f}t": layers[1].digest }]],
        "sums": { "BlobSum": layers[2].digest, "digest": "", "else": { "digest": "sha256:short" } },
        "more": { "digest": stored_by_sha512().sha512() },
        "subjects": { "subject": { "digest": layers[3].digest } },
        "text": layers[4].digest,
        "annotations": { "digest": layers[5].digest },
    });
    Image::from_json("application/vnd.example.thing.v7+json", json, layers[..4].to_vec(), Vec::new())
}

/// A blob that is stored by its sha512. No registry writes this today; where a store has it, it goes by that digest.
fn stored_by_sha512() -> Content {
    layer(9)
}

/// An index as BuildKit writes it for its cache: layers listed as if they were manifests, beside one that is.
fn cache_index(layers: &[Content], image: &Image) -> Image {
    let manifests = [layers[4].descriptor(OCI_LAYER), image.manifest.descriptor(DOCKER_MANIFEST)];
    let json = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    Image::from_json(OCI_INDEX, json, vec![layers[4].clone()], vec![image.clone()])
}

/// An index that lists images as something else, and as nothing in particular.
fn odd_index(image: &Image, other: &Image) -> Image {
    let mut nameless = other.manifest.descriptor(DOCKER_MANIFEST);
    nameless.as_object_mut().expect("descriptors are objects").remove("mediaType");
    let manifests = [image.manifest.descriptor("application/vnd.example.odd+json"), nameless];
    let json = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    Image::from_json(OCI_INDEX, json, Vec::new(), vec![image.clone(), other.clone()])
}

/// A manifest of a kind that nobody knows, around an image that it does not call one.
fn bundle(image: &Image) -> Image {
    let json = json!({ "mediaType": "application/vnd.example.bundle+json", "contents": [{ "digest": image.digest() }] });
    Image::from_json("application/vnd.example.bundle+json", json, Vec::new(), vec![image.clone()])
}

/// An image with a layer that could be taken for a manifest, and a key written with an escape.
fn talkative(layers: &[Content]) -> Image {
    let decoy = Content::new(json!({ "layers": [layers[5].descriptor(OCI_LAYER)] }).to_string());
    let json = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": layers[3].descriptor(OCI_LAYER),
        "layers": [decoy.descriptor(OCI_LAYER)],
    });
    let mut image = Image::from_json(OCI_MANIFEST, json, vec![layers[3].clone(), decoy], Vec::new());
    let text = String::from_utf8(image.manifest.bytes).expect("JSON is text");
    image.manifest = Content::new(text.replace("\"digest\"", "\"di\\u0067est\""));
    image
}

impl Age {
    fn ago(self) -> Duration {
        match self {
            Self::Old => days(30),
            Self::Young => minutes(1),
        }
    }
}

fn age() -> impl Strategy<Value = Age> {
    prop_oneof![4 => Just(Age::Old), 1 => Just(Age::Young)]
}

fn step() -> impl Strategy<Value = Step> {
    // The odd name comes seldom, or every store would be about it.
    let repository = || prop_oneof![12 => 0..REPOSITORIES - 1, 1 => Just(REPOSITORIES - 1)];
    let image = || 0..pool().images.len();
    let layer = || 0..pool().layers.len();
    let tag = || 0..TAGS.len();
    let maybe_tag = || prop::option::weighted(0.6, 0..TAGS.len());
    let index = any::<Index>;
    let time = prop_oneof![4 => age().prop_map(Time::Of), 1 => Just(Time::Future)];
    let link_damage = prop_oneof![
        Just(LinkDamage::Empty),
        Just(LinkDamage::Garbled),
        Just(LinkDamage::NewLine),
        Just(LinkDamage::OtherDigest),
        Just(LinkDamage::Directory),
    ];
    let blob_damage =
        prop_oneof![Just(BlobDamage::Empty), Just(BlobDamage::Truncated), Just(BlobDamage::Flipped), Just(BlobDamage::Appended),];
    prop_oneof![
        24 => (repository(), image(), maybe_tag(), age())
            .prop_map(|(repository, image, tag, age)| Step::Push { repository, image, tag, age }),
        8 => (repository(), image(), maybe_tag(), age())
            .prop_map(|(repository, image, tag, age)| Step::PutManifestOnly { repository, image, tag, age }),
        3 => (repository(), image(), tag(), age())
            .prop_map(|(repository, image, tag, age)| Step::Tag { repository, image, tag, age }),
        4 => (repository(), layer(), age())
            .prop_map(|(repository, layer, age)| Step::UploadLayer { repository, layer, age }),
        2 => (repository(), layer(), age(), age())
            .prop_map(|(repository, layer, age, alias_age)| Step::UploadLayerBySha512 { repository, layer, age, alias_age }),
        2 => (layer(), age()).prop_map(|(layer, age)| Step::StrayBlob { layer, age }),
        1 => (repository(), age()).prop_map(|(repository, age)| Step::BlobStoredBySha512 { repository, age }),
        8 => (repository(), image(), age())
            .prop_map(|(repository, image, age)| Step::DeleteManifest { repository, image, age }),
        2 => (repository(), tag(), age()).prop_map(|(repository, tag, age)| Step::DeleteTag { repository, tag, age }),
        3 => (repository(), image(), tag(), age())
            .prop_map(|(repository, image, tag, age)| Step::StaleHistory { repository, image, tag, age }),
        1 => (repository(), age()).prop_map(|(repository, age)| Step::Upload { repository, age }),
        4 => (index(), age()).prop_map(|(link, age)| Step::RemoveLink { link, age }),
        4 => (index(), any::<bool>(), age())
            .prop_map(|(blob, directory_stays, age)| Step::RemoveBlob { blob, directory_stays, age }),
        2 => (index(), link_damage).prop_map(|(link, how)| Step::DamageLink { link, how }),
        2 => (index(), blob_damage).prop_map(|(blob, how)| Step::DamageBlob { blob, how }),
        6 => (index(), time).prop_map(|(file, time)| Step::Touch { file, time }),
        2 => (index(), 0..4_usize).prop_map(|(beside, levels)| Step::StrayFile { beside, levels }),
        2 => (repository(), image(), 0..4_usize, age())
            .prop_map(|(repository, image, which, age)| Step::EmptyDirectory { repository, image, which, age }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..20)
}

/// Any store, all of it old: what depends on ages has tests of its own.
#[derive(Clone, Debug)]
pub(crate) struct OldStore(Vec<Step>);

impl OldStore {
    pub(crate) fn any() -> impl Strategy<Value = OldStore> {
        steps().prop_map(OldStore)
    }

    /// The same without links and blobs that cannot be understood: some of those hold a repository with `-m` and not without.
    pub(crate) fn undamaged() -> impl Strategy<Value = OldStore> {
        let is_damage = |step: &Step| matches!(step, Step::DamageLink { .. } | Step::DamageBlob { .. });
        steps().prop_map(move |steps| OldStore(steps.into_iter().filter(|step| !is_damage(step)).collect()))
    }

    pub(crate) fn tree(&self) -> Tree {
        let mut tree = store(&self.0);
        let (old, paths) = (tree.now() - days(30), tree.entries().keys().cloned().collect::<Vec<_>>());
        for path in paths {
            tree.touch_at(&path, old);
        }
        tree
    }
}

/// The blobs that a collection frees, by the slow collector: digests and bytes.
pub(crate) fn freed(tree: &Tree, delete_untagged: bool) -> BTreeMap<String, u64> {
    let goes = what_goes(tree, Policy { min_age: hours(1), delete_untagged });
    let blobs = goes.iter().filter(|(kind, ..)| *kind == "blob");
    blobs.map(|(_, path, _)| (path.clone(), tree.bytes(path).expect("it is there").len() as u64)).collect()
}

fn policy() -> impl Strategy<Value = Policy> {
    let min_age = prop_oneof![3 => Just(hours(1)), 1 => Just(Duration::ZERO)];
    (min_age, any::<bool>()).prop_map(|(min_age, delete_untagged)| Policy { min_age, delete_untagged })
}

/// The store that some steps make.
fn store(steps: &[Step]) -> Tree {
    let pool = pool();
    let mut tree = Tree::new();
    // Both are in every store, as in every registry that was ever pushed to.
    tree.directory(format!("{}/repositories", layout::BASE)).directory(format!("{}/blobs", layout::BASE));
    for step in steps {
        happen(&mut tree, &pool, step);
    }
    tree
}

fn happen(tree: &mut Tree, pool: &Pool, step: &Step) {
    match *step {
        Step::Push { repository, image, tag, age } => {
            tree.aged(age.ago()).push(NAMES[repository], &pool.images[image]);
            tag_it(tree, repository, tag, &pool.images[image]);
        }
        Step::PutManifestOnly { repository, image, tag, age } => {
            tree.aged(age.ago()).put_manifest(NAMES[repository], &pool.images[image]);
            tag_it(tree, repository, tag, &pool.images[image]);
        }
        Step::Tag { repository, image, tag, age } => {
            tag_it(tree.aged(age.ago()), repository, Some(tag), &pool.images[image]);
        }
        Step::UploadLayer { repository, layer, age } => {
            tree.aged(age.ago()).layer(NAMES[repository], &pool.layers[layer]);
        }
        Step::UploadLayerBySha512 { repository, layer, age, alias_age } => {
            let content = &pool.layers[layer];
            tree.aged(age.ago()).layer(NAMES[repository], content);
            tree.aged(alias_age.ago()).layer_alias(NAMES[repository], &content.sha512(), &content.digest);
        }
        Step::StrayBlob { layer, age } => {
            tree.aged(age.ago()).blob(&pool.layers[layer]);
        }
        Step::BlobStoredBySha512 { repository, age } => {
            let content = stored_by_sha512();
            let digest = content.sha512();
            tree.aged(age.ago()).file(layout::blob_data(&digest), content.bytes);
            tree.layer_link(NAMES[repository], &digest);
        }
        Step::DeleteManifest { repository, image, age } => {
            let digest = pool.images[image].digest();
            if tree.bytes(&layout::revision_link(NAMES[repository], digest)).is_some() {
                tree.aged(age.ago()).delete_manifest(NAMES[repository], digest);
            }
        }
        Step::DeleteTag { repository, tag, age } => {
            if tree.bytes(&layout::tag_current(NAMES[repository], TAGS[tag])).is_some() {
                tree.aged(age.ago()).delete_tag(NAMES[repository], TAGS[tag]);
            }
        }
        Step::StaleHistory { repository, image, tag, age } => {
            let manifest = &pool.images[image].manifest;
            tree.aged(days(30)).blob(manifest).aged(age.ago());
            tree.file(layout::tag_history(NAMES[repository], TAGS[tag], &manifest.digest), manifest.digest.as_bytes());
        }
        Step::Upload { repository, age } => {
            tree.aged(age.ago()).upload(NAMES[repository], "1d7c9c8c-6e0c-4f9a-a3f2-0f5d3c9c2b11", b"begun");
        }
        Step::RemoveLink { link, age } => {
            if let Some(path) = choose(tree, link, is_link) {
                tree.aged(age.ago()).remove_leaving_directory(&path);
            }
        }
        Step::RemoveBlob { blob, directory_stays, age } => match choose(tree, blob, is_blob) {
            Some(path) if directory_stays => {
                tree.aged(age.ago()).remove_leaving_directory(&path);
            }
            Some(path) => {
                tree.remove(&path);
            }
            None => {}
        },
        Step::DamageLink { link, how } => {
            if let Some(path) = choose(tree, link, is_link) {
                damage_link(tree, &path, how, &pool.layers[0]);
            }
        }
        Step::DamageBlob { blob, how } => {
            if let Some(path) = choose(tree, blob, is_blob) {
                damage_blob(tree, &path, how);
            }
        }
        Step::Touch { file, time } => {
            if let Some(path) = choose(tree, file, |path| is_link(path) || is_blob(path)) {
                let modified = match time {
                    Time::Of(age) => tree.now() - age.ago(),
                    Time::Future => tree.now() + days(1),
                };
                tree.touch_at(&path, modified);
            }
        }
        Step::StrayFile { beside, levels } => {
            if let Some(path) = choose(tree, beside, |path| is_link(path) || is_blob(path)) {
                let directory = (0..levels).fold(layout::parent(&path), |directory, _| layout::parent(directory));
                tree.aged(days(30)).file(format!("{directory}/.stray"), "sha256:");
            }
        }
        Step::EmptyDirectory { repository, image, which, age } => {
            let digest = pool.images[image].digest();
            let leaf = match which {
                0 => layout::layer_link(NAMES[repository], digest),
                1 => layout::revision_link(NAMES[repository], digest),
                2 => layout::tag_history(NAMES[repository], TAGS[0], digest),
                _ => layout::blob_data(digest),
            };
            if tree.bytes(&leaf).is_none() {
                tree.aged(age.ago()).directory(layout::parent(&leaf));
            }
        }
    }
}

fn tag_it(tree: &mut Tree, repository: usize, tag: Option<usize>, image: &Image) {
    if let Some(tag) = tag {
        tree.tag(NAMES[repository], TAGS[tag], image.digest());
    }
}

fn damage_link(tree: &mut Tree, path: &str, how: LinkDamage, other: &Content) {
    let modified = tree.entries()[path].modified;
    let text = tree.bytes(path).unwrap_or_default().to_vec();
    match how {
        LinkDamage::Empty => tree.file(path, ""),
        LinkDamage::Garbled => tree.file(path, &text[..text.len() / 2]),
        LinkDamage::NewLine => tree.file(path, [&text[..], b"\n"].concat()),
        // Under sha512 it would be an alias of another blob, which nobody can tell from a right one.
        LinkDamage::OtherDigest if path.contains("/sha512/") => tree.file(path, "sha512:"),
        LinkDamage::OtherDigest => tree.file(path, other.digest.as_bytes()),
        LinkDamage::Directory => tree.remove(path).directory(path),
    };
    tree.touch_at(path, modified);
}

fn damage_blob(tree: &mut Tree, path: &str, how: BlobDamage) {
    let modified = tree.entries()[path].modified;
    let mut bytes = tree.bytes(path).unwrap_or_default().to_vec();
    match how {
        BlobDamage::Empty => bytes.clear(),
        BlobDamage::Truncated => bytes.truncate(bytes.len() / 2),
        BlobDamage::Flipped => bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1),
        BlobDamage::Appended => bytes.push(b' '),
    }
    tree.file(path, bytes).touch_at(path, modified);
}

fn choose(tree: &Tree, index: Index, wanted: impl Fn(&str) -> bool) -> Option<String> {
    let paths: Vec<&str> = tree.files().map(|(path, _, _)| path).filter(|path| wanted(path)).collect();
    (!paths.is_empty()).then(|| (*index.get(&paths)).to_owned())
}

fn is_link(path: &str) -> bool {
    path.ends_with("/link")
}

/// The digest that the registry would follow a link to. One at odds with its directory leads nowhere: what comes by it is
/// not what was asked for. One by another algorithm is an alias.
fn leads_to<'a>(link: &str, bytes: &'a [u8]) -> Option<&'a str> {
    let digest = std::str::from_utf8(bytes).ok().filter(|text| is_digest(text))?;
    let agrees = || link.ends_with(&format!("/{}/link", digest.replace(':', "/")));
    (link.ends_with("/current/link") || link.contains("/_layers/sha512/") || agrees()).then_some(digest)
}

fn is_blob(path: &str) -> bool {
    path.starts_with(&format!("{}/blobs/", layout::BASE)) && path.ends_with("/data")
}

/// The same store, each repository under its other name.
fn renamed(tree: &Tree) -> Tree {
    let mut other = Tree::new_at(tree.now());
    for (path, entry) in tree.entries() {
        let path = with_name(path, &NAMES, &OTHER_NAMES);
        match &entry.kind {
            Kind::File(bytes) => other.file(path.clone(), bytes.clone()),
            Kind::Directory => other.directory(path.clone()),
            Kind::Symlink(target) => other.symlink(path.clone(), target),
        };
        other.touch_at(&path, entry.modified);
    }
    other
}

fn with_name(path: &str, from: &[&str], to: &[&str]) -> String {
    let start = format!("{}/repositories/", layout::BASE);
    let Some(inside) = path.strip_prefix(&start) else { return path.to_owned() };
    let fits = |name: &str| inside.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let longest = from.iter().zip(to).filter(|(name, _)| fits(name)).max_by_key(|(name, _)| name.len());
    longest.map_or_else(|| path.to_owned(), |(name, other)| format!("{start}{other}{}", &inside[name.len()..]))
}

/// A run as the policy says. A store without a root is collected here like any other.
fn collect(root: &Path, policy: Policy) -> Regsweep {
    let run = Regsweep::gc(root).arg("--allow-empty").arg("--min-age").arg(format!("{}s", policy.min_age.as_secs()));
    if policy.delete_untagged { run.delete_untagged() } else { run }
}

/// Findings are of no interest here, only that the run came to its end.
#[track_caller]
fn done(run: Regsweep) -> Outcome {
    let outcome = run.run();
    assert!(matches!(outcome.code, Some(0 | 1)), "{}: {:?}\n{}{}", outcome.line, outcome.code, outcome.stdout, outcome.stderr);
    outcome
}

/// Files below a directory: path and bytes.
pub(crate) fn files_on_disk(root: &Path) -> Files {
    let entries = WalkDir::new(root).into_iter().map(|entry| entry.expect("the test may read all of its own directory"));
    let files = entries.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let path = entry.path().strip_prefix(root).expect("entries are below the directory").to_string_lossy().into_owned();
            (path, fs::read(entry.path()).expect("a file can be read"))
        })
        .collect()
}

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// What a registry serves of something to a client that pulls it: repository and digest, as manifest or as blob.
pub(crate) type Served = BTreeSet<(String, String, &'static str)>;

/// Follows a manifest as a client does, with nothing but what the registry would serve. What is missing is left out.
pub(crate) fn pull_manifest(files: &Files, repository: &str, digest: &str, served: &mut Served) {
    let Some(bytes) = serve(files, &layout::revision_link(repository, digest)).filter(|bytes| is_it(bytes, digest)) else {
        return;
    };
    if !served.insert((repository.to_owned(), digest.to_owned(), "manifest")) {
        return;
    }
    let json: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let mut named = BTreeSet::new();
    named_by(&json, &mut named);
    for digest in named {
        pull_manifest(files, repository, &digest, served);
        pull_blob(files, repository, &digest, served);
    }
}

fn pull_blob(files: &Files, repository: &str, digest: &str, served: &mut Served) {
    if serve(files, &layout::layer_link(repository, digest)).is_some_and(|bytes| is_it(bytes, digest)) {
        served.insert((repository.to_owned(), digest.to_owned(), "blob"));
    }
}

/// Whether bytes are what a digest names. Others, from a corrupt blob or by a link that disagrees with its directory, are
/// thrown away by every client: that was no pull before the run either.
fn is_it(bytes: &[u8], digest: &str) -> bool {
    sha256(bytes) == digest || sha512(bytes) == digest
}

/// What the registry finds by a link: the blob that the link names, wherever the link is.
fn serve<'a>(files: &'a Files, link: &str) -> Option<&'a [u8]> {
    let digest = std::str::from_utf8(files.get(link)?).ok().filter(|text| is_digest(text))?;
    files.get(&layout::blob_data(digest)).map(Vec::as_slice)
}

fn named_by(json: &Value, named: &mut BTreeSet<String>) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| named_by(item, named)),
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| !["subject", "annotations"].contains(&key.as_str())) {
                let text = value.as_str().filter(|text| ["digest", "blobSum"].contains(&key.as_str()) && is_digest(text));
                named.extend(text.map(str::to_owned));
                named_by(value, named);
            }
        }
        _ => {}
    }
}

/// All that can be pulled of what a policy has to keep: tags, revisions, young links, and what refers to such.
fn kept_pulls(tree: &Tree, files: &Files, policy: Policy) -> Served {
    let mut served = Served::new();
    let start = format!("{}/repositories/", layout::BASE);
    let mut revisions = Vec::new();
    for (path, bytes, modified) in tree.files() {
        let Some((repository, rest)) = path.strip_prefix(&start).and_then(|path| path.split_once("/_")) else { continue };
        let young = tree.now().duration_since(modified).map_or(true, |age| age < policy.min_age);
        let parts: Vec<&str> = rest.split('/').collect();
        match parts[..] {
            ["manifests", "tags", _, "current", "link"] => {
                let digest = std::str::from_utf8(bytes).ok().filter(|text| is_digest(text));
                digest.into_iter().for_each(|digest| pull_manifest(files, repository, digest, &mut served));
            }
            ["manifests", "revisions", algorithm, hex, "link"] => {
                let digest = format!("{algorithm}:{hex}");
                if young || !policy.delete_untagged {
                    pull_manifest(files, repository, &digest, &mut served);
                }
                revisions.push((repository, digest));
            }
            ["layers", algorithm, hex, "link"] if young => {
                pull_blob(files, repository, &format!("{algorithm}:{hex}"), &mut served);
            }
            _ => {}
        }
    }
    loop {
        let before = served.len();
        for (repository, digest) in &revisions {
            let bytes = serve(files, &layout::revision_link(repository, digest)).unwrap_or_default();
            let json: Value = serde_json::from_slice(bytes).unwrap_or_default();
            let subject = json["subject"]["digest"].as_str().unwrap_or_default().to_owned();
            if served.contains(&((*repository).to_owned(), subject, "manifest")) {
                pull_manifest(files, repository, digest, &mut served);
            }
        }
        if served.len() == before {
            return served;
        }
    }
}

/// What has to be gone after a plan was carried out: its targets, and the directory of each if nothing else was in it.
fn gone_with(plan: &[Row], before: &Snapshot) -> BTreeSet<String> {
    let mut gone: BTreeSet<String> = plan.iter().map(|row| row.path.clone()).collect();
    for row in plan.iter().filter(|row| row.kind != "empty-directory") {
        let directory = layout::parent(&row.path);
        let inside = format!("{directory}/");
        if before.keys().filter(|path| path.starts_with(&inside)).all(|path| gone.contains(path)) {
            gone.insert(directory.to_owned());
        }
    }
    snapshot::add_tag_directories(&mut gone, before);
    gone
}

/// As many cases as fit into a test run, or as many as `PROPTEST_CASES` says. Failures are kept as tests, not as files.
fn cases(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(cases), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    // What finds most, so it gets most.
    #![proptest_config(cases(400))]

    #[test]
    fn plan_is_what_the_reference_finds(steps in steps(), policy in policy()) {
        let tree = store(&steps);
        let root = tree.on_disk();
        let plan = done(collect(root.path(), policy).dry()).rows();
        let planned: BTreeSet<_> = plan.iter().map(|row| (&*row.kind, row.path.clone(), &*row.reason)).collect();
        let expected = what_goes(&tree, policy);
        let wrongly: Vec<_> = planned.difference(&expected).collect();
        let missing: Vec<_> = expected.difference(&planned).collect();
        prop_assert!(wrongly.is_empty() && missing.is_empty(), "only planned: {wrongly:#?}\nonly expected: {missing:#?}\n{}", story(&tree));
        prop_assert_eq!(planned.len(), plan.len(), "a target is planned twice");
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn plan_does_not_depend_on_threads_or_memory(steps in steps(), policy in policy()) {
        let root = store(&steps).on_disk();
        let plan = |arguments: [&str; 2]| done(collect(root.path(), policy).dry().args(arguments)).plan;
        let one = plan(["--jobs", "1"]);
        prop_assert_eq!(&one, &plan(["--jobs", "64"]));
        prop_assert_eq!(&one, &plan(["--max-memory", "0"]));
    }

    #[test]
    fn plan_does_not_depend_on_names(steps in steps(), policy in policy()) {
        let tree = store(&steps);
        let plan = |tree: &Tree, names: &[&str]| -> BTreeSet<_> {
            let root = tree.on_disk();
            let rows = done(collect(root.path(), policy).dry()).rows();
            rows.into_iter().map(|row| (row.kind, row.tag, row.digest, with_name(&row.path, names, &NAMES), row.bytes, row.reason)).collect()
        };
        prop_assert_eq!(plan(&tree, &NAMES), plan(&renamed(&tree), &OTHER_NAMES));
    }

    #[test]
    fn plan_has_names_before_contents(steps in steps(), policy in policy()) {
        let tree = store(&steps);
        let root = tree.on_disk();
        let plan = done(collect(root.path(), policy).dry()).rows();
        let rank = |row: &Row| ["tag-history", "revision", "layer-link", "blob", "empty-directory"].iter().position(|kind| *kind == row.kind);
        prop_assert!(plan.iter().all(|row| rank(row).is_some()));
        prop_assert!(plan.is_sorted_by_key(rank), "kinds are out of order: {plan:#?}");
        // Wherever a run ends, no link that is still there leads to a blob that is gone.
        let goes_at: BTreeMap<&str, usize> = plan.iter().enumerate().map(|(at, row)| (&*row.path, at)).collect();
        for (link, bytes, _) in tree.files().filter(|(path, _, _)| is_link(path)) {
            let Some(digest) = leads_to(link, bytes) else { continue };
            let blob_goes_at = goes_at.get(&*layout::blob_data(digest));
            let link_goes_at = goes_at.get(link);
            let in_order = blob_goes_at.is_none_or(|blob| link_goes_at.is_some_and(|link| link < blob));
            prop_assert!(in_order, "{link} goes at {link_goes_at:?}, what it leads to at {blob_goes_at:?}\n{}", story(&tree));
        }
        // A manifest goes before what it names: as a revision of the same repository, and as a blob.
        // A blob that no repository links as a revision any more is not served as a manifest, and nobody reads it to find out.
        let revisions: BTreeSet<_> = plan.iter().filter(|row| row.kind == "revision").map(|row| row.digest.clone()).collect();
        let is_manifest = |row: &Row| ["revision", "blob"].contains(&&*row.kind) && revisions.contains(&row.digest);
        for (at, row) in plan.iter().enumerate().filter(|(_, row)| is_manifest(row)) {
            let digest = row.digest.as_deref().expect("revisions and blobs have digests");
            let bytes = tree.bytes(&layout::blob_data(digest)).unwrap_or_default();
            let mut named = BTreeSet::new();
            // Bytes that do not match name nothing that anybody could know.
            let sound = sha256(bytes) == digest;
            named_by(&serde_json::from_slice(if sound { bytes } else { b"" }).unwrap_or_default(), &mut named);
            for earlier in plan[..at].iter().filter(|earlier| earlier.kind == row.kind && earlier.repository == row.repository) {
                let is_named = earlier.digest.as_ref().is_some_and(|digest| named.contains(digest));
                prop_assert!(!is_named, "{} goes before {digest}, which names it", earlier.path);
            }
        }
    }

    #[test]
    fn run_keeps_all_that_could_be_pulled(steps in steps(), policy in policy()) {
        let tree = store(&steps);
        let root = tree.on_disk();
        let before = kept_pulls(&tree, &files_on_disk(root.path()), policy);
        done(collect(root.path(), policy));
        let after = kept_pulls(&tree, &files_on_disk(root.path()), policy);
        let lost: Vec<_> = before.difference(&after).collect();
        prop_assert!(lost.is_empty(), "lost: {lost:#?}\n{}", story(&tree));
    }

    #[test]
    fn dry_run_plans_what_the_run_removes(steps in steps(), policy in policy()) {
        let root = store(&steps).on_disk();
        // Our own lock is beside the storage, not in it.
        let storage = || -> Snapshot { snapshot(&root.path().join("docker")).into_iter().map(|(path, seen)| (format!("docker/{path}"), seen)).collect() };
        let before = storage();
        let dry = done(collect(root.path(), policy).dry());
        prop_assert_eq!(&before, &storage(), "a dry run touched the storage");
        let real = done(collect(root.path(), policy));
        prop_assert_eq!(&dry.plan, &real.plan);
        let after = storage();
        prop_assert_eq!(snapshot::gone(&before, &after), gone_with(&real.rows(), &before));
        let changed: Vec<_> = after.iter().filter(|(path, seen)| match before.get(*path) {
            // Removing something changes the time of the directory that it was in.
            Some(earlier) if matches!(seen.kind, SeenKind::Directory) => earlier.kind != seen.kind,
            earlier => earlier != Some(*seen),
        }).collect();
        prop_assert!(changed.is_empty(), "changed: {changed:#?}");
    }

    #[test]
    fn second_run_removes_nothing(steps in steps(), policy in policy()) {
        let tree = store(&steps);
        let root = tree.on_disk();
        done(collect(root.path(), policy));
        let again = done(collect(root.path(), policy));
        prop_assert_eq!(again.paths(), Vec::<String>::new(), "{}", story(&tree));
    }

    /// What goes of a part of the store is what would go of it anyway, and nothing that another repository leads to.
    #[test]
    fn a_part_of_the_store_is_a_part_of_the_plan(steps in steps(), policy in policy()) {
        let tree = store(&steps);
        let root = tree.on_disk();
        let whole = done(collect(root.path(), policy).dry()).rows();
        let of_repository = |path: &str, name: &str| path.starts_with(&format!("docker/registry/v2/repositories/{name}/_"));
        for name in NAMES.iter().filter(|name| tree.files().any(|(path, ..)| of_repository(path, name))) {
            let part = done(collect(root.path(), policy).dry().args(["--repository", name])).rows();
            let links = |rows: &[Row]| rows.iter().filter(|row| row.repository.as_deref() == Some(name)).cloned().collect::<BTreeSet<_>>();
            prop_assert_eq!(links(&part), links(&whole), "{}\n{}", name, story(&tree));
            for row in part.iter().filter(|row| row.repository.as_deref() != Some(name)) {
                // With -m, a tag whose target is lost holds its repository, but for a run that is to leave it alone.
                let goes_anyway = policy.delete_untagged || whole.iter().any(|other| other.path == row.path);
                prop_assert!(row.kind == "blob" && row.reason != "unlinked" && goes_anyway, "{row:?}\n{}", story(&tree));
                let others = tree.files().filter(|(path, ..)| is_link(path) && !of_repository(path, name));
                let other = others.into_iter().find(|(path, bytes, _)| leads_to(path, bytes) == row.digest.as_deref());
                prop_assert!(other.is_none(), "{row:?}\n{}", story(&tree));
            }
        }
        let unlinked = done(collect(root.path(), Policy { delete_untagged: false, ..policy }).dry().arg("--unlinked-only")).rows();
        let expected: BTreeSet<_> = what_goes(&tree, Policy { delete_untagged: false, ..policy });
        for row in &unlinked {
            // A directory without its link may be why a whole run gives another reason.
            let goes_anyway = expected.iter().any(|(kind, path, _)| *kind == "blob" && *path == row.path);
            let link = tree.files().filter(|(path, ..)| is_link(path)).find(|(path, bytes, _)| leads_to(path, bytes) == row.digest.as_deref());
            prop_assert!(row.kind == "blob" && goes_anyway && link.is_none(), "{row:?}\n{}", story(&tree));
        }
        for (_, path, _) in expected.iter().filter(|(kind, _, reason)| *kind == "blob" && *reason == "unlinked") {
            prop_assert!(unlinked.iter().any(|row| row.path == *path), "{path}\n{}", story(&tree));
        }
    }

    /// Whatever part of a plan somebody approves: nothing else goes, no link that is left leads to a blob that went, and what is left of revisions
    /// is served as before.
    #[test]
    fn any_part_of_a_plan_can_be_carried_out(steps in steps(), policy in policy(), mask in prop::collection::vec(any::<bool>(), 1..20)) {
        let tree = store(&steps);
        let root = tree.on_disk();
        let whole = done(collect(root.path(), policy).dry());
        let lines = whole.plan.unwrap_or_default();
        let some = lines.lines().enumerate().filter(|(place, _)| mask[place % mask.len()]).map(|(_, line)| format!("{line}\n"));
        let approved = tempfile::NamedTempFile::new().expect("a file");
        fs::write(approved.path(), some.collect::<String>()).expect("written");
        let before = files_on_disk(root.path());
        let run = done(collect(root.path(), policy).arg("--plan").arg(approved.path()));
        let after = files_on_disk(root.path());
        let written = fs::read_to_string(approved.path()).expect("there");
        for row in run.rows() {
            prop_assert!(written.contains(&row.path), "{row:?} was not approved\n{}", story(&tree));
        }
        for (link, bytes) in after.iter().filter(|(path, _)| is_link(path)) {
            let Some(digest) = leads_to(link, bytes) else { continue };
            let blob = layout::blob_data(digest);
            prop_assert!(after.contains_key(&blob) || !before.contains_key(&blob), "{link} leads to nothing\n{}", story(&tree));
        }
        for (link, _) in after.iter().filter(|(path, _)| is_link(path) && path.contains("/_manifests/revisions/")) {
            let (repository, rest) = link.split_once("/_manifests/").expect("as asked");
            let repository = repository.strip_prefix("docker/registry/v2/repositories/").expect("there");
            let digest = rest.trim_end_matches("/link").trim_start_matches("revisions/").replacen('/', ":", 1);
            if !is_digest(&digest) {
                continue;
            }
            let served = |files: &Files| {
                let mut served = Served::new();
                pull_manifest(files, repository, &digest, &mut served);
                served
            };
            prop_assert_eq!(served(&before), served(&after), "{}\n{}", link, story(&tree));
        }
    }
}

proptest! {
    // Each is four runs.
    #![proptest_config(cases(40))]

    #[test]
    fn audit_says_what_both_dry_runs_say(steps in steps(), min_age in policy().prop_map(|policy| policy.min_age)) {
        let tree = store(&steps);
        let root = tree.on_disk();
        let before = snapshot(root.path());
        let age = format!("{}s", min_age.as_secs());
        let audit = |jobs| {
            let mut report = done(Regsweep::audit(root.path()).args(["--min-age", &age, "--jobs", jobs]).json()).report();
            report["elapsed_seconds"].take();
            report["started"].take();
            report
        };
        let report = audit("1");
        prop_assert_eq!(&report, &audit("64"), "{}", story(&tree));
        for (delete_untagged, key) in [(false, "reclaimable"), (true, "reclaimable_delete_untagged")] {
            let dry = done(collect(root.path(), Policy { delete_untagged, min_age }).dry().json()).report();
            let mut said = report[key].clone();
            let said_beside = said.as_object_mut().expect("an object");
            let held = said_beside.remove("held_repositories").expect("told");
            let (young, until) = (said_beside.remove("young").expect("told"), said_beside.remove("young_until").expect("told"));
            let of_dry = ["blobs", "bytes", "until"].map(|key| &dry["young"][key]);
            prop_assert_eq!([&young["blobs"], &young["bytes"], &until], of_dry, "{}\n{}", key, story(&tree));
            let never = said.as_object_mut().expect("an object").remove("young_never").expect("told");
            prop_assert_eq!(&never, &dry["young"]["never"], "{}\n{}", key, story(&tree));
            prop_assert_eq!(&said, &dry["reclaimable"], "{}\n{}", key, story(&tree));
            prop_assert_eq!(&held, &dry["scanned"]["held_repositories"], "{}\n{}", key, story(&tree));
        }
        prop_assert_eq!(&before, &snapshot(root.path()), "an audit touched the store");
    }
}

/// A store in lines, to read in a failure: path, age in minutes, and what is in it.
fn story(tree: &Tree) -> String {
    let mut lines = String::new();
    for (path, entry) in tree.entries() {
        let age =
            tree.now().duration_since(entry.modified).map_or(-1, |age| i64::try_from(age.as_secs() / 60).unwrap_or(i64::MAX));
        let what = match &entry.kind {
            Kind::File(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Kind::Directory => "(directory)".to_owned(),
            Kind::Symlink(target) => format!("-> {target}"),
        };
        lines += &format!("{path} [{age}m] {what}\n");
    }
    lines
}
