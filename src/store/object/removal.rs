//! Removing keys: each is looked at once more, and those that are as planned go in one request.
//!
//! Nothing rests on the answer but what it lists as removed. Of every other key nothing is known then: it is looked at again
//! before it is removed, or given up. No request is sent after the end of the lease.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rayon::prelude::*;

use super::multiparts::together;
use super::repository::etag_of;
use super::requests::{KEYS_AT_ONCE, Listed, Multipart, Refusal, Requests, Sent, listed};
use super::store::ObjectStore;
use crate::error::Error;
use crate::layout::{Target, UploadPart};
use crate::oci::{Digest, RepositoryName};
use crate::store::{KeepsNow, Planned, Removal, Vacuum};

/// From so many keys of one directory on, the directory is listed; others are looked at one by one.
const MANY_OF_A_DIRECTORY: usize = 8;
/// How often keys are requested again of which nothing is known, each time half as many at once.
const RETRIES: u32 = 5;
/// No link is longer.
const MAX_LINK_BYTES: u64 = 1024;

/// The directory that is listed to look at a target: a shard of blobs, the links of one kind in a repository, the history of a
/// tag, an upload. Tags are looked at one by one.
fn directory(target: &Target) -> Option<PathBuf> {
    let levels = match target {
        Target::Blob(_) => 2,
        Target::Link(..) => 3,
        Target::Upload(_) => 1,
        _ => return None,
    };
    target.path().ancestors().nth(levels).map(Path::to_owned)
}

/// What there is of a target.
#[derive(Default)]
struct There {
    key: Option<Listed>,
    /// What of it was sent and is under no key yet.
    sent: Vec<(Multipart, Sent)>,
}

/// Why a multipart upload has not ended.
enum Unended {
    Refused(Refusal),
    LeaseEnded(Error),
}

impl There {
    fn size_and_time(&self) -> Option<(u64, SystemTime)> {
        together(self.key.as_ref(), &self.sent).map(|stat| (stat.size_bytes, stat.modified))
    }
}

impl<R: Requests> ObjectStore<R> {
    /// What there is of targets now.
    fn look(&self, targets: &[&Target]) -> Vec<Result<There, Error>> {
        let keys = self.look_at_keys(targets);
        let there =
            |(target, key): (&&Target, Result<Option<Listed>, Error>)| Ok(There { key: key?, sent: self.look_at_sent(target)? });
        targets.par_iter().zip(keys).map(there).collect()
    }

