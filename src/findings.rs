//! Selects the findings that a run reports, for every command.
//!
//! Clients that push control the number of findings, and a report must stay readable: findings beyond a limit are counted
//! and not listed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::escape::escaped;
use crate::finding::{Code, Finding};
use crate::format::number;
use crate::layout;
use crate::oci::{Digest, RepositoryName};

/// Findings of one code to list for one repository, and for entries outside repositories.
pub(crate) const LISTED_OF_A_REPOSITORY: u64 = 1_000;
/// Findings of one code to list in all.
const LISTED_OF_A_CODE: u64 = 5_000;

/// Findings in one repository. Holds no more than a report lists: the first of each code, and their number.
#[derive(Debug)]
pub(crate) struct OfRepository {
    name: RepositoryName,
    listed: Vec<Finding>,
    found: BTreeMap<Code, u64>,
}

impl OfRepository {
    /// No findings yet.
    pub(crate) fn new(name: &RepositoryName) -> OfRepository {
        OfRepository { name: name.clone(), listed: Vec::new(), found: BTreeMap::new() }
    }

    /// Adds a finding. Each finding comes once.
    pub(crate) fn push(&mut self, finding: Finding) {
        let found = self.found.entry(finding.code).or_default();
        *found += finding.count;
        if *found <= LISTED_OF_A_REPOSITORY {
            self.listed.push(finding);
        }
    }

    /// Adds several findings.
    pub(crate) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }

    /// All findings, with one for each code beyond the limit.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        let listed = |code| self.listed.iter().filter(|finding| finding.code == code).map(|finding| finding.count).sum::<u64>();
        let beyond = self.found.iter().map(|(code, found)| (*code, found - listed(*code))).filter(|(_, more)| *more > 0);
        let beyond: Vec<_> =
            beyond.map(|(code, more)| with_more(Finding::new(code).repository(&self.name).count(more))).collect();
        self.listed.into_iter().chain(beyond).collect()
    }
}

/// Findings of many threads. Holds no more than a report lists.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    codes: Mutex<BTreeMap<Code, OfCode>>,
}

/// Findings of one code.
#[derive(Debug, Default)]
struct OfCode {
    /// The first findings in sort order, in any order of arrival, each with the number of entries that it stands for.
    listed: BTreeMap<Finding, u64>,
    /// Number of entries that the other findings stand for.
    beyond: u64,
}

impl Gathered {
    /// Adds the findings of one repository, or of entries outside repositories.
    pub(crate) fn add(&self, mut findings: Vec<Finding>) {
        findings.sort();
        findings.dedup();
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        for finding in limited(findings) {
            codes.entry(finding.code).or_default().add(finding);
        }
    }

    /// All findings, with one for each code beyond the limit.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        let codes = self.codes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let of_code = |(code, OfCode { listed, beyond }): (Code, OfCode)| listed.into_keys().chain(more(code, beyond));
        codes.into_iter().flat_map(of_code).collect()
    }
}

impl OfCode {
    fn add(&mut self, finding: Finding) {
        if stands_for_others(&finding) && finding.repository.is_none() {
            self.beyond += finding.count;
            return;
        }
        // Counts a finding each time it arrives: the listed findings and their counts depend on no order.
        let count = finding.count;
        *self.listed.entry(finding).or_default() += count;
        if self.listed.len() as u64 > LISTED_OF_A_CODE {
            self.beyond += self.listed.pop_last().map_or(0, |(_, count)| count);
        }
    }
}

/// Drops findings that are none in a pull-through cache, reports system files and absent blobs once, applies
/// the limits, and sorts.
pub(crate) fn consolidated(mut findings: Vec<Finding>, is_cache: bool) -> Vec<Finding> {
    if is_cache {
        findings.retain(|finding| !finding.code.is_absence());
    }
    findings.sort();
    findings.dedup();
    absent_once(&mut findings);
    let system_files = system_files(&mut findings);
    let elsewhere = elsewhere(&mut findings);
    let shards = shards(&mut findings);
    let mut listed = limited(findings);
    listed.extend(system_files);
    listed.extend(shards);
    listed.extend(elsewhere);
    listed.sort();
    listed
}

