//! A number of blobs and their bytes.

/// A number of blobs and the bytes in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// How large together.
    pub size_bytes: u64,
}

impl Amount {
    /// Adds one more.
    pub fn add(&mut self, size_bytes: u64) {
        *self += Amount { count: 1, size_bytes };
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.count += other.count;
        // What manifests state may add up to anything.
        self.size_bytes = self.size_bytes.saturating_add(other.size_bytes);
    }
}
