//! Blobs of another size than manifests state: those whose bytes do not match their digests are damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::contents::NEEDS_BYTES;
use super::mirror::Mirror;
use super::repository::{Mends, only_size};
use crate::dependents;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::format::number;
use crate::graph::Context;
use crate::layout::{self, Shard};
use crate::mark::interrupted;
use crate::oci::Digest;
use crate::store::{FileState, RepositoryEntry, Stat};

/// The sizes that copied manifests state for blobs that have another one.
type Misstated = BTreeMap<Digest, BTreeSet<u64>>;

/// What a blob of another size turned out to be.
enum Looked {
    /// It went, or is no file any more.
    Gone,
    /// Its bytes match its digest.
    Whole,
    /// They do not.
    Damaged(Stat),
    /// They cannot be read.
    Unreadable(Error),
}

/// Decides about the blobs of another size than a manifest states that `is_meant` takes. Each of them is read: what matches its digest is whole, and the
/// manifest was built wrong. Of the others a mirror may have the right bytes.
///
/// Every manifest must have been read through the context before.
///
/// # Errors
///
/// When something in the store cannot be looked at.
pub(crate) fn sizes(
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    mirror: Option<Mirror<'_>>,
    (is_meant, misstated): (&dyn Fn(&Digest) -> bool, &Misstated),
    stop: &AtomicBool,
) -> Result<Mends, Error> {
    let mut mends = Mends::default();
    let mut suspects = dependents::wrong_sizes(context)?;
    suspects.retain(|digest, _| is_meant(digest));
    let said = dependents::stated_otherwise(context, repositories, &suspects)?;
    let mut said: BTreeMap<Digest, Finding> = said.into_iter().filter_map(|finding| Some((finding.digest?, finding))).collect();
    let look = |digest: &Digest| {
        interrupted(stop)?;
        Ok((*digest, look(context, digest)?))
    };
    let looked = suspects.par_iter().map(|(digest, _)| look(digest)).collect::<Result<Vec<_>, Error>>()?;
    for (digest, looked) in looked {
        let by_copies = || by_copies(&digest, suspects[&digest], misstated.get(&digest)?);
        let said = said.remove(&digest).or_else(by_copies);
        match looked {
            Looked::Gone => {}
            Looked::Whole => mends.findings.extend(said.map(built_wrong)),
            Looked::Unreadable(error) => {
                let detail = format!("Not mended: {error}.");
                mends.findings.push(named(Code::UnreadableBlob, &digest, said).detail(detail));
            }
            Looked::Damaged(stat) => damaged(context, mirror, (digest, stat), said, &mut mends),
        }
    }
    Ok(mends)
}

/// Says of blobs that are copied, with their sizes, which manifests state another one. The bytes are those of the digest, so they are copied all
/// the same: another manifest may state the right size.
///
/// # Errors
///
/// When something in the store cannot be looked at.
pub(crate) fn of_copies(
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    copies: &BTreeMap<Digest, u64>,
    misstated: &Misstated,
) -> Result<Vec<Finding>, Error> {
    let mut said = dependents::stated_otherwise(context, repositories, copies)?;
    let named: BTreeSet<Digest> = said.iter().filter_map(|finding| finding.digest).collect();
    let others = misstated.iter().filter(|(digest, _)| !named.contains(digest));
    said.extend(others.filter_map(|(digest, sizes)| by_copies(digest, *copies.get(digest)?, sizes)));
    Ok(said.into_iter().map(built_wrong).collect())
}

/// The finding about a size that only manifests state that are copied.
fn by_copies(digest: &Digest, size_bytes: u64, stated: &BTreeSet<u64>) -> Option<Finding> {
    // What they were compared with may be the damaged blob that is replaced.
    let mut stated = stated.iter().copied().filter(|stated| *stated != size_bytes).peekable();
    stated.peek()?;
    Some(dependents::size_mismatch(digest, size_bytes, stated))
}

fn built_wrong(finding: Finding) -> Finding {
    let why = "Not mended: its bytes match its digest, so the manifest was built wrong.";
    let detail = format!("{} {why}", finding.message());
    finding.detail(detail)
}

fn look(context: &Context<'_>, digest: &Digest) -> Result<Looked, Error> {
    let [FileState::File(stat)] = context.store.stat_blobs(Shard::of(digest), &[*digest])?[..] else { return Ok(Looked::Gone) };
    Ok(match context.store.is_whole_on_disk(digest) {
        Ok(None) => Looked::Gone,
        Ok(Some(true)) => Looked::Whole,
        Ok(Some(false)) => Looked::Damaged(stat),
        Err(error) => Looked::Unreadable(error),
    })
}

fn damaged(
    context: &Context<'_>,
    mirror: Option<Mirror<'_>>,
    (digest, stat): (Digest, Stat),
    said: Option<Finding>,
    mends: &mut Mends,
) {
    let inventory = context.inventory;
    let blob = inventory.find(&digest).expect("it has a stated size in the inventory");
    let stated = inventory.size_bytes(blob);
    let code = match (stat.size_bytes, stated) {
        (0, _) => Code::EmptyBlob,
        (size, Some(stated)) if size > stated => Code::OverlongBlob,
        _ => Code::TruncatedBlob,
    };
    let why = match mirror.map(|mirror| mirror.blob(&digest, only_size(inventory, blob))) {
        Some(Ok(size_bytes)) => return mends.blob(&digest, code, Some(stat), size_bytes),
        Some(Err(lacks)) => lacks.reason(),
        None => NEEDS_BYTES.to_owned(),
    };
    let sizes =
        stated.map_or_else(String::new, |stated| format!(" It has {} of {} bytes.", number(stat.size_bytes), number(stated)));
    mends.findings.push(named(code, &digest, said).detail(format!("{}{sizes} {why}", code.meaning())));
}

/// A finding about a blob, with the images that need it.
fn named(code: Code, digest: &Digest, said: Option<Finding>) -> Finding {
    let needs = said.map(|finding| finding.needed_by).unwrap_or_default();
    Finding::new(code).digest(digest).path(layout::blob_data(digest)).needed_by(needs)
}
