//! Unneeded entries that are kept because they are young, or because their time lies in the future.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::amount::Amount;
use crate::finding::{Code, Finding};
use crate::format::plural;
use crate::policy::Age;

/// Entries kept only because of their age.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// When the last of them is old enough; `None` if none ever is.
    pub until: Option<SystemTime>,
    /// How many files are young only because they were just made.
    pub just_made: u64,
    /// How many have a time in the future.
    pub future: u64,
    /// The blobs among those: they are never deleted.
    pub never: Amount,
    /// The path of one of those.
    first: Option<PathBuf>,
}

impl Waiting {
    /// Counts an entry at `path` if it is young. Returns whether it is.
    pub fn note(&mut self, age: Age, path: impl FnOnce() -> PathBuf) -> bool {
        self.until = self.until.max(age.until());
        match age {
            Age::Old | Age::Young(_) => {}
            Age::JustMade(_) => self.just_made += 1,
            Age::Future => {
                self.future += 1;
                self.first.get_or_insert_with(path);
            }
        }
        age.is_young()
    }

    /// Adds the size of a blob whose age was just noted.
    pub fn note_blob(&mut self, age: Age, size_bytes: u64) {
        if age == Age::Future {
            self.never.add(size_bytes);
        }
    }

    /// Splits the blobs that are kept for being young into those that are deleted some day and those that never are.
    pub fn later_and_never(&self, young: Amount) -> (Amount, Amount) {
        // If no age ends, blobs that an entry from the future keeps stay with it.
        if self.until.is_none() && self.future > 0 {
            return (Amount::default(), young);
        }
        let later = Amount {
            count: young.count.saturating_sub(self.never.count),
            size_bytes: young.size_bytes.saturating_sub(self.never.size_bytes),
        };
        (later, self.never)
    }

    /// The finding about times in the future.
    pub fn finding(&self) -> Option<Finding> {
        let first = self.first.as_ref()?;
        let detail = format!(
            "{} that nothing needs {} a modification time in the future, which counts as young whatever --min-age says.",
            plural(self.future, "file", "files"),
            if self.future == 1 { "has" } else { "have" }
        );
        Some(Finding::new(Code::FutureTime).path(first).count(self.future).detail(detail))
    }
}

impl std::ops::AddAssign for Waiting {
    fn add_assign(&mut self, other: Waiting) {
        self.until = self.until.max(other.until);
        self.just_made += other.just_made;
        self.future += other.future;
        self.never += other.never;
        self.first = self.first.take().into_iter().chain(other.first).min();
    }
}
