//! Findings about uploads that no client will finish.

use std::path::PathBuf;

use super::ages::Ages;
use super::facts::RepositoryFacts;
use crate::finding::{Code, Finding};
use crate::format::size;
use crate::layout;
use crate::store::{FileState, Upload};

/// Findings about the uploads of a repository.
pub(crate) fn repository(facts: &RepositoryFacts<'_>, ages: &Ages) -> Vec<Finding> {
    let name = &facts.survey.name;
    let directory = layout::uploads_directory(name);
    let found = facts.uploads.entries.iter().flat_map(|upload| judge(upload, &directory.join(&upload.id), ages));
    found.map(|finding| finding.repository(name)).collect()
}

fn judge(upload: &Upload, directory: &PathBuf, ages: &Ages) -> Vec<Finding> {
    let irregular = [("startedat", upload.started_file), ("data", upload.data)];
    let mut findings: Vec<Finding> = irregular
        .into_iter()
        .filter(|(_, state)| *state == FileState::Irregular)
        .map(|(name, _)| Finding::new(Code::UnrecognisedEntry).path(directory.join(name)))
        .collect();
    let data = match upload.data {
        FileState::File(stat) => Some(stat),
        FileState::Absent | FileState::Irregular => None,
    };
    if upload.started_file == FileState::Absent && upload.data == FileState::Absent {
        if ages.is_past(upload.modified, ages.min_age) {
            findings.push(Finding::new(Code::HalfCancelledUpload).path(directory));
        }
        return findings;
    }
    // The latest time counts: a client may have resumed the upload.
    let last_activity = upload.started.into_iter().chain(data.map(|stat| stat.modified)).max();
    if ages.is_past(last_activity.unwrap_or(upload.modified), ages.upload_age) {
        let bytes = data.map_or(0, |stat| stat.size_bytes);
        let detail = format!("{} {} in it.", Code::StaleUpload.meaning(), size(bytes));
        findings.push(Finding::new(Code::StaleUpload).path(directory).detail(detail));
    }
    findings
}
