//! What a redis claims and a store does not have, removed as it is found.
//!
//! Nothing is kept from one page of a scan to the next, so the memory that this takes does not grow with the redis: it is that of one page,
//! about a thousand names.

use std::sync::atomic::AtomicBool;

use super::forget::{BATCH, Failure, Forgotten, RedisCache, Work, command, hash_digest};
use super::keys::{self, OfRepository};
use crate::error::Error;
use crate::layout::{LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName};

/// Says of each of some blobs or layer links, in their order, whether the store does not have it.
pub type AreGone<'a> = dyn FnMut(&[Target]) -> Result<Vec<bool>, Error> + 'a;

impl RedisCache {
    /// Removes all keys that speak of blobs and layer links that are gone. Other keys are left alone. What was removed is added to
    /// `forgotten`, also when that ends early.
    ///
    /// # Errors
    ///
    /// When it cannot be asked, `stop` becomes true, or `are_gone` fails.
    pub fn forget_gone(&self, are_gone: &mut AreGone<'_>, forgotten: &mut Forgotten, stop: &AtomicBool) -> Result<(), Error> {
        self.with(|connection| {
            let mut work = Work { connection, stop };
            // First what claims them: while it is there, a request sets the rest again.
            work.forget_gone_blobs(are_gone, forgotten)?;
            work.forget_gone_in_repositories(are_gone, forgotten)
        })
    }
}

impl Work<'_> {
    fn forget_gone_blobs(&mut self, are_gone: &mut AreGone<'_>, forgotten: &mut Forgotten) -> Result<(), Failure> {
        self.each_page(keys::OF_BLOBS, &mut |work, page| {
            for batch in page.chunks(BATCH) {
                // A digest of another algorithm stands for the blob that its hash names.
                let named = work.texts(batch.iter().map(|key| hash_digest(key)))?;
                let named = batch.iter().zip(named).filter_map(|(key, text)| Some((key, Digest::parse(&text?)?)));
                let (keys, digests): (Vec<&Vec<u8>>, Vec<Digest>) = named.unzip();
                let blobs: Vec<Target> = digests.iter().copied().map(Target::Blob).collect();
                let gone = are_gone(&blobs)?;
                let of_gone = keys.into_iter().zip(&digests).zip(gone).filter(|(_, is_gone)| *is_gone);
                // The key that was found may be that of another name. Keys of others name a digest, too, and are not ours.
                let claims = of_gone.flat_map(|((key, digest), _)| {
                    let own = keys::of_blob(digest);
                    let alias = (*key != own && keys::alias(key).is_some()).then(|| key.clone());
                    [Some(own), alias].into_iter().flatten()
                });
                forgotten.keys += work.delete(&claims.collect::<Vec<_>>())?;
            }
            Ok(())
        })
    }

    fn forget_gone_in_repositories(&mut self, are_gone: &mut AreGone<'_>, forgotten: &mut Forgotten) -> Result<(), Failure> {
        self.each_page(keys::OF_REPOSITORIES, &mut |work, page| {
            let (mut scoped, mut digests) = (Vec::new(), Vec::new());
            for key in page {
                match keys::of_repository(&key) {
                    Some(OfRepository::Scoped(digest)) => {
                        scoped.push(key);
                        digests.push(digest);
                    }
                    Some(OfRepository::Members) => work.forget_gone_members(&key, are_gone, forgotten)?,
                    None => {}
                }
            }
            let gone = work.are_gone(&digests, are_gone)?;
            let scoped: Vec<Vec<u8>> = scoped.into_iter().zip(gone).filter(|(_, is_gone)| *is_gone).map(|(key, _)| key).collect();
            forgotten.keys += work.delete(&scoped)?;
            Ok(())
        })
    }

    /// Removes, from what a repository says, blobs that are gone and blobs that it has no link to.
    fn forget_gone_members(&mut self, set: &[u8], are_gone: &mut AreGone<'_>, forgotten: &mut Forgotten) -> Result<(), Failure> {
        // Of a repository that the registry would not accept no link is looked for.
        let repository = keys::repository(set).filter(RepositoryName::is_valid);
        self.each_page_of(set, &mut |work, members| {
            let digests: Vec<Digest> = members.iter().filter_map(|member| Digest::parse(member)).collect();
            let mut gone = work.are_gone(&digests, are_gone)?;
            if let Some(repository) = &repository {
                let link = |digest: &Digest| Target::Link(LinkDirectory::Layers(repository.clone()), *digest);
                let unlinked = are_gone(&digests.iter().map(link).collect::<Vec<_>>())?;
                gone.iter_mut().zip(unlinked).for_each(|(is_gone, is_unlinked)| *is_gone |= is_unlinked);
            }
            let going = digests.into_iter().zip(gone).filter(|(_, is_gone)| *is_gone).map(|(digest, _)| digest);
            for batch in going.collect::<Vec<_>>().chunks(BATCH) {
                let mut remove = command("SREM", set);
                for digest in batch {
                    remove.arg(digest.to_string());
                }
                forgotten.members += work.number(remove)?;
                if let Some(repository) = &repository {
                    let scoped: Vec<Vec<u8>> = batch.iter().map(|digest| keys::scoped(repository, digest)).collect();
                    forgotten.keys += work.delete(&scoped)?;
                }
            }
            Ok(())
        })
    }

    /// Whether blobs are gone. One whose own key is there is not: that was asked about before. The store is asked of the others alone.
    fn are_gone(&mut self, digests: &[Digest], are_gone: &mut AreGone<'_>) -> Result<Vec<bool>, Failure> {
        let mut all = Vec::with_capacity(digests.len());
        for batch in digests.chunks(BATCH) {
            let claims = self.numbers(batch.iter().map(|digest| command("EXISTS", &keys::of_blob(digest))))?;
            let unclaimed = batch.iter().zip(&claims).filter(|(_, claims)| **claims == 0);
            let mut answers = are_gone(&unclaimed.map(|(digest, _)| Target::Blob(*digest)).collect::<Vec<_>>())?.into_iter();
            all.extend(claims.iter().map(|claims| *claims == 0 && answers.next().unwrap_or(false)));
        }
        Ok(all)
    }
}
