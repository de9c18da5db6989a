//! Stores in which link files are not what keeps images alive (H18, H19).

use crate::config::Location;
use crate::error::Error;
use crate::layout;
use crate::policy::RootPolicy;
use crate::store::Backend;

/// Makes sure that no other program's database says what is needed in a store. Any one sign is enough.
///
/// # Errors
///
/// [`Error::Brake`] when another owner is seen and `is_allowed` does not say otherwise; [`Error::Io`] when nobody can tell.
pub(super) fn ensure_no_foreign_owner(
    backend: &dyn Backend,
    location: &Location,
    roots: RootPolicy,
    is_allowed: bool,
) -> Result<(), Error> {
    if is_allowed {
        return Ok(());
    }
    let reason = match gitlab(backend, location)? {
        Some(sign) => format!("{sign}: GitLab's metadata database, not this store, knows what is needed"),
        None if roots == RootPolicy::TaggedOnly => match keeper_of_tags(location) {
            Some(reason) => reason,
            None => return Ok(()),
        },
        None => return Ok(()),
    };
    let lift = "use its owner's collector, or give --allow-foreign-owner if that is not so any more".to_owned();
    Err(Error::Brake { reason, lift })
}

/// Makes sure that what no repository links is needed by nobody: GitLab's registry with its database writes no layer links. No flag says otherwise.
///
/// # Errors
///
/// [`Error::Brake`] when there is any sign of that database; [`Error::Io`] when nobody can tell.
pub(super) fn ensure_links_are_written(backend: &dyn Backend, location: &Location) -> Result<(), Error> {
    let Some(sign) = gitlab(backend, location)? else { return Ok(()) };
    Err(Error::Brake {
        reason: format!(
            "{sign}: GitLab's registry writes no layer links with its metadata database, so blobs that no repository links are those in use"
        ),
        lift: "use GitLab's own collector; nothing lifts this for --unlinked-only".to_owned(),
    })
}

/// The first sign that GitLab's database is on.
///
/// # Errors
///
/// When it cannot be seen whether GitLab's files are there.
pub(super) fn gitlab(backend: &dyn Backend, location: &Location) -> Result<Option<String>, Error> {
    if backend.has(layout::DATABASE_IN_USE)? {
        return Ok(Some(format!("{} is there", layout::DATABASE_IN_USE)));
    }
    let owners = location.owners();
    if let Some(sign) = &owners.gitlab {
        return Ok(Some(format!("{} has {sign}", bearer(location, sign))));
    }
    match &owners.gitlab_by_default {
        Some(sign) if !backend.has(layout::FILESYSTEM_IN_USE)? => Ok(Some(format!(
            "{} has {sign}, as GitLab's registry does, whose database is on by default from version 19 on, and there is no {}",
            bearer(location, sign),
            layout::FILESYSTEM_IN_USE
        ))),
        _ => Ok(None),
    }
}

/// Makes sure that the blobs of a store are no other store's as well.
///
/// # Errors
///
/// [`Error::Brake`] when they may be, [`Error::Io`] when that cannot be seen.
pub(super) fn ensure_blobs_not_shared(backend: &dyn Backend) -> Result<(), Error> {
    let Some(reason) = backend.shared_blobs()? else { return Ok(()) };
    let lift = "make sure that no other store keeps its blobs there, and give --allow-shared-blobs".to_owned();
    Err(Error::Brake { reason: format!("{reason}: another store may need what is in it"), lift })
}

/// What has a sign of another owner: a setting may be made by the file and by variables.
fn bearer(location: &Location, sign: &str) -> &'static str {
    match location.config_path {
        Some(_) if sign.contains("(from ") => "the configuration or the environment",
        Some(_) if !sign.starts_with("the variable ") => "the configuration",
        _ => "the environment",
    }
}

/// Who keeps the tags elsewhere, by the configuration or the environment.
fn keeper_of_tags(location: &Location) -> Option<String> {
    let owners = location.owners();
    if let Some(sign) = &owners.harbor {
        let from = bearer(location, sign);
        return Some(format!(
            "{from} has {sign}, as Harbor writes it: its tags are in its database, and what drops tags or untagged images would drop all its artifacts"
        ));
    }
    let sign = owners.openshift.as_ref()?;
    let from = bearer(location, sign);
    Some(format!(
        "{from} has {sign}: OpenShift keeps its tags in etcd, and what drops tags or untagged images would drop all its images"
    ))
}
