//! What is in a store, for programs.

use std::time::SystemTime;

use serde::Serialize;

use super::{ListReport, Listed};
use crate::catalogue::{ListedPlatform, ListedRepository, ListedRevision, ListedTag};
use crate::format::time;
use crate::report::Report as _;
use crate::report::json::{self, Head};

/// Of what was not asked for there is `null`.
#[derive(Serialize)]
struct Body {
    reference: Option<String>,
    partial: bool,
    repositories: Option<Vec<Repository>>,
    repository: Option<Repository>,
    tags: Option<Vec<Tag>>,
    untagged: Option<Vec<Revision>>,
}

#[derive(Serialize)]
struct Repository {
    name: String,
    tags: u64,
    revisions: u64,
    pushed: Option<String>,
    in_catalogue_2: bool,
    in_catalogue_3: bool,
    held: bool,
}

#[derive(Serialize)]
struct Tag {
    name: String,
    state: &'static str,
    digest: Option<String>,
    kind: String,
    platforms: Vec<Platform>,
    bytes: u64,
    pushed: Option<String>,
    created: Option<String>,
}

#[derive(Serialize)]
struct Platform {
    platform: Option<String>,
    digest: String,
    stored: bool,
    bytes: u64,
    created: Option<String>,
}

#[derive(Serialize)]
struct Revision {
    repository: String,
    digest: String,
    stored: bool,
    kind: String,
    platform: Option<String>,
    bytes: u64,
    pushed: Option<String>,
    age_seconds: Option<u64>,
    created: Option<String>,
}

impl From<&ListedRepository> for Repository {
    fn from(listed: &ListedRepository) -> Repository {
        Repository {
            name: listed.name.to_string(),
            tags: listed.tags,
            revisions: listed.revisions,
            pushed: listed.pushed.map(time),
            in_catalogue_2: listed.in_catalogue_2,
            in_catalogue_3: listed.in_catalogue_3,
            held: listed.is_held,
        }
    }
}

impl From<&ListedTag> for Tag {
    fn from(listed: &ListedTag) -> Tag {
        Tag {
            name: listed.name.to_string(),
            state: listed.state.name(),
            digest: listed.digest.map(|digest| digest.to_string()),
            kind: listed.kind.clone(),
            platforms: listed.platforms.iter().map(Platform::from).collect(),
            bytes: listed.size_bytes,
            pushed: listed.pushed.map(time),
            created: listed.created.map(time),
        }
    }
}

impl From<&ListedPlatform> for Platform {
    fn from(listed: &ListedPlatform) -> Platform {
        Platform {
            platform: listed.platform.clone(),
            digest: listed.digest.to_string(),
            stored: listed.is_stored,
            bytes: listed.size_bytes,
            created: listed.created.map(time),
        }
    }
}

impl Revision {
    fn new(listed: &ListedRevision, now: SystemTime) -> Revision {
        let age = listed.pushed.map(|pushed| now.duration_since(pushed).unwrap_or_default());
        Revision {
            repository: listed.repository.to_string(),
            digest: listed.digest.to_string(),
            stored: listed.is_stored,
            kind: listed.kind.clone(),
            platform: listed.platform.clone(),
            bytes: listed.size_bytes,
            pushed: listed.pushed.map(time),
            age_seconds: age.map(|age| age.as_secs()),
            created: listed.created.map(time),
        }
    }
}

/// Renders a report as one JSON document.
pub(super) fn render(report: &ListReport) -> String {
    let reference = report.reference.as_ref().map(ToString::to_string);
    let mut body =
        Body { reference, partial: report.is_partial, repositories: None, repository: None, tags: None, untagged: None };
    match &report.listed {
        Listed::Repositories(repositories) => body.repositories = Some(repositories.iter().map(Repository::from).collect()),
        Listed::Tags(repository, tags) => {
            body.repository = Some(repository.into());
            body.tags = Some(tags.iter().map(Tag::from).collect());
        }
        Listed::Untagged(revisions) => {
            body.untagged = Some(revisions.iter().map(|listed| Revision::new(listed, report.started)).collect());
        }
    }
    let head = Head {
        command: "list",
        outcome: None,
        exit: report.exit(),
        root: &report.root,
        config: report.config_path.as_deref(),
        started: report.started,
        elapsed: report.elapsed,
        findings: &report.findings,
    };
    json::render(&head, body)
}
