//! The blobs of a partition while it is listed and sorted.

use std::collections::BTreeMap;

use super::states::{STATE_BYTES, pack};
use super::table::head;
use crate::layout::Shard;
use crate::oci::{Algorithm, Digest};
use crate::store::FileState;

/// The blobs of a partition, in listing order.
#[derive(Default)]
pub(super) struct Listed {
    shards: BTreeMap<Shard, ListedShard>,
    /// The shard of the last blob: listings usually continue in the same shard.
    last: Option<(Shard, ListedShard)>,
}

#[derive(Default)]
struct ListedShard {
    /// Digests without their first byte.
    rests: Vec<u8>,
    /// The listed state of each blob; empty if the listing reported none.
    states: Vec<u8>,
}

impl Listed {
    /// Adds a blob, with the state of its file if the listing reported it.
    pub(super) fn add(&mut self, digest: &Digest, state: Option<&FileState>) {
        let shard = Shard::of(digest);
        match &mut self.last {
            Some((last, listed)) if *last == shard => listed.add(digest, state),
            _ => {
                self.flush();
                let mut listed = self.shards.remove(&shard).unwrap_or_default();
                listed.add(digest, state);
                self.last = Some((shard, listed));
            }
        }
    }

    fn flush(&mut self) {
        self.shards.extend(self.last.take());
    }

    /// The shards in order, with the sorted digests of each without their first byte, and their states in the same
    /// order.
    pub(super) fn into_sorted(mut self) -> impl Iterator<Item = (Shard, Vec<u8>, Option<Vec<u8>>)> {
        self.flush();
        self.shards.into_iter().map(|(shard, listed)| {
            let (rests, states) = listed.into_sorted(shard.algorithm);
            (shard, rests, states)
        })
    }
}

impl ListedShard {
    fn add(&mut self, digest: &Digest, state: Option<&FileState>) {
        let rest = &digest.bytes()[1..];
        if state.is_some() || !self.states.is_empty() {
            // Earlier blobs have no listed state.
            for _ in self.states.len() / STATE_BYTES..self.rests.len() / rest.len() {
                self.states.extend_from_slice(&pack(None));
            }
            self.states.extend_from_slice(&pack(state));
        }
        self.rests.extend_from_slice(rest);
    }

    fn into_sorted(mut self, algorithm: Algorithm) -> (Vec<u8>, Option<Vec<u8>>) {
        if self.states.is_empty() {
            sort(&mut self.rests, algorithm);
            return (self.rests, None);
        }
        let width = algorithm.len_bytes() - 1;
        let rest = |place: u32| &self.rests[width * place as usize..][..width];
        let state = |place: u32| &self.states[STATE_BYTES * place as usize..][..STATE_BYTES];
        let mut order: Vec<u32> = (0..(self.rests.len() / width) as u32).collect();
        order.sort_unstable_by(|a, b| rest(*a).cmp(rest(*b)));
        let mut sorted = (Vec::with_capacity(self.rests.len()), Vec::with_capacity(self.states.len()));
        for place in order {
            sorted.0.extend_from_slice(rest(place));
            sorted.1.extend_from_slice(state(place));
        }
        (sorted.0, Some(sorted.1))
    }
}

/// Sorts digests without their first byte.
fn sort(rests: &mut [u8], algorithm: Algorithm) {
    fn chunks<const WIDTH: usize>(rests: &mut [u8]) {
        let (rests, _) = rests.as_chunks_mut::<WIDTH>();
        rests.sort_unstable_by(|a, b| head(a).cmp(&head(b)).then_with(|| a.cmp(b)));
    }
    match algorithm {
        Algorithm::Sha256 => chunks::<31>(rests),
        Algorithm::Sha384 => chunks::<47>(rests),
        Algorithm::Sha512 => chunks::<63>(rests),
    }
}
