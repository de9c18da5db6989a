//! Findings about other owners of the store, and about a store that is mounted only in part.

use crate::finding::{Code, Finding};
use crate::format::plural;
use crate::layout;
use crate::registry_config::CacheSign;

/// Signs of other owners.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signs {
    /// The sign that GitLab's database is in use.
    pub(crate) gitlab_database: Option<String>,
    /// The sign that Harbor keeps the tags.
    pub(crate) harbor: Option<String>,
    /// The sign that the registry is a pull-through cache.
    pub(crate) cache: Option<CacheSign>,
}

/// The findings about other owners.
pub(crate) fn owners(signs: Signs) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(sign) = signs.gitlab_database {
        findings.push(match sign.starts_with(layout::DATABASE_IN_USE) {
            true => Finding::new(Code::GitlabDatabase).path(layout::DATABASE_IN_USE),
            false => Finding::new(Code::GitlabDatabase).detail(format!("The sign: {sign}.")),
        });
    }
    if let Some(sign) = signs.harbor {
        findings.push(Finding::new(Code::HarborDatabase).detail(format!(
            "The configuration or the environment is Harbor's ({sign}): its tags are in its database, and untagged revisions here may be its \
             artifacts."
        )));
    }
    let cache = Finding::new(Code::PullThroughCache);
    findings.extend(signs.cache.map(|sign| match sign {
        CacheSign::Configured => cache,
        CacheSign::Variables(names) => cache.detail(format!("The sign: {names} in the environment.")),
        CacheSign::State => cache.path(layout::PROXY_STATE),
    }));
    findings
}

/// The finding about a store that looks half mounted (H20). A collection stops there.
pub(crate) fn half_a_store(blobs: u64, any_needed: bool, repositories: u64, revisions: u64) -> Option<Finding> {
    let detail = if blobs > 0 && repositories == 0 {
        format!("There are {} and not one repository.", plural(blobs, "blob", "blobs"))
    } else if blobs > 0 && !any_needed {
        format!("There are {} and no repository needs any of them.", plural(blobs, "blob", "blobs"))
    } else if blobs == 0 && revisions > 0 {
        format!("There are {} in the repositories and not one blob.", plural(revisions, "revision", "revisions"))
    } else {
        return None;
    };
    Some(Finding::new(Code::EmptyStore).detail(detail))
}
