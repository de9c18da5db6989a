//! Rows by repository or namespace while they fill: by many threads, one repository at a time, in any order.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::{HashMap, HashSet};

use super::keeping::{Kept, LIVE};
use super::rows::UsageRow;
use crate::escape::escaped_bytes;
use crate::inventory::{BlobId, Holder, Inventory, MarkFlags, Ownership, Whose};
use crate::oci::RepositoryName;
use crate::options::UsageBy;
use crate::store::RepositoryEntry;

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// The row of each repository.
    rows: HashMap<RepositoryName, u32>,
    accounts: Vec<Mutex<Account>>,
    /// Blobs that a row counts although a collection may free them: only a repository that is held with
    /// `--delete-untagged`, and not held without it, keeps them.
    doubtful: Mutex<Vec<(u32, BlobId)>>,
}

#[derive(Debug, Default)]
struct Account {
    row: UsageRow,
    /// Blobs counted already, if several repositories make one row.
    seen: Option<HashSet<BlobId>>,
    /// Repositories still to add.
    left: usize,
}

impl Account {
    fn new(name: String, left: usize) -> Account {
        Account { row: UsageRow { name, ..UsageRow::default() }, seen: (left > 1).then(HashSet::default), left }
    }
}

impl Accounts {
    /// Rows for sorted repositories.
    pub(crate) fn new(repositories: &[RepositoryEntry], by: UsageBy) -> Accounts {
        let mut accounts = Accounts::default();
        let mut accounts_by_name: HashMap<String, u32> = HashMap::default();
        for repository in repositories {
            let name = match by {
                UsageBy::Namespace => namespace(&repository.name),
                _ => repository.name.to_string(),
            };
            let next = accounts.accounts.len() as u32;
            let row = *accounts_by_name.entry(name.clone()).or_insert(next);
            if row == next {
                accounts.accounts.push(Mutex::new(Account::new(name, 0)));
            }
            accounts.rows.insert(repository.name.clone(), row);
        }
        let mut made_of = vec![0; accounts.accounts.len()];
        accounts.rows.values().for_each(|row| made_of[*row as usize] += 1);
        (0..).zip(made_of).for_each(|(row, repositories)| accounts.reset(row, repositories));
        accounts
    }

    /// Resets a row that is made of `left` repositories.
    fn reset(&self, row: u32, left: usize) {
        let mut account = self.account(row);
        *account = Account::new(std::mem::take(&mut account.row.name), left);
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).retain(|(doubtful, _)| *doubtful != row);
    }

    /// Resets the rows of the changed repositories. Returns all repositories to add to these rows, the changed ones in
    /// place of the earlier ones.
    pub(crate) fn begin_again(&self, repositories: &[RepositoryEntry], changed: Vec<RepositoryEntry>) -> Vec<RepositoryEntry> {
        let mut again: BTreeMap<u32, Vec<RepositoryEntry>> = BTreeMap::new();
        for repository in &changed {
            again.insert(self.rows[&repository.name], Vec::new());
        }
        for repository in repositories {
            if let Some(of_row) = again.get_mut(&self.rows[&repository.name]) {
                let is_it = |changed: &&RepositoryEntry| changed.name == repository.name;
                of_row.push(changed.iter().find(is_it).unwrap_or(repository).clone());
            }
        }
        again.iter().for_each(|(row, of_row)| self.reset(*row, of_row.len()));
        again.into_values().flatten().collect()
    }

    /// Adds a repository to its row.
    pub(crate) fn add(&self, kept: &Kept, ownership: &Ownership) {
        let row = self.rows[&kept.marks.repository];
        let mut account = self.account(row);
        let mut doubtful = Vec::new();
        for (&blob, flags) in &kept.noted {
            let Some(size_bytes) = ownership.size_bytes(blob) else { continue };
            if flags.intersects(MarkFlags::KEPT) {
                ownership.claim(blob, Holder::Kept, row);
            }
            if !flags.intersects(LIVE) {
                continue;
            }
            ownership.claim(blob, Holder::Live, row);
            if account.seen.as_mut().is_none_or(|seen| seen.insert(blob)) {
                account.row.total.add(size_bytes);
                if !flags.intersects(MarkFlags::KEPT) {
                    doubtful.push((row, blob));
                }
            }
        }
        account.row.images += kept.marks.counts.revisions;
        account.row.tags += kept.marks.counts.tags;
        account.row.held_repositories += u64::from(kept.marks.held);
        account.row.pushed_at(kept.pushes.iter().flatten().max().copied());
        account.left -= 1;
        if account.left == 0 {
            account.seen = None;
        }
        drop(account);
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).append(&mut doubtful);
    }

    /// The rows, once all repositories are marked. Subtracts blobs that nothing keeps after all, and adds what each row
    /// holds alone.
    pub(crate) fn into_rows(self, inventory: &Inventory, ownership: &Ownership) -> Vec<UsageRow> {
        let unwrap = |account: Mutex<Account>| account.into_inner().unwrap_or_else(PoisonError::into_inner).row;
        let mut rows: Vec<UsageRow> = self.accounts.into_iter().map(unwrap).collect();
        for (row, blob) in self.doubtful.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if !inventory.has_any(blob, MarkFlags::KEPT) {
                let total = &mut rows[row as usize].total;
                total.count -= 1;
                total.size_bytes -= ownership.size_bytes(blob).unwrap_or_default();
            }
        }
        for blob in (0..inventory.len() as u32).map(BlobId::at) {
            let Some(size_bytes) = ownership.size_bytes(blob).filter(|_| inventory.has_any(blob, MarkFlags::KEPT)) else {
                continue;
            };
            if inventory.has_any(blob, LIVE) {
                if let Whose::One(row) = ownership.whose(blob, Holder::Live) {
                    rows[row as usize].unique.add(size_bytes);
                }
            } else if let Whose::One(row) = ownership.whose(blob, Holder::Kept) {
                rows[row as usize].untagged.add(size_bytes);
            }
        }
        rows
    }

    fn account(&self, row: u32) -> MutexGuard<'_, Account> {
        self.accounts[row as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first component of a name.
fn namespace(name: &RepositoryName) -> String {
    let bytes = name.as_path().as_os_str().as_bytes();
    escaped_bytes(bytes.split(|byte| *byte == b'/').next().unwrap_or_default()).into_owned()
}
