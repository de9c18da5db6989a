//! One repository, as its listing told it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use md5::{Digest as _, Md5};
use rayon::prelude::*;

use super::keys::Keys;
use super::multiparts::{Multiparts, data_of};
use super::requests::{Listed, Requests, listed};
use crate::error::Error;
use crate::layout::{self, LinkDirectory};
use crate::oci::{Algorithm, Digest, RepositoryName, TagName};
use crate::store::values::{START_BUFFER_BYTES, started};
use crate::store::{FileState, Leftover, LinkContent, Listing, Repository, Stat, Stray, TagContent, Upload, UploadContents};

/// No link is longer: the name of the longest algorithm, and its hexadecimal digits, with a line end.
const MAX_LINK_BYTES: u64 = 1024;
/// From so many links on, they are read by several threads.
const MANY_LINKS: usize = 8;

/// The ETag that a content has if it was put in one go, with no key but the server's own.
pub(in crate::store) fn etag_of(content: &[u8]) -> String {
    Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A repository that was listed when it was opened.
pub(super) struct ObjectRepository<'s> {
    bucket: &'s dyn Requests,
    name: RepositoryName,
    keys: Keys,
    /// What a link says, by the ETag that it has then: those that tags may well name.
    named: HashMap<String, Digest>,
    multiparts: &'s Multiparts,
    /// The `data` of uploads that have multipart uploads, once that was asked.
    sent: Mutex<Option<Arc<BTreeMap<OsString, Stat>>>>,
}

/// What a link of that digest has in it if nothing is wrong.
fn implied(digest: &Digest) -> String {
    digest.to_string()
}

impl<'s> ObjectRepository<'s> {
    /// One listing: what belongs to a repository begins with an underscore, and what is nested in it cannot.
    pub(super) fn open(
        bucket: &'s dyn Requests,
        multiparts: &'s Multiparts,
        name: &RepositoryName,
    ) -> Result<ObjectRepository<'s>, Error> {
        let prefix = format!("{}/_", layout::repository_directory(name).display());
        let keys = Keys::new(listed(bucket, &prefix)?);
        let revisions = keys.list_digests(&LinkDirectory::Revisions(name.clone()).path()).entries;
        let named = revisions.into_iter().map(|digest| (etag_of(implied(&digest).as_bytes()), digest)).collect();
        Ok(ObjectRepository { bucket, name: name.clone(), keys, named, multiparts, sent: Mutex::default() })
    }

    /// The `data` of uploads that have multipart uploads. Asked once, and not before somebody wants to know of uploads.
    fn sent(&self) -> Result<Arc<BTreeMap<OsString, Stat>>, Error> {
        let sent = || self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sent) = &*sent() {
            return Ok(Arc::clone(sent));
        }
        let directory = layout::uploads_directory(&self.name);
        let begun = self.keys.list(&directory, |name| Some(name.to_owned())).entries;
        let data = |id: OsString| {
            let data = self.keys.get(&directory.join(&id).join("data")).cloned();
            (id, data)
        };
        let begun: BTreeMap<OsString, Option<Listed>> = begun.into_iter().map(data).collect();
        let asked = Arc::new(data_of(self.multiparts, self.bucket, &self.name, &begun)?);
        // Nothing is locked while others are asked: who waits for them may do their work meanwhile.
        Ok(Arc::clone(sent().get_or_insert(asked)))
    }

    /// Reads a link. Not needed where its ETag is that of what `expected` says that it has: nothing else has the same.
    fn read(&self, key: &Path, expected: impl FnOnce(&Listed) -> Option<Digest>) -> Result<LinkContent, Error> {
        let Some(listed) = self.keys.get(key) else { return Ok(LinkContent::Absent) };
        if listed.size_bytes == 0 {
            return Ok(LinkContent::Empty);
        }
        if let Some(digest) = expected(listed) {
            return Ok(LinkContent::Digest(digest));
        }
        let Some(object) = self.bucket.get(key, MAX_LINK_BYTES)? else { return Ok(LinkContent::Absent) };
        let content = match Digest::parse(&object.content) {
            Some(digest) => LinkContent::Digest(digest),
            None if object.content.is_empty() => LinkContent::Empty,
            None => LinkContent::Garbled,
        };
        // What is cut short on the way says nothing of the link.
        if !matches!(content, LinkContent::Digest(_)) && object.size_bytes != listed.size_bytes {
            let (read, told) = (object.size_bytes, listed.size_bytes);
            let why = format!("{read} bytes came, and its listing told {told}; run again once nobody writes to the bucket");
            return Err(Error::Io { operation: "read", path: self.bucket.place_of(key), source: io::Error::other(why) });
        }
        Ok(content)
    }

    /// The same for many.
    fn read_many(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<LinkContent>, Error> {
        match digests.len() < MANY_LINKS {
            true => digests.iter().map(|digest| self.read_link(directory, digest)).collect(),
            false => digests.par_iter().map(|digest| self.read_link(directory, digest)).collect(),
        }
    }

    fn read_link(&self, directory: &LinkDirectory, digest: &Digest) -> Result<LinkContent, Error> {
        let is_implied = |listed: &Listed| listed.etag == etag_of(implied(digest).as_bytes());
        self.read(&directory.link(digest), |listed| is_implied(listed).then_some(*digest))
    }
}

