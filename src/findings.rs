//! What a run reports of all that it found: the one judgement of every command.
//!
//! Whoever may push decides how much is found, and a report has to stay one that somebody reads: what is beyond a number that nobody
//! reads is counted and not listed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::finding::{Code, Finding};
use crate::format::number;
use crate::layout;
use crate::oci::RepositoryName;

/// Findings of one code that are listed for one repository, and for what is in none.
pub(crate) const LISTED_OF_A_REPOSITORY: u64 = 1_000;
/// Findings of one code that are listed at all.
const LISTED_OF_A_CODE: u64 = 5_000;

/// What is found in one repository, of which no more is held than a report lists: of each code what is found first, and how much there is.
#[derive(Debug)]
pub(crate) struct OfRepository {
    name: RepositoryName,
    listed: Vec<Finding>,
    found: BTreeMap<Code, u64>,
}

impl OfRepository {
    /// Nothing so far.
    pub(crate) fn new(name: &RepositoryName) -> OfRepository {
        OfRepository { name: name.clone(), listed: Vec::new(), found: BTreeMap::new() }
    }

    /// Takes in what is found next. No finding comes twice.
    pub(crate) fn push(&mut self, finding: Finding) {
        let found = self.found.entry(finding.code).or_default();
        *found += finding.count;
        if *found <= LISTED_OF_A_REPOSITORY {
            self.listed.push(finding);
        }
    }

    /// Takes in several.
    pub(crate) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }

    /// All of it, with one for each code that has more.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        let listed = |code| self.listed.iter().filter(|finding| finding.code == code).map(|finding| finding.count).sum::<u64>();
        let beyond = self.found.iter().map(|(code, found)| (*code, found - listed(*code))).filter(|(_, more)| *more > 0);
        let beyond: Vec<_> =
            beyond.map(|(code, more)| with_more(Finding::new(code).repository(&self.name).count(more))).collect();
        self.listed.into_iter().chain(beyond).collect()
    }
}

/// What many threads found, of which no more is held than a report lists.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    codes: Mutex<BTreeMap<Code, OfCode>>,
}

/// Findings of one code.
#[derive(Debug, Default)]
struct OfCode {
    /// The first in their order, whatever order they came in, each with how many things it is about.
    listed: BTreeMap<Finding, u64>,
    /// How many things the others are about.
    beyond: u64,
}

impl Gathered {
    /// Takes in what was found in one repository, or in what is in none.
    pub(crate) fn add(&self, mut findings: Vec<Finding>) {
        findings.sort();
        findings.dedup();
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        for finding in limited(findings) {
            codes.entry(finding.code).or_default().add(finding);
        }
    }

    /// All of them, with one for each code that has more.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        let codes = self.codes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let of_code = |(code, OfCode { listed, beyond }): (Code, OfCode)| {
            let more = (beyond > 0).then(|| Finding::new(code).count(beyond));
            listed.into_keys().chain(more.map(with_more))
        };
        codes.into_iter().flat_map(of_code).collect()
    }
}

impl OfCode {
    fn add(&mut self, finding: Finding) {
        if stands_for_others(&finding) && finding.repository.is_none() {
            self.beyond += finding.count;
            return;
        }
        // The same as often as it is met: which ones are listed in the end, and how often those were met, depends on no order.
        let count = finding.count;
        *self.listed.entry(finding).or_default() += count;
        if self.listed.len() as u64 > LISTED_OF_A_CODE {
            self.beyond += self.listed.pop_last().map_or(0, |(_, count)| count);
        }
    }
}

/// Leaves out what is no finding in a pull-through cache, tells a NAS's files once, counts what is beyond the limits, and sorts.
pub(crate) fn consolidated(mut findings: Vec<Finding>, is_cache: bool) -> Vec<Finding> {
    if is_cache {
        findings.retain(|finding| !finding.code.is_absence());
    }
    findings.sort();
    findings.dedup();
    let system_files = system_files(&mut findings);
    let shards = shards(&mut findings);
    let mut listed = limited(findings);
    listed.extend(system_files);
    listed.extend(shards);
    listed.sort();
    listed
}

