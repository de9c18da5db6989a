//! Uploads of a repository: how many there are, and which of them nobody continues.
//!
//! An upload lives for as long as anything in it is young: the time that it says it was begun, what was sent last, and the states of its hash.
//! An upload with anything in it that the registry would not put there stays whole, and what that is is named.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Counts;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::format::plural;
use crate::graph::Context;
use crate::layout::{self, Target, UploadFile, UploadPart};
use crate::oci::RepositoryName;
use crate::plan::{Deletion, Deletions, Reason};
use crate::policy::{Arrivals, Policy, Uploads, is_ahead};
use crate::store::{Stat, Stray, Upload, UploadContents};
use crate::survey::Survey;

/// Findings for one upload at most: who sends it can put many things there only by other means, but nobody reads them all.
const LISTED: usize = 5;

/// Counts the uploads, and adds what goes of them. Of a repository that is held nothing goes. Says whether anything but uploads may be among them.
///
/// # Errors
///
/// When one that may go cannot be read. What is only counted stops nobody.
pub(super) fn uploads(
    survey: &Survey<'_>,
    context: &Context<'_>,
    is_held: bool,
    (counts, deletions, findings): (&mut Counts, &mut Deletions, &mut Vec<Finding>),
) -> Result<bool, Error> {
    let listed = match (context.policy.uploads, survey.repository.uploads()) {
        (Uploads::Ignored, _) => return Ok(true),
        (Uploads::Counted, Err(error)) => {
            tracing::warn!("the uploads of {} are not counted: {error}", survey.name);
            return Ok(true);
        }
        (_, listed) => listed?,
    };
    for upload in &listed.entries {
        counts.uploads.add(upload.size_bytes());
    }
    let has_strays = !listed.strays.is_empty();
    findings.extend(of_the_future(&survey.name, &listed.entries, context.policy.now));
    let Uploads::OlderThan(age) = context.policy.uploads else { return Ok(has_strays) };
    if is_held {
        return Ok(has_strays);
    }
    findings.extend(
        listed.strays.iter().map(|stray| Finding::new(Code::of_stray(stray.kind)).repository(&survey.name).path(&stray.path)),
    );
    let policy = upload_policy(age, &context.policy);
    let apart = apart(context, &listed.strays);
    for upload in &listed.entries {
        let path = layout::uploads_directory(&survey.name).join(&upload.id);
        if apart.contains(&path) {
            continue;
        }
        let (id, contents) = match inspect(survey, upload, &policy)? {
            Seen::Unrecognised(finding) => {
                findings.push(finding);
                continue;
            }
            Seen::Gone | Seen::Young(_) => continue,
            Seen::Stale(id, contents) => (id, contents),
        };
        if !contents.others.is_empty() {
            findings.extend(contents.others.iter().take(LISTED).map(|path| unknown(survey, path)));
            continue;
        }
        counts.stale_uploads.add(upload.size_bytes());
        drop_upload(survey, context, id, &contents, deletions);
    }
    Ok(has_strays)
}

/// The finding about uploads that never become old, as their times lie in the future.
pub fn of_the_future(repository: &RepositoryName, uploads: &[Upload], now: SystemTime) -> Option<Finding> {
    let mut ahead = uploads.iter().filter(|upload| is_ahead(upload.last_continued(), now));
    let first = layout::uploads_directory(repository).join(&ahead.next()?.id);
    let count = ahead.count() as u64 + 1;
    let (has, counts) = if count == 1 { ("has", "counts") } else { ("have", "count") };
    let uploads = plural(count, "upload", "uploads");
    let detail = format!("{uploads} {has} a time in the future, in a file or in `startedat`, and never {counts} as old.");
    Some(Finding::new(Code::FutureTime).repository(repository).path(first).count(count).detail(detail))
}