impl Repository for ObjectRepository<'_> {
    fn has_directory(&self, marker: &str) -> Result<bool, Error> {
        Ok(self.keys.below(&layout::repository_directory(&self.name).join(marker)).next().is_some())
    }

    fn links(&self, directory: &LinkDirectory) -> Result<Listing<Digest>, Error> {
        Ok(self.keys.list_digests(&directory.path()))
    }

    fn manifest_strays(&self) -> Result<Vec<Stray>, Error> {
        let directory = layout::repository_directory(&self.name).join("_manifests");
        let mut strays = self.keys.list(&directory, |name| (name == "revisions" || name == "tags").then_some(())).strays;
        strays.extend(self.keys.odd());
        Ok(strays)
    }

    fn tags(&self) -> Result<Listing<TagName>, Error> {
        Ok(self.keys.list(&layout::tags_directory(&self.name), |name| Some(TagName::new(name))))
    }

    fn tag(&self, tag: &TagName) -> Result<TagContent, Error> {
        let directory = layout::tag_directory(&self.name, tag);
        let parts = self.keys.list(&directory, |name| (name == "current" || name == "index").then_some(()));
        let mut history = self.keys.list_digests(&directory.join("index"));
        history.strays.extend(parts.strays);
        let current = layout::current_link(&self.name, tag);
        let current = self.read(&current, |listed| self.named.get(&listed.etag).copied())?;
        Ok(TagContent { current, history: history.sorted() })
    }

    fn stat_tag(&self, tag: &TagName) -> Result<FileState, Error> {
        Ok(self.keys.state(&layout::current_link(&self.name, tag)))
    }

    fn tag_changed(&self, _: &TagName) -> Result<Option<SystemTime>, Error> {
        Ok(None)
    }

    /// There are no directories.
    fn stat_list(&self, _: &LinkDirectory, _: Algorithm) -> Result<Option<Stat>, Error> {
        Ok(None)
    }

    fn read_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<LinkContent>, Error> {
        self.read_many(directory, digests)
    }

    fn inspect_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<(LinkContent, FileState)>, Error> {
        let read = self.read_many(directory, digests)?;
        Ok(read.into_iter().zip(digests).map(|(content, digest)| (content, self.keys.state(&directory.link(digest)))).collect())
    }

    fn stat_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<FileState>, Error> {
        Ok(digests.iter().map(|digest| self.keys.state(&directory.link(digest))).collect())
    }

    fn beside_links(&self, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<Leftover>, Error> {
        let of = |digest: &Digest| directory.path().join(layout::digest_path(digest));
        Ok(digests.iter().flat_map(|digest| self.keys.beside(&of(digest), &layout::IN_LINK_DIRECTORY)).collect())
    }

    fn beside_tag(&self, tag: &TagName) -> Result<Vec<Leftover>, Error> {
        Ok(self.keys.beside(&layout::tag_directory(&self.name, tag).join("current"), &layout::IN_LINK_DIRECTORY))
    }

    fn uploads(&self) -> Result<Listing<Upload>, Error> {
        let directory = layout::uploads_directory(&self.name);
        let listed = self.keys.list(&directory, |name| Some(name.to_owned()));
        let sent = self.sent()?;
        let ids: BTreeSet<OsString> = listed.entries.into_iter().chain(sent.keys().cloned()).collect();
        let upload = |id: OsString| -> Result<Upload, Error> {
            let directory = directory.join(&id);
            let start = directory.join("startedat");
            let started_file = self.keys.state(&start);
            let text = match started_file {
                FileState::File(_) => self.bucket.get(&start, START_BUFFER_BYTES as u64)?.map(|object| object.content),
                FileState::Absent | FileState::Irregular => None,
            };
            // Nobody wrote to the directory: there is none.
            let keys = self.keys.below(&directory).map(|listed| listed.modified);
            let modified = keys.chain(sent.get(&id).map(|stat| stat.modified)).max();
            Ok(Upload {
                modified: modified.unwrap_or(SystemTime::UNIX_EPOCH),
                started_file,
                started: text.and_then(|text| started(&text)),
                data: sent.get(&id).map_or_else(|| self.keys.state(&directory.join("data")), |stat| FileState::File(*stat)),
                id,
            })
        };
        Ok(Listing { entries: ids.into_iter().map(upload).collect::<Result<_, _>>()?, strays: listed.strays })
    }

    /// There are no directories: what is in one says when it was written to.
    fn upload_contents(&self, id: &OsStr) -> Result<Option<UploadContents>, Error> {
        let directory = layout::uploads_directory(&self.name).join(id);
        let (sent, data) = (self.sent()?.get(id).copied(), directory.join("data"));
        let keys = self.keys.below(&directory).filter(|listed| sent.is_none() || listed.key != data);
        let files: Vec<(&Path, Stat)> =
            keys.map(|listed| (listed.key.as_path(), listed.stat())).chain(sent.map(|stat| (data.as_path(), stat))).collect();
        let Some(modified) = files.iter().map(|(_, stat)| stat.modified).max() else { return Ok(None) };
        let mut contents = UploadContents::of(Stat::new(0, modified));
        for (path, stat) in files {
            contents.add(path, &directory, FileState::File(stat));
        }
        Ok(Some(contents.sorted()))
    }

    fn beside_upload(&self, id: &OsStr) -> Result<Vec<Leftover>, Error> {
        Ok(self.keys.beside(&layout::uploads_directory(&self.name).join(id), &layout::IN_UPLOAD_DIRECTORY))
    }
}
