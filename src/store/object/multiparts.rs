//! Multipart uploads of a registry that were begun and not ended. No listing of keys has them, and what was sent of them takes room.
//!
//! A registry sends an upload as a multipart upload of its `data`, which is no key before that is ended. So such an upload has a `data` here as
//! if it had been written already, as large as all that was sent and as young as the youngest part. One listing has those of all repositories;
//! who opens a repository once more asks for its own. A server that does not tell them, or may not be asked, is asked once.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::requests::{Listed, Multipart, Requests, Sent, is_path};
use crate::error::Error;
use crate::layout::{self, Target, UploadPart};
use crate::oci::RepositoryName;
use crate::store::{RepositoryEntry, Stat, Stray, StrayKind, Unseen};

/// What is known of them in a bucket.
#[derive(Debug, Default)]
pub(super) struct Multiparts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Why they are not to be seen.
    unseen: Option<Unseen>,
    /// Those of repositories that did not ask yet.
    listed: HashMap<RepositoryName, Vec<Multipart>>,
}

/// Its upload, if it is of a registry's.
fn upload(multipart: &Multipart) -> Option<(RepositoryName, String)> {
    match Target::of_path(&multipart.key)? {
        Target::Upload(file) if is_path(&multipart.key) && file.part == UploadPart::Data => Some((file.repository, file.id)),
        _ => None,
    }
}

/// What there is under a key, with what was sent of its multipart uploads.
pub(super) fn together(key: Option<&Listed>, sent: &[(Multipart, Sent)]) -> Option<Stat> {
    let parts = sent.iter().map(|(multipart, sent)| {
        let modified = sent.modified.map_or(multipart.initiated, |modified| modified.max(multipart.initiated));
        Stat::new(sent.size_bytes, modified)
    });
    key.map(Listed::stat)
        .into_iter()
        .chain(parts)
        .reduce(|one, other| Stat::new(one.size_bytes.saturating_add(other.size_bytes), one.modified.max(other.modified)))
}

fn no_answer(bucket: &dyn Requests, key: &Path) -> Error {
    let why = "the server does not say what was sent of this multipart upload, as it did of others; run again, and if that stays so ask past any \
               proxy";
    Error::Io { operation: "look at", path: bucket.place_of(key), source: io::Error::other(why) }
}

impl Multiparts {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists all. Gives the repositories that have some and are not among `repositories`, and what there is to say.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub(super) fn list(
        &self,
        bucket: &dyn Requests,
        repositories: &[RepositoryEntry],
    ) -> Result<(Vec<RepositoryEntry>, Option<Stray>), Error> {
        let mut known = Known::default();
        let unseen = |why| Some(Stray { path: layout::V2.into(), kind: StrayKind::Unseen(why) });
        let all = match bucket.multiparts(&format!("{}/", layout::V2))? {
            Ok(all) => all,
            Err(why) => {
                known.unseen = Some(why);
                *self.known() = known;
                return Ok((Vec::new(), unseen(why)));
            }
        };
        // Whether the parts are told is another right, and another request.
        let first = all.iter().filter(|multipart| upload(multipart).is_some()).min();
        if let Some(Err(why)) = first.map(|multipart| bucket.sent(multipart)).transpose()? {
            known.unseen = Some(why);
            *self.known() = known;
            return Ok((Vec::new(), unseen(why)));
        }
        known.listed.extend(repositories.iter().map(|repository| (repository.name.clone(), Vec::new())));
        let (mut others, mut more) = (Vec::new(), Vec::new());
        for multipart in all {
            let Some((name, _)) = upload(&multipart) else {
                others.push(multipart);
                continue;
            };
            let of_repository = known.listed.entry(name.clone()).or_insert_with(|| {
                more.push(RepositoryEntry { name, foreign: None });
                Vec::new()
            });
            of_repository.push(multipart);
        }
        *self.known() = known;
        let count = others.len() as u64;
        let first = others.into_iter().min();
        Ok((more, first.map(|first| Stray { path: first.key, kind: StrayKind::Multiparts(count) })))
    }

