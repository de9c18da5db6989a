//! All that a redis claims, whatever it is.

use std::sync::atomic::AtomicBool;

use super::forget::{BATCH, Failure, RedisCache, Work, hash_digest, of_another_type};
use super::keys::{self, OfRepository};
use crate::error::Error;
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName};

impl RedisCache {
    /// Calls `each` with all blobs and layer links that the cache claims, some at a time; what was called with may come again. Names of
    /// repositories that the registry would not accept are left out: it never asks for them.
    ///
    /// # Errors
    ///
    /// When it cannot be asked, `stop` becomes true, or `each` fails.
    pub fn each_claim(&self, each: &mut dyn FnMut(Vec<Target>) -> Result<(), Error>, stop: &AtomicBool) -> Result<(), Error> {
        self.with(|connection| {
            let mut work = Work { connection, stop };
            work.each_blob(each)?;
            work.each_member(each)
        })
    }
}

impl Work<'_> {
    fn each_blob(&mut self, each: &mut dyn FnMut(Vec<Target>) -> Result<(), Error>) -> Result<(), Failure> {
        let mut cursor = 0;
        loop {
            let (next, page) = self.scan(cursor, keys::OF_BLOBS)?;
            for batch in page.chunks(BATCH) {
                // A digest of another algorithm stands for the blob that its hash names.
                let named = self.texts(batch.iter().map(|key| hash_digest(key)))?;
                let blobs = named.into_iter().flatten().filter_map(|text| Digest::parse(&text)).map(Target::Blob).collect();
                each(blobs)?;
            }
            match next {
                0 => return Ok(()),
                next => cursor = next,
            }
        }
    }

    fn each_member(&mut self, each: &mut dyn FnMut(Vec<Target>) -> Result<(), Error>) -> Result<(), Failure> {
        let mut cursor = 0;
        loop {
            let (next, page) = self.scan(cursor, keys::OF_REPOSITORIES)?;
            for set in page.iter().filter(|key| matches!(keys::of_repository(key), Some(OfRepository::Members))) {
                let Some(repository) = keys::repository(set).filter(RepositoryName::is_valid) else { continue };
                self.each_member_of(set, &repository, each)?;
            }
            match next {
                0 => return Ok(()),
                next => cursor = next,
            }
        }
    }

    fn each_member_of(
        &mut self,
        set: &[u8],
        repository: &RepositoryName,
        each: &mut dyn FnMut(Vec<Target>) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let mut cursor = 0;
        loop {
            self.goes_on()?;
            let (next, members) = of_another_type(self.scan_set(set, cursor), (0, Vec::new()))?;
            let digests = members.iter().filter_map(|member| Digest::parse(member));
            each(digests.map(|digest| Target::Link(LinkDirectory::Layers(repository.clone()), digest)).collect())?;
            match next {
                0 => return Ok(()),
                next => cursor = next,
            }
        }
    }
}