/// One finding for a blob that is missing, the most severe one, however many repositories name it. What is said of the manifest
/// that a tag names is said. What holds repositories stays a finding in each of them.
fn absent_once(findings: &mut Vec<Finding>) {
    let targets: BTreeSet<Digest> =
        findings.iter().filter(|finding| finding.code == Code::MissingTagTarget).filter_map(|finding| finding.digest).collect();
    let is_one = |finding: &Finding| finding.code.is_absence() && finding.code != Code::MissingTagTarget;
    let mut once: BTreeMap<Digest, (Finding, BTreeSet<RepositoryName>)> = BTreeMap::new();
    for finding in findings.extract_if(.., |finding| is_one(finding) && finding.digest.is_some()) {
        let digest = finding.digest.expect("it was just looked for");
        if targets.contains(&digest) {
            continue;
        }
        let repository = finding.repository.clone();
        // They are sorted, the most severe first.
        once.entry(digest).or_insert_with(|| (finding, BTreeSet::new())).1.extend(repository);
    }
    findings.extend(once.into_values().map(|(finding, named_in)| match named_in.first() {
        Some(first) if named_in.len() > 1 => {
            let detail = format!(
                "{} {} repositories name it; {} is one.",
                finding.code.meaning(),
                named_in.len(),
                escaped(first.to_string())
            );
            Finding { repository: None, ..finding }.detail(detail)
        }
        _ => finding,
    }));
    findings.sort();
}

/// One finding for all blob shards that are symbolic links or mounts: a store spread over disks has many.
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

/// One note for all repositories that are reached by a mount or a link in their place, which is then no finding by itself.
fn elsewhere(findings: &mut Vec<Finding>) -> Option<Finding> {
    let all: Vec<Finding> = findings.extract_if(.., |finding| finding.code == Code::RepositoryElsewhere).collect();
    let above: BTreeSet<&Path> = all.iter().flat_map(|finding| finding.path.as_deref()).flat_map(Path::ancestors).collect();
    findings.retain(|finding| {
        let is_place = finding.repository.is_none() && matches!(finding.code, Code::BehindMount | Code::BehindSymlink);
        !(is_place && finding.path.as_deref().is_some_and(|path| above.contains(path)))
    });
    together(all, "repositories are")
}

/// One note for all files of a NAS, NFS or a desktop.
fn system_files(findings: &mut Vec<Finding>) -> Option<Finding> {
    together(findings.extract_if(.., |finding| finding.code == Code::SystemFile).collect(), "of them")
}

/// The first finding that has a path, standing for all findings of its code.
fn together(all: Vec<Finding>, what: &str) -> Option<Finding> {
    let count = all.iter().map(|finding| finding.count).sum();
    let first = all.into_iter().find(|finding| finding.path.is_some())?;
    if count == 1 {
        return Some(first);
    }
    let detail = format!("{} {} {what}; this is one.", first.code.meaning(), number(count));
    Some(Finding { repository: None, ..first }.count(count).detail(detail))
}

/// Keeps findings within the limits of a code and of a repository, and counts the others. `findings` are sorted.
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
        // Beyond the limit of a code, one finding stands for all repositories.
        let (key, repository) = if *all > LISTED_OF_A_CODE { ((key.0, None), None) } else { (key, finding.repository.clone()) };
        let more = beyond.entry(key).or_insert_with(|| Finding { repository, ..Finding::new(finding.code).count(0) });
        more.count += finding.count;
    }
    listed.extend(beyond.into_values().map(with_more));
    listed
}

/// The end of the details of a finding that stands for others.
const NOT_LISTED: &str = ", which are not listed.";

/// Whether a finding stands for others that are not listed. It is not one of the listed ones.
fn stands_for_others(finding: &Finding) -> bool {
    finding.path.is_none() && finding.detail.as_ref().is_some_and(|detail| detail.ends_with(NOT_LISTED))
}