/// What an upload is.
pub(super) enum Seen<'u> {
    /// None that a registry began; the finding for it.
    Unrecognised(Finding),
    /// It is not there any more.
    Gone,
    /// Something about it is young, or it was restored lately.
    Young(&'u str),
    /// Nothing has continued it for so long.
    Stale(&'u str, UploadContents),
}

/// Looks at an upload, by the age rules for uploads.
///
/// # Errors
///
/// When it cannot be read.
pub(super) fn inspect<'u>(survey: &Survey<'_>, upload: &'u Upload, policy: &Policy) -> Result<Seen<'u>, Error> {
    let Some(id) = layout::upload_id(&upload.id) else {
        let path = layout::uploads_directory(&survey.name).join(&upload.id);
        return Ok(Seen::Unrecognised(Finding::new(Code::UnrecognisedEntry).repository(&survey.name).path(path)));
    };
    Ok(match survey.repository.upload_contents(&upload.id)? {
        None => Seen::Gone,
        Some(contents)
            if is_young(upload, &contents, policy) || survey.restored_uploads.iter().any(|restored| restored == id) =>
        {
            Seen::Young(id)
        }
        Some(contents) => Seen::Stale(id, contents),
    })
}

/// What is left alone: what is a symbolic link or a mount, and what such a link in the store leads to.
pub(super) fn apart(context: &Context<'_>, strays: &[Stray]) -> HashSet<PathBuf> {
    let places = strays.iter().filter(|stray| stray.kind.sets_apart()).map(|stray| &stray.path);
    // One that leads nowhere leads to no upload.
    places.flat_map(|place| [Some(place.clone()), context.store.symlink_target(place).ok().flatten()]).flatten().collect()
}

/// The age rules for uploads that go at this age. Where no age keeps anything else, one that was copied here is as old as it says.
pub(super) fn upload_policy(age: Duration, policy: &Policy) -> Policy {
    let arrivals = if policy.min_age.is_zero() && !policy.keeps_arrivals { Arrivals::Ignored } else { policy.arrivals };
    Policy { min_age: age.max(policy.min_age), arrivals, ..*policy }
}

/// Whether anything about it is young. Where there is no file, the directories tell.
fn is_young(upload: &Upload, contents: &UploadContents, policy: &Policy) -> bool {
    let is_begun_lately = upload.started.is_some_and(|started| policy.is_young(&Stat::new(0, started)));
    let is_empty = contents.files.is_empty() && contents.others.is_empty();
    let is_emptied_lately = is_empty && policy.is_young(&Stat::new(0, contents.modified));
    is_begun_lately || is_emptied_lately || contents.files.iter().any(|(_, stat)| policy.is_young(stat))
}

pub(super) fn unknown(survey: &Survey<'_>, path: &Path) -> Finding {
    let detail = format!(
        "{} Its upload is old enough to go, and stays whole for what no registry puts there.",
        Code::UnrecognisedEntry.meaning()
    );
    Finding::new(Code::UnrecognisedEntry).repository(&survey.name).path(path).detail(detail)
}

pub(super) fn drop_upload(
    survey: &Survey<'_>,
    context: &Context<'_>,
    id: &str,
    contents: &UploadContents,
    deletions: &mut Deletions,
) {
    let mut push = |target, stat, reason, depth| {
        deletions.push(context.inventory, &Deletion { target, stat, alias_of: None, reason, depth });
    };
    if contents.files.is_empty() {
        let target = Target::EmptyUploadDirectory(survey.name.clone(), id.to_owned());
        push(target, contents.directory, Reason::EmptyDirectory, 0);
    }
    for &(part, stat) in &contents.files {
        // First what the registry knows it by: cut off after that, the rest is of an upload that every registry calls unknown.
        let depth = u32::from(part != UploadPart::StartedAt);
        let file = UploadFile { repository: survey.name.clone(), id: id.to_owned(), part };
        push(Target::Upload(Box::new(file)), stat, Reason::StaleUpload, depth);
    }
}