/// One finding for all shards of blobs that are links or mounts: whoever spread his blobs over disks did that to all of them.
fn shards(findings: &mut Vec<Finding>) -> Vec<Finding> {
    let is_shard = |finding: &Finding| {
        let parent = finding.path.as_ref().and_then(|path| path.parent()?.parent());
        matches!(finding.code, Code::BehindSymlink | Code::BehindMount) && parent == Some(Path::new(layout::BLOBS))
    };
    let mut all: BTreeMap<Code, Vec<Finding>> = BTreeMap::new();
    for finding in findings.extract_if(.., |finding| is_shard(finding)) {
        all.entry(finding.code).or_default().push(finding);
    }
    all.into_values().filter_map(|of_code| together(of_code, "directories of blobs are")).collect()
}

/// One note for all files of a NAS, NFS or a desktop.
fn system_files(findings: &mut Vec<Finding>) -> Option<Finding> {
    together(findings.extract_if(.., |finding| finding.code == Code::SystemFile).collect(), "of them")
}

/// The first of some findings of one code that has a path, for all of them.
fn together(all: Vec<Finding>, what: &str) -> Option<Finding> {
    let count = all.iter().map(|finding| finding.count).sum();
    let first = all.into_iter().find(|finding| finding.path.is_some())?;
    if count == 1 {
        return Some(first);
    }
    let detail = format!("{} {} {what}; this is one.", first.code.meaning(), number(count));
    Some(Finding { repository: None, ..first }.count(count).detail(detail))
}

/// Lists as many of a code and repository as somebody reads, and counts the others. `findings` are sorted.
fn limited(findings: Vec<Finding>) -> Vec<Finding> {
    let mut seen: BTreeMap<(Code, Option<String>), u64> = BTreeMap::new();
    let mut of_code: BTreeMap<Code, u64> = BTreeMap::new();
    let mut beyond: BTreeMap<(Code, Option<String>), Finding> = BTreeMap::new();
    let mut listed = Vec::with_capacity(findings.len().min(1024));
    for finding in findings {
        let key = (finding.code, finding.repository.as_ref().map(ToString::to_string));
        let here = seen.entry(key.clone()).or_default();
        let all = of_code.entry(finding.code).or_default();
        let is_rest = stands_for_others(&finding);
        if !is_rest {
            *here += 1;
            *all += 1;
        }
        if !is_rest && *here <= LISTED_OF_A_REPOSITORY && *all <= LISTED_OF_A_CODE {
            listed.push(finding);
            continue;
        }
        // Beyond the limit of a code its repositories are not told apart either.
        let (key, repository) = if *all > LISTED_OF_A_CODE { ((key.0, None), None) } else { (key, finding.repository.clone()) };
        let more = beyond.entry(key).or_insert_with(|| Finding { repository, ..Finding::new(finding.code).count(0) });
        more.count += finding.count;
    }
    listed.extend(beyond.into_values().map(with_more));
    listed
}

/// How a finding ends that stands for others.
const NOT_LISTED: &str = ", which are not listed.";

/// Whether a finding is about others that are not listed. It is none of those that are.
fn stands_for_others(finding: &Finding) -> bool {
    finding.path.is_none() && finding.detail.as_ref().is_some_and(|detail| detail.ends_with(NOT_LISTED))
}