    /// Those of one repository, by upload.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub(super) fn of_repository(
        &self,
        bucket: &dyn Requests,
        name: &RepositoryName,
    ) -> Result<BTreeMap<OsString, Vec<Multipart>>, Error> {
        let listed = {
            let mut known = self.known();
            if known.unseen.is_some() {
                return Ok(BTreeMap::new());
            }
            known.listed.remove(name)
        };
        let prefix = format!("{}/", layout::uploads_directory(name).display());
        let listed = match listed {
            Some(listed) => listed,
            None => self.asked(bucket, &prefix)?,
        };
        let mut by_upload: BTreeMap<OsString, Vec<Multipart>> = BTreeMap::new();
        for multipart in listed {
            if let Some((_, id)) = upload(&multipart).filter(|(of, _)| of == name) {
                by_upload.entry(id.into()).or_default().push(multipart);
            }
        }
        Ok(by_upload)
    }

    /// Those of one key. Some servers list them by the whole key alone.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub(super) fn of_key(&self, bucket: &dyn Requests, key: &Path) -> Result<Vec<Multipart>, Error> {
        if self.known().unseen.is_some() {
            return Ok(Vec::new());
        }
        let mut listed = self.asked(bucket, &key.to_string_lossy())?;
        listed.retain(|multipart| multipart.key.as_os_str() == key.as_os_str());
        Ok(listed)
    }

    /// Asks a server that has told of them before.
    fn asked(&self, bucket: &dyn Requests, prefix: &str) -> Result<Vec<Multipart>, Error> {
        bucket.multiparts(prefix)?.map_err(|_| no_answer(bucket, Path::new(prefix)))
    }

    /// What was sent of each, but for those that have ended meanwhile.
    ///
    /// # Errors
    ///
    /// When the server does not say.
    pub(super) fn sent(&self, bucket: &dyn Requests, all: Vec<Multipart>) -> Result<Vec<(Multipart, Sent)>, Error> {
        let sent = |multipart: Multipart| match bucket.sent(&multipart)? {
            Ok(sent) => Ok(sent.map(|sent| (multipart, sent))),
            Err(_) => Err(no_answer(bucket, &multipart.key)),
        };
        let all: Result<Vec<_>, Error> = all.into_par_iter().map(sent).collect();
        Ok(all?.into_iter().flatten().collect())
    }
}

/// The `data` of each upload of a repository that has multipart uploads. `begun` are the uploads that have keys, each with its `data` if
/// that is one.
///
/// # Errors
///
/// When the server does not say.
pub(super) fn data_of(
    multiparts: &Multiparts,
    bucket: &dyn Requests,
    name: &RepositoryName,
    begun: &BTreeMap<OsString, Option<Listed>>,
) -> Result<BTreeMap<OsString, Stat>, Error> {
    let mut listed = multiparts.of_repository(bucket, name)?;
    let alone = begun.iter().filter(|(id, data)| data.is_none() && !listed.contains_key(*id)).map(|(id, _)| id);
    let alone: Vec<&OsString> = alone.filter(|id| layout::upload_id(id).is_some()).collect();
    let asked: Vec<(OsString, Vec<Multipart>)> = alone
        .into_par_iter()
        .map(|id| {
            let key = layout::uploads_directory(name).join(id).join("data");
            Ok((id.clone(), multiparts.of_key(bucket, &key)?))
        })
        .collect::<Result<_, Error>>()?;
    listed.extend(asked);
    let stat = |(id, of_upload): (OsString, Vec<Multipart>)| {
        let sent = multiparts.sent(bucket, of_upload)?;
        let stat = together(begun.get(&id).and_then(Option::as_ref), &sent).filter(|_| !sent.is_empty());
        Ok(stat.map(|stat| (id, stat)))
    };
    let all: Result<Vec<_>, Error> = listed.into_par_iter().map(stat).collect();
    Ok(all?.into_iter().flatten().collect())
}
