//! Who else owns the store, and whether all of it is there.

use crate::finding::{Code, Finding};
use crate::format::plural;
use crate::layout;
use crate::registry_config::CacheSign;

/// What was seen of other owners.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signs {
    /// What says that GitLab's database is on, if anything does.
    pub(crate) gitlab_database: Option<String>,
    /// What says that Harbor keeps the tags, if anything does.
    pub(crate) harbor: Option<String>,
    /// What says that the registry is a pull-through cache, if anything does.
    pub(crate) cache: Option<CacheSign>,
}

/// Who else has a say in what the store holds.
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

/// Says so if the store looks as if half of it were not mounted (H20), where a collection would stop.
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