    /// What was sent of an upload and is under no key yet.
    fn look_at_sent(&self, target: &Target) -> Result<Vec<(Multipart, Sent)>, Error> {
        match target {
            Target::Upload(file) if file.part == UploadPart::Data => {
                self.multiparts.sent(&*self.bucket, self.multiparts.of_key(&*self.bucket, &file.path())?)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// What lies under the keys of targets now.
    fn look_at_keys(&self, targets: &[&Target]) -> Vec<Result<Option<Listed>, Error>> {
        let mut together: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        let mut single: Vec<usize> = Vec::new();
        for (index, target) in targets.iter().enumerate() {
            match directory(target) {
                Some(directory) => together.entry(directory).or_default().push(index),
                None => single.push(index),
            }
        }
        let (many, few): (Vec<_>, Vec<_>) = together.into_iter().partition(|(_, indices)| indices.len() >= MANY_OF_A_DIRECTORY);
        single.extend(few.into_iter().flat_map(|(_, indices)| indices));
        let mut found: Vec<Option<Result<Option<Listed>, Error>>> = targets.iter().map(|_| None).collect();
        let looked: Vec<_> = single.par_iter().map(|index| (*index, self.look_at(&targets[*index].path()))).collect();
        let in_directories: Vec<_> = many
            .par_iter()
            .map(|(directory, indices)| self.look_into(directory, indices.iter().map(|index| (*index, targets[*index].path()))))
            .collect();
        for (index, state) in looked.into_iter().chain(in_directories.into_iter().flatten()) {
            found[index] = Some(state);
        }
        found.into_iter().map(|state| state.expect("each is looked at")).collect()
    }

    /// Anybody may answer that there is no such key; a listing is known for one.
    fn look_at(&self, key: &Path) -> Result<Option<Listed>, Error> {
        if let Some(there) = self.bucket.head(key)? {
            return Ok(Some(there));
        }
        let all = listed(&*self.bucket, &key.to_string_lossy())?;
        Ok(all.into_iter().find(|listed| listed.key.as_os_str() == key.as_os_str()))
    }

    fn look_into(
        &self,
        directory: &Path,
        keys: impl Iterator<Item = (usize, PathBuf)>,
    ) -> Vec<(usize, Result<Option<Listed>, Error>)> {
        match listed(&*self.bucket, &format!("{}/", directory.display())) {
            Ok(all) => {
                let mut all: BTreeMap<_, Listed> =
                    all.into_iter().map(|listed| (listed.key.as_os_str().to_owned(), listed)).collect();
                keys.map(|(index, key)| (index, Ok(all.remove(key.as_os_str())))).collect()
            }
            Err(error) => {
                let place = self.bucket.place_of(directory);
                let why = match error {
                    Error::Io { source, .. } => source.to_string(),
                    other => other.to_string(),
                };
                let failed = || Error::Io { operation: "list", path: place.clone(), source: io::Error::other(why.clone()) };
                keys.map(|(index, _)| (index, Err(failed()))).collect()
            }
        }
    }

    /// Whether a target is as planned; if it is not, the answer.
    fn judge(&self, planned: &Planned<'_>, there: &There) -> Result<Option<Removal>, Error> {
        let Some((size_bytes, modified)) = there.size_and_time() else { return Ok(Some(Removal::AlreadyGone)) };
        if size_bytes != planned.stat.size_bytes {
            return Ok(Some(Removal::Changed("its size has changed")));
        }
        if modified != planned.stat.modified {
            return Ok(Some(Removal::Changed("it was written to in the meantime")));
        }
        match (planned.target, &there.key) {
            // Times have seconds, and a tag may have been moved within one.
            (Target::Tag(_, _, digest), Some(there)) if there.etag != etag_of(digest.to_string().as_bytes()) => {
                let read = self.bucket.get(&there.key, MAX_LINK_BYTES)?;
                let names = read.and_then(|object| Digest::parse(&object.content));
                Ok((names != Some(*digest)).then_some(Removal::Changed("it names another manifest now")))
            }
            _ => Ok(None),
        }
    }

    fn remove_files(&self, batch: &[Planned<'_>]) -> Vec<Result<Removal, Error>> {
        let mut answers: Vec<Option<Result<Removal, Error>>> = batch.iter().map(|_| None).collect();
        // Of these a request was sent, and this is why nothing is known of it.
        let mut unknown: Vec<Option<io::Error>> = batch.iter().map(|_| None).collect();
        for tries in 0..=RETRIES {
            let open: Vec<usize> = (0..batch.len()).filter(|index| answers[*index].is_none()).collect();
            if open.is_empty() {
                break;
            }
            if tries > 0 {
                self.bucket.pause(tries);
            }
            let targets: Vec<&Target> = open.iter().map(|index| batch[*index].target).collect();
            let looked = self.look(&targets);
            let (mut going, mut sent) = (Vec::new(), Vec::new());
            for (index, looked) in open.into_iter().zip(looked) {
                let judged = looked.and_then(|there| Ok((self.judge(&batch[index], &there)?, there)));
                match judged.map(|(judged, there)| (judged, there.sent, there.key)).map_err(as_broken) {
                    Ok((None, of_it, key)) if !of_it.is_empty() => sent.push((index, of_it, key.is_some())),
                    Ok((None, ..)) => going.push(index),
                    Ok((Some(Removal::AlreadyGone), ..)) if unknown[index].is_some() => {
                        answers[index] = Some(Ok(Removal::Removed))
                    }
                    Ok((Some(removal), ..)) => answers[index] = Some(Ok(removal)),
                    Err(error) => answers[index] = Some(Err(error)),
                }
            }
            let aborted: Vec<_> =
                sent.into_par_iter().map(|(index, of_it, has_key)| (index, has_key, self.abort(&of_it))).collect();
            for (index, has_key, aborted) in aborted {
                match aborted {
                    Ok(()) if has_key => going.push(index),
                    Ok(()) => answers[index] = Some(Ok(Removal::Removed)),
                    Err(Unended::Refused(Refusal { source, passes: true })) => unknown[index] = Some(source),
                    Err(Unended::Refused(Refusal { source, .. })) => {
                        let path = self.bucket.place_of(&batch[index].target.path());
                        answers[index] = Some(Err(Error::Io { operation: "remove", path, source }));
                    }
                    Err(Unended::LeaseEnded(error)) => answers[index] = Some(Err(error)),
                }
            }
            for some in going.chunks(KEYS_AT_ONCE >> tries) {
                self.delete(batch, some, &mut answers, &mut unknown);
            }
        }
        let given_up = |(index, answer): (usize, Option<Result<Removal, Error>>)| {
            answer.unwrap_or_else(|| {
                let why = unknown[index].take().unwrap_or_else(|| io::Error::other("the server does not answer"));
                Err(broken("remove", &self.bucket.place_of(&batch[index].target.path()), why))
            })
        };
        answers.into_iter().enumerate().map(given_up).collect()
    }

    /// Ends multipart uploads. What was sent of them goes.
    fn abort(&self, sent: &[(Multipart, Sent)]) -> Result<(), Unended> {
        for (multipart, _) in sent {
            self.lease.ensure_holds("remove", &self.bucket.place_of(&multipart.key)).map_err(Unended::LeaseEnded)?;
            self.bucket.abort(multipart).map_err(Unended::Refused)?;
        }
        Ok(())
    }

    /// Sends one request. What is neither removed nor refused for good stays unanswered.
    fn delete(
        &self,
        batch: &[Planned<'_>],
        some: &[usize],
        answers: &mut [Option<Result<Removal, Error>>],
        unknown: &mut [Option<io::Error>],
    ) {
        let keys: Vec<PathBuf> = some.iter().map(|index| batch[*index].target.path()).collect();
        let place = |key: &Path| self.bucket.place_of(key);
        if self.lease.ensure_holds("remove", &place(&keys[0])).is_err() {
            for (index, key) in some.iter().zip(&keys) {
                answers[*index] = self.lease.ensure_holds("remove", &place(key)).err().map(Err);
            }
            return;
        }
        match self.bucket.delete(&keys, &|| self.lease.holds()) {
            Ok(told) => {
                // A right that is missing is missing for every key.
                let are_all_refused = told.iter().all(|told| told.as_ref().is_err_and(|refusal| !refusal.passes));
                for ((index, key), told) in some.iter().zip(&keys).zip(told) {
                    match told {
                        Ok(()) => answers[*index] = Some(Ok(Removal::Removed)),
                        Err(Refusal { source, passes: true }) => unknown[*index] = Some(source),
                        Err(Refusal { source, .. }) if are_all_refused => {
                            answers[*index] = Some(Err(broken("remove", &place(key), source)));
                        }
                        Err(Refusal { source, .. }) => {
                            answers[*index] = Some(Err(Error::Io { operation: "remove", path: place(key), source }));
                        }
                    }
                }
            }
            Err(Refusal { source, passes }) => {
                let why = source.to_string();
                for (index, key) in some.iter().zip(&keys) {
                    match passes {
                        true => unknown[*index] = Some(io::Error::other(why.clone())),
                        false => answers[*index] = Some(Err(broken("remove", &place(key), io::Error::other(why.clone())))),
                    }
                }
            }
        }
    }
}

/// A failure of the server that would repeat for every other key.
fn broken(operation: &'static str, place: &Path, source: io::Error) -> Error {
    let source = io::Error::new(io::ErrorKind::StaleNetworkFileHandle, source);
    Error::Io { operation, path: place.to_owned(), source }
}

fn as_broken(error: Error) -> Error {
    match error {
        Error::Io { operation, path, source } => broken(operation, &path, source),
        other => other,
    }
}

impl<R: Requests> Vacuum for ObjectStore<R> {
    fn batch(&self) -> usize {
        KEYS_AT_ONCE
    }

    fn remove(&self, batch: &[Planned<'_>]) -> Vec<Result<Removal, Error>> {
        let files: Vec<Planned<'_>> = batch.iter().filter(|planned| !planned.target.is_directory()).copied().collect();
        let mut removed = self.remove_files(&files).into_iter();
        // A directory went with its last key.
        let answer = |planned: &Planned<'_>| match planned.target.is_directory() {
            true => Ok(Removal::AlreadyGone),
            false => removed.next().expect("an answer for each"),
        };
        batch.iter().map(answer).collect()
    }

    fn takes_room(&self) -> bool {
        false
    }

    fn keeps_now(&self, _: &RepositoryName, is_changed: bool) -> Result<KeepsNow, Error> {
        Ok(KeepsNow::without_undo(is_changed))
    }

    /// What the server has answered is done.
    fn barrier(&self) -> Result<(), Error> {
        Ok(())
    }
}
