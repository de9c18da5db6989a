//! All that a redis claims, whatever it is.

use std::sync::atomic::AtomicBool;

use super::forget::{BATCH, Failure, RedisCache, Work, hash_digest};
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
        self.each_page(keys::OF_BLOBS, &mut |work, page| {
            for batch in page.chunks(BATCH) {
                // A digest of another algorithm stands for the blob that its hash names.
                let named = work.texts(batch.iter().map(|key| hash_digest(key)))?;
                let blobs = named.into_iter().flatten().filter_map(|text| Digest::parse(&text)).map(Target::Blob).collect();
                each(blobs)?;
            }
            Ok(())
        })
    }

    fn each_member(&mut self, each: &mut dyn FnMut(Vec<Target>) -> Result<(), Error>) -> Result<(), Failure> {
        self.each_page(keys::OF_REPOSITORIES, &mut |work, page| {
            for set in page.iter().filter(|key| matches!(keys::of_repository(key), Some(OfRepository::Members))) {
                let Some(repository) = keys::repository(set).filter(RepositoryName::is_valid) else { continue };
                work.each_member_of(set, &repository, each)?;
            }
            Ok(())
        })
    }

    fn each_member_of(
        &mut self,
        set: &[u8],
        repository: &RepositoryName,
        each: &mut dyn FnMut(Vec<Target>) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        self.each_page_of(set, &mut |_, members| {
            let digests = members.iter().filter_map(|member| Digest::parse(member));
            each(digests.map(|digest| Target::Link(LinkDirectory::Layers(repository.clone()), digest)).collect())?;
            Ok(())
        })
    }
}
