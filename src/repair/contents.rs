//! Lost and damaged content that manifests need: what of it a mirror has is copied, with the links that it lacks.
//!
//! Every digest comes from a manifest that the store has, or that was copied because such a one names it, and every manifest of a mirror is
//! compared with its digest before it is read: a mirror can withhold, and no more.

use super::decide::{CannotMend, Named, Part};
use super::mirror::{Lacks, Mirror};
use super::repository::{Looking, Mends};
use super::tag::only_one;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{LinkVerdict, Reading, layer_verdict};
use crate::layout::{self, LinkDirectory, Shard};
use crate::oci::{Descriptor, DescriptorKind, Digest, References, manifest};
use crate::store::{FileState, LinkContent, Stat};

/// How many manifests of a mirror are followed for one repository, and how many bytes of them. A next run goes on.
const MOST_FOLLOWED: (u64, u64) = (16_384, 1 << 30);

/// Why damaged bytes stay that no mirror was asked for.
pub(super) const NEEDS_BYTES: &str = "Not mended: the right bytes have to come from another store with --from, or from a push.";

/// What should be under a digest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Blob,
    Manifest,
    /// A manifest that an index names, and that may never have been there.
    Child,
}

/// Decides about lost and damaged content that manifests here need: what a mirror has is copied, with the links that it may lack. Of anything
/// else the finding stands.
///
/// # Errors
///
/// When the store cannot be looked at.
pub(crate) fn contents(looking: &mut Looking<'_>, findings: Vec<Finding>) -> Result<Mends, Error> {
    let mut mends = Mends::default();
    for finding in findings {
        let stated = finding.digest.and_then(|digest| looking.stated(&digest));
        if let Some(references) = content(looking, finding, stated, &mut mends)? {
            follow(looking, references, &mut mends)?;
        }
    }
    behind_damaged_links(looking, &mut mends)?;
    Ok(mends)
}

/// Decides about one digest. Returns what a manifest names that is copied.
fn content(
    looking: &mut Looking<'_>,
    finding: Finding,
    stated: Option<u64>,
    mends: &mut Mends,
) -> Result<Option<References>, Error> {
    let (role, is_lost) = match finding.code {
        Code::MissingBlob => (Some(Role::Blob), true),
        Code::MissingChild => (Some(Role::Child), true),
        Code::MissingManifest | Code::MissingTagTarget => (Some(Role::Manifest), true),
        Code::CorruptManifest | Code::OversizedManifest | Code::UnreadableManifest => (Some(Role::Manifest), false),
        _ => (None, false),
    };
    let Some(digest) = finding.digest else {
        // It stands for many, which are not listed.
        mends.has_more |= looking.mirror.is_some();
        if role != Some(Role::Child) {
            mends.findings.push(finding);
        }
        return Ok(None);
    };
    let replaced = if is_lost { None } else { file(looking, &digest)? };
    let offer = match (looking.mirror, role) {
        (Some(mirror), Some(role)) if is_lost || replaced.is_some() => Some(offer(mirror, role, &digest, stated)),
        _ => None,
    };
    let (size_bytes, references) = match offer {
        Some(Ok(offer)) => offer,
        // A platform that was never copied, as often as not.
        None | Some(Err(Lacks::Absent)) if role == Some(Role::Child) => return Ok(None),
        lacking => {
            let why = lacking.and_then(Result::err).map_or_else(|| not_mended(role, is_lost).to_owned(), |lacks| lacks.reason());
            let empty = if replaced.is_some_and(|stat| stat.size_bytes == 0) { " The file is empty." } else { "" };
            let detail = format!("{}{empty} {why}", sentence(finding.message()));
            mends.findings.push(finding.detail(detail));
            return Ok(None);
        }
    };
    mends.blob(&digest, finding.code, replaced, size_bytes);
    looking.copied.insert(digest);
    let name = &looking.facts.survey.name;
    if role == Some(Role::Blob) && !looking.has_layer_link(&digest) {
        looking.missing(Part::Layer, &LinkDirectory::Layers(name.clone()), &digest, Code::MissingLayerLink, mends)?;
    }
    let is_child = role == Some(Role::Child) || looking.is_damaged_child(&digest);
    if is_child && looking.facts.survey.revision(&digest).is_none() {
        looking.missing(Part::Revision, &LinkDirectory::Revisions(name.clone()), &digest, Code::LostChild, mends)?;
    }
    Ok(references)
}

