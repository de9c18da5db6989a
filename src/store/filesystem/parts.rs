//! Mounted parts of a store, which may be missing in the next run.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rustix::fs::CWD;

use super::directory::open_directory;
use super::held::{self, HeldMounts};
use super::mounts::{self, Mounted, is_of_the_store};
use super::store::FilesystemStore;
use crate::escape::escaped;
use crate::layout;
use crate::store::{Part, Parts};

impl Parts for FilesystemStore {
    /// Where other filesystems are mounted in the store, or where symbolic links in it lead to: below the root relative to it, elsewhere as
    /// they are.
    fn present(&self, links: &mut dyn Iterator<Item = &Path>) -> Vec<Part> {
        let bases = || self.repositories.iter().chain(&self.blobs);
        let below =
            bases().flat_map(|base| base.mounts.iter().filter(|mount| is_of_the_store(mount)).map(|mount| base.path.join(mount)));
        // The whole tree may be a mount, and so may each directory on the way down to `repositories` and `blobs`.
        let on_the_way =
            ["docker", "docker/registry", layout::V2, layout::REPOSITORIES, layout::BLOBS].map(|place| self.at(place));
        let table = mounts::of_process("self");
        let points = || table.iter().map(Mounted::at);
        let ours = points().filter(|point| on_the_way.iter().any(|place| place == point)).map(Path::to_owned);
        let mut all: Vec<PathBuf> = below.chain(ours).collect();
        // A missing mount of the root means a missing root.
        let own = mounts::point_of(&table, self.root().path());
        let links = links.filter(|link| is_of_the_store(link)).map(|link| self.at(link));
        let (targets, led_to): (BTreeSet<PathBuf>, Vec<Vec<PathBuf>>) = links.map(|link| mounts::followed(&table, &link)).unzip();
        let roads = [layout::REPOSITORIES, layout::BLOBS].map(|place| mounts::followed(&table, &self.at(place)).1);
        let led_to = led_to.into_iter().chain(roads).flatten();
        all.extend(led_to.filter(|point| Some(point) != own.as_ref() && point != Path::new("/")));
        let is_led_to = |point: &&Path| {
            let target = point.ancestors().find(|above| targets.contains(*above));
            target.and_then(|target| point.strip_prefix(target).ok()).is_some_and(is_of_the_store)
        };
        all.extend(points().filter(is_led_to).map(Path::to_owned));
        all.sort();
        all.dedup();
        all.retain(|mount| mounts::holds_something(mount));
        let identity = |mount: &Path| open_directory(CWD, mount).ok().and_then(|directory| mounts::identity(&directory));
        all.into_iter().map(|mount| Part { name: self.mount_name(&mount), identity: identity(&mount) }).collect()
    }

    fn hold(&self, parts: &[Part]) {
        let table = mounts::of_process("self");
        let point = |name: &str| {
            let point = table.iter().map(Mounted::at).find(|point| self.mount_name(point) == name);
            point.map_or_else(|| self.root().path().join(name), Path::to_owned)
        };
        // A mount made after the store was opened is not the one being read.
        let is_same = |(base, path): (&OwnedFd, &Path)| {
            open_directory(CWD, path).is_ok_and(|again| held::number(&again) == held::number(base))
        };
        if !self.bases().all(is_same) {
            return;
        }
        match HeldMounts::hold(parts.iter().map(|part| (part, point(&part.name)))) {
            Ok(held) => self.mounts.lock().unwrap_or_else(PoisonError::into_inner).push(held),
            Err(error) => tracing::warn!("mounts cannot be watched: {error}; those in the store count as missing"),
        }
    }

    fn is_held(&self, name: &str) -> bool {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|held| held.is_there(name))
    }
}

impl FilesystemStore {
    fn mount_name(&self, mount: &Path) -> String {
        escaped(mount.strip_prefix(self.root().path()).unwrap_or(mount)).to_string()
    }
}