/// The finding that stands for a number of others of the store, if there are any.
pub(crate) fn more(code: Code, count: u64) -> Option<Finding> {
    (count > 0).then(|| with_more(Finding::new(code).count(count)))
}

/// Sets the details of a finding that stands for others.
fn with_more(more: Finding) -> Finding {
    let here = if more.repository.is_some() { " here" } else { "" };
    let detail = format!("{} {} more of these{here}{NOT_LISTED}", more.code.meaning(), number(more.count));
    more.detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    fn of(code: Code, repository: &str, number: u32) -> Finding {
        let digest = Digest::of(Algorithm::Sha256, &number.to_le_bytes());
        Finding::new(code).repository(&RepositoryName::new(repository)).digest(&digest)
    }

    #[test]
    fn findings_beyond_the_limits_are_counted() {
        let two = ["a", "b"].iter().flat_map(|name| (0..1_500).map(move |number| of(Code::MissingLayerLink, name, number)));
        let found = consolidated(two.collect(), false);
        assert_eq!(found.len(), 2 * 1_001);
        assert_eq!(found.iter().map(|finding| finding.count).sum::<u64>(), 3_000);
        assert_eq!(found.iter().filter(|finding| finding.count == 500).count(), 2);
        let many = (0..30_u32).flat_map(|name| (0..900).map(move |number| of(Code::LostChild, &format!("r{name}"), number)));
        let found = consolidated(many.collect(), false);
        assert_eq!(found.len(), 5_001);
        assert_eq!(found.iter().map(|finding| finding.count).sum::<u64>(), 27_000);
    }

    /// A finding that stands for others is not one of the listed ones, and appears once.
    #[test]
    fn findings_beyond_the_limits_of_a_repository_are_counted_once() {
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
    fn a_cache_lacks_nothing_and_a_nas_is_reported_once() {
        let absent = [Code::MissingBlob, Code::MissingChild, Code::MissingManifest, Code::MissingTagTarget];
        let mut found: Vec<Finding> = absent.into_iter().map(|code| of(code, "a", 1)).collect();
        found.push(of(Code::CorruptManifest, "a", 1));
        found.extend((0..5).map(|number| Finding::new(Code::SystemFile).path(format!("@eaDir/{number}"))));
        // Beside the missing target of a tag the others say nothing new.
        assert_eq!(consolidated(found.clone(), false).len(), 3);
        let found = consolidated(found, true);
        let facts: Vec<_> = found.iter().map(|finding| (finding.code, finding.count)).collect();
        assert_eq!(facts, [(Code::CorruptManifest, 1), (Code::SystemFile, 5)]);
        assert_eq!(found.iter().map(Finding::number).sum::<u64>(), 2);
    }

    #[test]
    fn what_is_missing_is_reported_once() {
        let in_three = ["a", "b", "c"].map(|name| of(Code::MissingChild, name, 1));
        let in_one = of(Code::MissingChild, "b", 2);
        let target = of(Code::MissingTagTarget, "a", 3);
        let others = [of(Code::LostChild, "a", 1), of(Code::LostChild, "b", 1), target, of(Code::MissingManifest, "b", 4)];
        let less = [of(Code::MissingChild, "b", 3), of(Code::MissingChild, "b", 4)];
        let all = in_three.into_iter().chain([in_one.clone()]).chain(others.clone()).chain(less);
        let found = consolidated(all.collect(), false);
        let detail = format!("{} 3 repositories name it; a is one.", Code::MissingChild.meaning());
        let everywhere = Finding { repository: None, ..of(Code::MissingChild, "a", 1) }.detail(detail);
        let expected: BTreeSet<Finding> = [everywhere, in_one].into_iter().chain(others).collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        assert_eq!(consolidated(found.clone(), false), found);
    }

    #[test]
    fn shards_that_lead_elsewhere_are_reported_once() {
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
    fn gathered_findings_depend_on_no_order() {
        // 30 repositories with 1,000 findings each, and 100 findings that all of them share.
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
