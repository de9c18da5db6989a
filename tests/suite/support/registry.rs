//! The fluent form of a [`Tree`]: it remembers which repository is meant and what was pushed last.
//!
//! ```text
//! let store = registry()
//!     .repo("team/app")
//!     .image("one", &[layer(1), layer(2)]).tag("latest")
//!     .image("two", &[layer(1), layer(3)]).tag("latest")
//!     .repo("other")
//!     .young().upload_layer(&layer(4));
//! let root = store.on_disk();
//! ```

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::image::{Content, Image, oci_image};
use super::tree::{Tree, days, minutes};

/// Storage of a registry without anything in it yet.
pub(crate) fn registry() -> Registry {
    Registry::default()
}

/// Storage in the making. All of [`Tree`] is there too, by dereference.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    tree: Tree,
    repository: String,
    last: Option<Image>,
}

impl Registry {
    /// Turns to a repository; what follows is about it.
    pub(crate) fn repo(mut self, name: &str) -> Self {
        name.clone_into(&mut self.repository);
        self.last = None;
        self
    }

    /// Pushes an OCI image of a name and some layers.
    pub(crate) fn image(self, name: &str, layers: &[Content]) -> Self {
        self.pushed(&oci_image(name, layers))
    }

    /// Pushes a manifest with all that belongs to it, by digest.
    pub(crate) fn pushed(mut self, image: &Image) -> Self {
        self.tree.push(&self.repository, image);
        self.last = Some(image.clone());
        self
    }

    /// Pushes a manifest alone; what it names may be elsewhere or nowhere.
    pub(crate) fn manifest_only(mut self, image: &Image) -> Self {
        self.tree.put_manifest(&self.repository, image);
        self.last = Some(image.clone());
        self
    }

    /// Tags what was pushed last.
    pub(crate) fn tag(mut self, tag: &str) -> Self {
        let digest = self.digest();
        self.tree.tag(&self.repository, tag, &digest);
        self
    }

    /// Uploads a layer that no manifest names yet.
    pub(crate) fn upload_layer(mut self, content: &Content) -> Self {
        self.tree.layer(&self.repository, content);
        self
    }

    /// Stores a blob that no repository links.
    pub(crate) fn stray_blob(mut self, content: &Content) -> Self {
        self.tree.blob(content);
        self
    }

    /// Deletes what was pushed last through the API.
    pub(crate) fn deleted(mut self) -> Self {
        let digest = self.digest();
        self.tree.delete_manifest(&self.repository, &digest);
        self
    }

    /// What follows happened this long ago.
    pub(crate) fn aged(mut self, age: Duration) -> Self {
        self.tree.aged(age);
        self
    }

    /// What follows happened a minute ago: inside every grace period but none.
    pub(crate) fn young(self) -> Self {
        self.aged(minutes(1))
    }

    /// What follows happened thirty days ago, as everything does at first.
    pub(crate) fn old(self) -> Self {
        self.aged(days(30))
    }

    /// Does anything else to the storage without leaving the sentence.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Tree)) -> Self {
        change(&mut self.tree);
        self
    }

    /// The digest of what was pushed last in this repository.
    pub(crate) fn digest(&self) -> String {
        let image = self.last.as_ref();
        image.expect("something was pushed").digest().to_owned()
    }

    /// The storage alone.
    pub(crate) fn into_tree(self) -> Tree {
        self.tree
    }
}

impl Deref for Registry {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}

impl DerefMut for Registry {
    fn deref_mut(&mut self) -> &mut Tree {
        &mut self.tree
    }
}
