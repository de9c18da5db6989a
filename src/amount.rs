//! A number of blobs and their bytes.

/// A number of blobs and the bytes in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Number of blobs.
    pub count: u64,
    /// Their total size.
    pub size_bytes: u64,
}

impl Amount {
    /// Adds one blob.
    pub fn add(&mut self, size_bytes: u64) {
        *self += Amount { count: 1, size_bytes };
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.count += other.count;
        // Sizes that manifests state may add up to any number.
        self.size_bytes = self.size_bytes.saturating_add(other.size_bytes);
    }
}

/// Of the sizes of blobs, or of whatever is counted like them.
impl FromIterator<u64> for Amount {
    fn from_iter<I: IntoIterator<Item = u64>>(sizes: I) -> Amount {
        let mut all = Amount::default();
        sizes.into_iter().for_each(|size_bytes| all.add(size_bytes));
        all
    }
}