fn offer(mirror: Mirror<'_>, role: Role, digest: &Digest, stated: Option<u64>) -> Result<(u64, Option<References>), Lacks> {
    match role {
        Role::Blob => mirror.blob(digest, stated).map(|size_bytes| (size_bytes, None)),
        Role::Manifest | Role::Child => mirror.manifest(digest).map(|(size_bytes, references)| (size_bytes, Some(references))),
    }
}

/// Why something is not mended that no mirror was asked for.
fn not_mended(role: Option<Role>, is_lost: bool) -> &'static str {
    match (role, is_lost) {
        (Some(_), true) => "Not mended: its bytes have to come from a push, or from another store with --from.",
        (Some(_), false) => NEEDS_BYTES,
        (None, _) => "Not mended: a push or a backup has its bytes; quarantined, it counts as lost.",
    }
}

fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}

/// The file of a blob as it is now.
fn file(looking: &Looking<'_>, digest: &Digest) -> Result<Option<Stat>, Error> {
    Ok(match looking.context.store.stat_blobs(Shard::of(digest), &[*digest])?[..] {
        [FileState::File(stat)] => Some(stat),
        _ => None,
    })
}

/// Follows what a manifest names that is copied, to any depth: all that it needs is copied with it, or linked.
fn follow(looking: &mut Looking<'_>, references: References, mends: &mut Mends) -> Result<(), Error> {
    let mut waiting = references.descriptors;
    // The registry does not read other places, so no client needs what is named there.
    waiting.retain(|named| named.expected);
    while let Some(named) = waiting.pop() {
        let is_new = looking.followed.insert((named.digest, named.kind));
        if is_new && named.kind != DescriptorKind::Manifest {
            layer(looking, &named, mends)?;
        } else if is_new {
            let (manifests, bytes) = looking.manifests_followed;
            if manifests >= MOST_FOLLOWED.0 || bytes >= MOST_FOLLOWED.1 {
                mends.has_more = true;
                return Ok(());
            }
            if let Some(references) = child(looking, &named.digest, mends)? {
                looking.manifests_followed = (manifests + 1, bytes + named.size_bytes.unwrap_or_default());
                waiting.extend(references.descriptors.into_iter().filter(|named| named.expected));
            }
        }
        compare_size(looking, &named, mends)?;
    }
    Ok(())
}

/// Notes a size that a copied manifest states and that is not the one of the blob.
fn compare_size(looking: &Looking<'_>, named: &Descriptor, mends: &mut Mends) -> Result<(), Error> {
    let Some(stated) = named.size_bytes else { return Ok(()) };
    let size_bytes = match mends.links.get(&layout::Target::Blob(named.digest)) {
        Some(mend) => mend.size_bytes,
        None if looking.is_stored(&named.digest) => file(looking, &named.digest)?.map(|stat| stat.size_bytes),
        None => None,
    };
    if size_bytes.is_some_and(|size_bytes| size_bytes != stated) {
        if let Some(blob) = looking.context.inventory.find(&named.digest).filter(|_| looking.is_stored(&named.digest)) {
            looking.context.inventory.learn_size(blob, stated);
        }
        mends.misstated.entry(named.digest).or_default().insert(stated);
    }
    Ok(())
}

/// Decides about the manifest that a named tag gets back from its history, and about all that this names: no link leads to it yet.
///
/// # Errors
///
/// When the store cannot be looked at.
pub(crate) fn target(looking: &mut Looking<'_>, place: usize, mends: &mut Mends) -> Result<(), Error> {
    let named = match looking.facts.survey.tags[place].current {
        LinkContent::Digest(_) => return Ok(()),
        _ => only_one(looking.facts, place),
    };
    let Ok(digest) = named else { return Ok(()) };
    if let Some(references) = child(looking, &digest, mends)? {
        follow(looking, references, mends)?;
    }
    let copied = mends.links.get_mut(&layout::Target::Blob(digest));
    if let Some(mend) = copied.filter(|mend| mend.code == Code::MissingChild) {
        mend.code = Code::MissingManifest;
    }
    Ok(())
}

