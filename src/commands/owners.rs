//! Stores in which link files are not what keeps images alive (H18, H19).

use std::io;

use crate::config::Location;
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::layout;
use crate::policy::RootPolicy;
use crate::store::filesystem::mounts;
use crate::store::root::Root;

/// Makes sure that no other program's database says what is needed in the store below `root`. Any one sign is enough.
///
/// # Errors
///
/// [`Error::Brake`] when another owner is seen and `is_allowed` does not say otherwise; [`Error::Io`] when nobody can tell.
pub(super) fn ensure_no_foreign_owner(
    root: &Root,
    location: &Location,
    roots: RootPolicy,
    is_allowed: bool,
) -> Result<(), Error> {
    if is_allowed {
        return Ok(());
    }
    let reason = match gitlab(root, location)? {
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

/// The first sign that GitLab's database is on.
///
/// # Errors
///
/// When it cannot be seen whether GitLab's files are there.
pub(super) fn gitlab(root: &Root, location: &Location) -> Result<Option<String>, Error> {
    let is_there = |file: &str| -> Result<bool, Error> {
        let path = root.at(file);
        match path.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(error).context("look for", path),
        }
    };
    if is_there(layout::DATABASE_IN_USE)? {
        return Ok(Some(format!("{} is there", layout::DATABASE_IN_USE)));
    }
    let from = location.config_path.as_ref().map_or("the environment", |_| "the configuration");
    let owners = location.owners();
    if let Some(sign) = &owners.gitlab {
        return Ok(Some(format!("{from} has {sign}")));
    }
    match &owners.gitlab_by_default {
        Some(sign) if !is_there(layout::FILESYSTEM_IN_USE)? => Ok(Some(format!(
            "{from} has {sign}, as GitLab's registry does, whose database is on by default from version 19 on, and there is no {}",
            layout::FILESYSTEM_IN_USE
        ))),
        _ => Ok(None),
    }
}

/// Makes sure that the blobs below `root` are no other store's as well: their directory is no symbolic link to elsewhere, and no mount of
/// what is mounted in another place too, and nobody mounts it by itself.
///
/// # Errors
///
/// [`Error::Brake`] when they may be, [`Error::Io`] when that cannot be seen.
pub(super) fn ensure_blobs_not_shared(root: &Root) -> Result<(), Error> {
    let given = root.at(layout::BLOBS);
    if given.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    let real = std::fs::canonicalize(&given).context("open", &given)?;
    let v2 = root.at(layout::V2);
    let here = std::fs::canonicalize(&v2).context("open", &v2)?.join("blobs");
    let reason = if real != here {
        format!("{} is a symbolic link to {}", escaped(&given), escaped(&real))
    } else if let Some(other) = mounts::shown_elsewhere(&real) {
        format!("what is mounted at {} is {}", escaped(&given), escaped(&other))
    } else if let Some(point) = mounts::shown_apart(&real) {
        format!("{}, or a part of it, is mounted at {} as well", escaped(&given), escaped(&point))
    } else {
        return Ok(());
    };
    let lift = "make sure that no other store keeps its blobs there, and give --allow-shared-blobs".to_owned();
    Err(Error::Brake { reason: format!("{reason}: another store may need what is in it"), lift })
}

/// Who keeps the tags elsewhere, by the configuration or the environment.
fn keeper_of_tags(location: &Location) -> Option<String> {
    let owners = location.owners();
    let from = location.config_path.as_ref().map_or("the environment", |_| "the configuration or the environment");
    if let Some(sign) = &owners.harbor {
        return Some(format!(
            "{from} has {sign}, as Harbor writes it: its tags are in its database, and --delete-untagged would drop all its artifacts"
        ));
    }
    let sign = owners.openshift.as_ref()?;
    Some(format!("{from} has {sign}: OpenShift keeps its tags in etcd, and --delete-untagged would drop all its images"))
}