/// Says of a finding that it stands for others.
fn with_more(more: Finding) -> Finding {
    let here = if more.repository.is_some() { " here" } else { "" };
    let detail = format!("{} {} more of these{here}{NOT_LISTED}", more.code.meaning(), number(more.count));
    more.detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Algorithm, Digest, RepositoryName};

    fn of(code: Code, repository: &str, number: u32) -> Finding {
        let digest = Digest::of(Algorithm::Sha256, &number.to_le_bytes());
        Finding::new(code).repository(&RepositoryName::new(repository)).digest(&digest)
    }

    #[test]
    fn what_is_beyond_the_limits_is_counted() {
        let two = ["a", "b"].iter().flat_map(|name| (0..1_500).map(move |number| of(Code::MissingBlob, name, number)));
        let found = consolidated(two.collect(), false);
        assert_eq!(found.len(), 2 * 1_001);
        assert_eq!(found.iter().map(|finding| finding.count).sum::<u64>(), 3_000);
        assert_eq!(found.iter().filter(|finding| finding.count == 500).count(), 2);
        let many = (0..30_u32).flat_map(|name| (0..900).map(move |number| of(Code::LostChild, &format!("r{name}"), number)));
        let found = consolidated(many.collect(), false);
        assert_eq!(found.len(), 5_001);
        assert_eq!(found.iter().map(|finding| finding.count).sum::<u64>(), 27_000);
    }

    /// What stands for others is none of those that are listed, and is told once.
    #[test]
    fn what_is_beyond_the_limits_of_a_repository_is_counted_once() {
        let name = RepositoryName::new("a");
        let mut found = OfRepository::new(&name);
        found.extend((0..3_000).map(|number| of(Code::BrokenLayerLink, "a", number)));
        found.push(of(Code::LostChild, "a", 1));
        let found = found.into_findings();
        assert_eq!(found.len(), 1_002);
        let gathered = Gathered::default();
        gathered.add(found);
        let found = consolidated(gathered.into_findings(), false);
        assert_eq!(found.len(), 1_002);
        assert_eq!(found.iter().map(|finding| finding.count).sum::<u64>(), 3_001);
        assert_eq!(found.iter().filter(|finding| finding.count == 2_000).count(), 1);
    }

    #[test]
    fn a_cache_lacks_nothing_and_a_nas_is_told_once() {
        let absent = [Code::MissingBlob, Code::MissingChild, Code::MissingManifest, Code::MissingTagTarget];
        let mut found: Vec<Finding> = absent.into_iter().map(|code| of(code, "a", 1)).collect();
        found.push(of(Code::CorruptManifest, "a", 1));
        found.extend((0..5).map(|number| Finding::new(Code::SystemFile).path(format!("@eaDir/{number}"))));
        assert_eq!(consolidated(found.clone(), false).len(), 6);
        let found = consolidated(found, true);
        let facts: Vec<_> = found.iter().map(|finding| (finding.code, finding.count)).collect();
        assert_eq!(facts, [(Code::CorruptManifest, 1), (Code::SystemFile, 5)]);
        assert_eq!(found.iter().map(Finding::number).sum::<u64>(), 2);
    }

    #[test]
    fn shards_that_lead_elsewhere_are_told_once() {
        let shard = |number: u32, code| Finding::new(code).path(format!("{}/sha256/{number:02x}", layout::BLOBS));
        let mut found: Vec<Finding> = (0..154).map(|number| shard(number, Code::BehindSymlink)).collect();
        found.push(shard(200, Code::BehindMount));
        found.push(Finding::new(Code::BehindSymlink).path(format!("{}/a", layout::REPOSITORIES)));
        let found = consolidated(found, false);
        let mut facts: Vec<_> = found.iter().map(|finding| (finding.code, finding.count)).collect();
        facts.sort();
        let expected = [(Code::BehindSymlink, 1), (Code::BehindSymlink, 154), (Code::BehindMount, 1)];
        assert_eq!(facts, expected);
    }

    #[test]
    fn what_is_gathered_depends_on_no_order() {
        // 30 repositories of 1,000 findings of their own, and 100 that each of them has as well.
        let part = |name: u32| {
            let own = (0..1_000).map(|number| of(Code::LostChild, &format!("r{name:02}"), number));
            let shared = (0..100).map(|number| Finding { repository: None, ..of(Code::MissingBlob, "", number) });
            own.chain(shared).collect::<Vec<_>>()
        };
        let gathered = |order: &mut dyn Iterator<Item = u32>| {
            let all = Gathered::default();
            order.for_each(|name| all.add(part(name)));
            all.into_findings()
        };
        let found = gathered(&mut (0..30));
        assert_eq!(found, gathered(&mut (0..30).rev()));
        assert_eq!(found.iter().filter(|finding| finding.code == Code::LostChild).count(), 5_001);
        assert_eq!(found.iter().map(|finding| finding.count).sum::<u64>(), 30_000 + 100);
        assert_eq!(consolidated(found.clone(), false), consolidated(found, false));
    }
}
