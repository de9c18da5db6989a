//! `regsweep explain`: why something is kept or not.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::opening;
use super::reading::{Looking, looking, named};
use crate::config::ExplainSettings;
use crate::error::Error;
use crate::escape::{escaped, operand};
use crate::explain::{Explanation, Target, explain};
use crate::mark::{self, hold_shared, interrupted};
use crate::oci::{Reference, reference};
use crate::progress::{Phase, Progress};
use crate::report::explain::ExplainReport;
use crate::store::{Backend, LinkContent};
use crate::survey;

/// Explains why something in a store is kept or not. Nothing in it is touched.
///
/// `stop` ends the run cleanly when it becomes true.
///
/// # Errors
///
/// When the store cannot be listed, what is named is not in it, or a collection is at work.
pub fn run(settings: ExplainSettings, progress: &dyn Progress, stop: &AtomicBool) -> Result<ExplainReport, Error> {
    run_on(&*opening::open(&settings.reading.location, settings.reading.jobs)?, settings, progress, stop)
}

/// The same for a store that is open.
///
/// # Errors
///
/// As above.
pub fn run_on(
    backend: &dyn Backend,
    settings: ExplainSettings,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<ExplainReport, Error> {
    let begun = Instant::now();
    let mut looked = looking(backend, &settings.reading, progress, stop, &|looking| explained(&settings.reference, looking))?;
    // What lies elsewhere in the store is no part of the explanation.
    looked.findings.retain(|finding| finding.repository.is_some() || finding.digest.is_some() || looked.is_partial);
    let (explanation, findings, is_partial) = looked.into_parts(&settings.reading);
    Ok(ExplainReport {
        root: backend.place().to_owned(),
        config_path: settings.reading.location.config_path.clone(),
        reference: settings.reference,
        started: settings.reading.started,
        explanation,
        is_partial,
        findings,
        elapsed: begun.elapsed(),
    })
}

fn explained(reference: &Reference, looking: &Looking<'_>) -> Result<Explanation, Error> {
    let target = target(reference, looking)?;
    let explained = explain(looking.context, &target, looking.budget)?;
    looking.progress.begin(Phase::Marking, Some(looking.repositories.len() as u64));
    let mut marks = survey::each(looking.repositories, |repository| {
        interrupted(looking.stop)?;
        let mut marks = explained.look_at(repository)?;
        looking.gathered.add(std::mem::take(&mut marks.findings));
        looking.progress.advance(1, 0);
        Ok(marks)
    })?;
    hold_shared(looking.context.store, looking.repositories, &mut marks, &|repository| {
        mark::mark(&survey::survey(looking.context.store, repository)?, looking.context)
    })?;
    looking.progress.begin(Phase::Checking, None);
    let explanation = explained.into_explanation()?;
    match reference {
        Reference::Manifest(name, digest) if !explanation.is_linked && explanation.chain_count == 0 => {
            let name = escaped(name);
            Err(Error::Usage(format!(
                "the repository {name} does not link {digest}, and nothing in it leads there; `regsweep explain {digest}` looks in all \
                 repositories"
            )))
        }
        _ => Ok(explanation),
    }
}

/// Finds what somebody typed.
fn target(typed: &Reference, looking: &Looking<'_>) -> Result<Target, Error> {
    let name = match typed {
        Reference::Digest(digest) => return Ok(Target::Digest(*digest)),
        Reference::Repository(name) | Reference::Tag(name, _) | Reference::Manifest(name, _) => name,
    };
    let repository = named(looking.repositories, name)?;
    match typed {
        Reference::Manifest(_, digest) => Ok(Target::In(repository.name.clone(), *digest)),
        Reference::Tag(_, tag) => {
            let surveyed = survey::survey(looking.context.store, repository)?;
            let missing = |what: &str| {
                let (tag, name) = (escaped(tag), &surveyed.name);
                let command = operand(name.as_path());
                Error::Usage(format!("the tag {tag} of the repository {name} {what}; `regsweep list {command}` shows its tags"))
            };
            let found = surveyed.tags.iter().find(|found| reference::is_tag(&found.name, tag));
            match found.map(|found| (found, found.current)) {
                Some((found, LinkContent::Digest(digest))) => {
                    Ok(Target::Tag(repository.name.clone(), found.name.clone(), digest))
                }
                Some(_) => Err(missing("names nothing: its `current/link` is lost or garbled")),
                None => Err(missing("is not there")),
            }
        }
        Reference::Digest(_) | Reference::Repository(_) => Ok(Target::Repository(repository.name.clone())),
    }
}