/// A manifest that a copied index names. Returns what it names.
fn child(looking: &mut Looking<'_>, digest: &Digest, mends: &mut Mends) -> Result<Option<References>, Error> {
    // What a revision names is looked at with the revision.
    if looking.facts.survey.revision(digest).is_some() || looking.copied.contains(digest) {
        return Ok(None);
    }
    let lost = |code: Code| Finding::new(code).digest(digest).path(layout::blob_data(digest));
    if !looking.is_stored(digest) {
        return content(looking, lost(Code::MissingChild), None, mends);
    }
    let mut read = None;
    looking.context.store.manifest(digest, &mut |bytes| read = manifest::references(bytes).ok())?;
    let references = match read {
        None => content(looking, lost(Code::CorruptManifest), None, mends)?,
        read => read,
    };
    if references.is_some() {
        let revisions = LinkDirectory::Revisions(looking.facts.survey.name.clone());
        looking.missing(Part::Revision, &revisions, digest, Code::LostChild, mends)?;
    }
    Ok(references)
}

/// A layer or configuration that a copied manifest names.
fn layer(looking: &mut Looking<'_>, named: &Descriptor, mends: &mut Mends) -> Result<(), Error> {
    let survey = &looking.facts.survey;
    let digest = match layer_verdict(survey, &named.digest)? {
        LinkVerdict::Names(canonical) => canonical,
        LinkVerdict::Absent | LinkVerdict::Faulty(_) => named.digest,
    };
    if survey.revision(&digest).is_some() || looking.copied.contains(&digest) {
        return Ok(());
    }
    let inventory = looking.context.inventory;
    let Some(blob) = inventory.find(&digest).filter(|_| looking.is_stored(&digest)) else {
        if !named.foreign {
            let lost = Finding::new(Code::MissingBlob).digest(&digest).path(layout::blob_data(&digest));
            content(looking, lost, named.size_bytes, mends)?;
        }
        return Ok(());
    };
    // So that one of another size is found with all the others.
    named.size_bytes.into_iter().for_each(|size| inventory.learn_size(blob, size));
    if looking.has_layer_link(&digest) {
        return Ok(());
    }
    let may_be_manifest = named.kind == DescriptorKind::MaybeManifest;
    if may_be_manifest && matches!(looking.context.manifests.read(&digest)?, Reading::Read(_)) {
        let revision = LinkDirectory::Revisions(survey.name.clone());
        mends.cannot(&layout::Target::Link(revision, digest), Code::LostChild, CannotMend::Uncertain);
        return Ok(());
    }
    looking.missing(Part::Layer, &LinkDirectory::Layers(survey.name.clone()), &digest, Code::MissingLayerLink, mends)
}

/// What a manifest names and a damaged layer link leads to: that it is lost, too, is not said anywhere.
fn behind_damaged_links(looking: &mut Looking<'_>, mends: &mut Mends) -> Result<(), Error> {
    let Some(mirror) = looking.mirror else { return Ok(()) };
    for (digest, content) in looking.facts.survey.layers.iter().zip(&looking.facts.layer_links) {
        let is_damaged = matches!(content, LinkContent::Empty | LinkContent::Garbled);
        let is_lost =
            is_damaged && looking.facts.needed.named.contains_key(digest) && looking.named(digest, Part::Layer)? == Named::Absent;
        if !is_lost {
            continue;
        }
        match mirror.blob(digest, looking.stated(digest)) {
            Ok(size_bytes) => {
                mends.blob(digest, Code::MissingBlob, None, size_bytes);
                looking.copied.insert(*digest);
            }
            Err(Lacks::Absent) => {}
            Err(lacks) => {
                let lost = Finding::new(Code::MissingBlob).digest(digest).path(layout::blob_data(digest));
                mends.findings.push(lost.detail(format!("{} {}", Code::MissingBlob.meaning(), lacks.reason())));
            }
        }
    }
    Ok(())
}
