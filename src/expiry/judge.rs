//! Which tags of one repository stay by which rule, and which go. Pure.

use std::time::{Duration, SystemTime};

use foldhash::HashMap;

use super::rules::{Order, Rule};
use super::version::Version;
use crate::oci::TagName;

/// A time that is so far ahead of the clock is wrong, and no difference between two machines.
const AHEAD: Duration = Duration::from_secs(600);

/// Fewer tags that share a push time say nothing: a build pushes several at once.
const ENOUGH: usize = 3;

/// Tags that were pushed no further apart than this, each from the next, share a push time: which of them was first says nothing.
const TOGETHER: Duration = Duration::from_secs(2);

/// A number without a dot that has so many digits is a date, a build or a commit, where other tags are versions with dots.
const LONG_NUMBER: usize = 6;

/// What is known of a tag.
#[derive(Clone, Debug)]
pub(super) struct TagFacts {
    pub(super) name: TagName,
    /// When its `current/link` was last written, if that is known.
    pub(super) pushed: Option<SystemTime>,
}

/// Why a tag stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// It, or something in its image, is in a list of what is in use.
    Protected,
    /// A list of digests in use was given, and what this tag names cannot be read: it may be one of them.
    Unreadable,
    /// Its name matches `keep-tags`.
    Pattern,
    /// It is one of the newest, or as new as the last of them.
    Newest,
    /// It was pushed lately.
    Younger,
    /// It is to be compared by version, and is none.
    NoVersion,
    /// Nobody knows when it was pushed, or that time lies in the future.
    NoPushTime,
    /// Most tags of its repository share one push time, which says nothing then.
    SharedTime,
    /// It belongs to a manifest, as a signature does, and goes when that does.
    Companion,
    /// No rule says which tags of its kind go.
    Ungoverned,
}

impl Kept {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Kept::Protected => "protected",
            Kept::Unreadable => "unreadable",
            Kept::Pattern => "keep-tags",
            Kept::Newest => "keep-newest",
            Kept::Younger => "keep-younger-than",
            Kept::NoVersion => "no-version",
            Kept::NoPushTime => "no-push-time",
            Kept::SharedTime => "shared-push-time",
            Kept::Companion => "with-subject",
            Kept::Ungoverned => "no-rule",
        }
    }
}

/// What becomes of a tag, and the place of the rule that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Kept(Kept, Option<usize>),
    /// It goes.
    Dropped(usize),
}

/// Judges the tags of a repository by the rules that name it, each with its place in the policy. Keeping wins over dropping, whichever
/// rule comes first. Says, too, whether a rule goes by time and cannot here, because most tags share a push time.
pub(super) fn judge(tags: &[TagFacts], rules: &[(usize, &Rule)], now: SystemTime) -> (Vec<Fate>, bool) {
    let mut is_refused = false;
    let times = times(tags);
    let mut kept: Vec<Option<(Kept, usize)>> = vec![None; tags.len()];
    let mut dropped: Vec<Option<usize>> = vec![None; tags.len()];
    for &(place, rule) in rules {
        for (index, _) in tags.iter().enumerate().filter(|(_, tag)| rule.keeps_by_name(&tag.name)) {
            kept[index].get_or_insert((Kept::Pattern, place));
        }
        if !rule.drops() {
            continue;
        }
        let governed: Vec<usize> = (0..tags.len()).filter(|index| rule.governs(&tags[*index].name)).collect();
        let mut stays = keepers((tags, &times), &governed, rule, now);
        if rule.is_by_time() && (share_a_time(&times, governed.iter().copied()) || share_a_time(&times, 0..tags.len())) {
            is_refused |= governed.len() > stays.0.len()
                || matches!(rule.keep_newest, Some((count, Order::Push)) if governed.len() > count);
            stays.keep(governed.iter().copied(), Kept::SharedTime);
        }
        for index in governed {
            if let Some(why) = stays.0.get(&index) {
                kept[index].get_or_insert((*why, place));
            } else {
                dropped[index].get_or_insert(place);
            }
        }
    }
    let fate = |(kept, dropped): (Option<(Kept, usize)>, Option<usize>)| match (kept, dropped) {
        (Some((why, place)), _) => Fate::Kept(why, Some(place)),
        (None, Some(place)) => Fate::Dropped(place),
        (None, None) => Fate::Kept(Kept::Ungoverned, None),
    };
    (kept.into_iter().zip(dropped).map(fate).collect(), is_refused)
}

/// Tags that one rule keeps, by their places, and why.
#[derive(Default)]
struct Stays(HashMap<usize, Kept>);

impl Stays {
    /// Keeps some more. What stays already stays for what it was.
    fn keep(&mut self, some: impl Iterator<Item = usize>, why: Kept) {
        for index in some {
            self.0.entry(index).or_insert(why);
        }
    }
}

/// Which of the governed tags one rule keeps by what it counts.
fn keepers((tags, times): (&[TagFacts], &[Option<SystemTime>]), governed: &[usize], rule: &Rule, now: SystemTime) -> Stays {
    let mut stays = Stays::default();
    let governed = || governed.iter().copied();
    let is_known = |pushed: &SystemTime| pushed.duration_since(now).map_or(true, |ahead| ahead <= AHEAD);
    let pushed = |index: usize| tags[index].pushed.filter(is_known);
    match rule.keep_newest {
        Some((count, Order::Push)) => {
            let time = |index: usize| pushed(index).and(times[index]);
            stays.keep(newest(governed().filter_map(|index| Some((index, time(index)?))).collect(), count), Kept::Newest);
        }
        Some((count, Order::Version)) => {
            let parsed = |index: usize| tags[index].name.as_os_str().to_str().and_then(Version::parse);
            let has_dots = |index: &usize| tags[*index].name.as_os_str().as_encoded_bytes().contains(&b'.');
            let any_dots = governed().any(|index| has_dots(&index) && parsed(index).is_some());
            let is_long = |index: &usize| {
                let name = tags[*index].name.as_os_str().as_encoded_bytes();
                name.len() >= LONG_NUMBER && name.iter().all(u8::is_ascii_digit)
            };
            let version = |index: usize| parsed(index).filter(|_| !(any_dots && is_long(&index)));
            stays.keep(newest(governed().filter_map(|index| Some((index, version(index)?))).collect(), count), Kept::Newest);
            stays.keep(governed().filter(|index| version(*index).is_none()), Kept::NoVersion);
        }
        None => {}
    }
    if let Some(age) = rule.keep_younger_than {
        let is_young = |time: SystemTime| now.duration_since(time).map_or(true, |old| old <= age);
        stays.keep(governed().filter(|index| pushed(*index).is_some_and(is_young)), Kept::Younger);
    }
    if rule.is_by_time() {
        stays.keep(governed().filter(|index| pushed(*index).is_none()), Kept::NoPushTime);
    }
    stays
}

/// The highest few of some, and those that are as high as the last of these.
fn newest<T: Ord>(mut all: Vec<(usize, T)>, count: usize) -> impl Iterator<Item = usize> {
    all.sort_by(|(_, one), (_, other)| other.cmp(one));
    let end = match count.checked_sub(1) {
        None => 0,
        Some(last) if last >= all.len() => all.len(),
        Some(last) => all.partition_point(|(_, value)| *value >= all[last].1),
    };
    all.truncate(end);
    all.into_iter().map(|(index, _)| index)
}

/// When tags were pushed; for those that were pushed together the time of the last.
fn times(tags: &[TagFacts]) -> Vec<Option<SystemTime>> {
    let mut known: Vec<(SystemTime, usize)> =
        tags.iter().enumerate().filter_map(|(index, tag)| Some((tag.pushed?, index))).collect();
    known.sort_unstable();
    let mut times = vec![None; tags.len()];
    // From the last to the first: each with the one after it, if that is near.
    let mut after: Option<(SystemTime, SystemTime)> = None;
    for (time, index) in known.into_iter().rev() {
        let shared = match after {
            Some((next, shared)) if next.duration_since(time).is_ok_and(|apart| apart <= TOGETHER) => shared,
            _ => time,
        };
        times[index] = Some(shared);
        after = Some((time, shared));
    }
    times
}

/// Whether most of some tags were pushed together: a copy has made their files anew, and nobody knows when they were pushed.
fn share_a_time(times: &[Option<SystemTime>], some: impl ExactSizeIterator<Item = usize>) -> bool {
    let all = some.len();
    let mut together: HashMap<SystemTime, usize> = HashMap::default();
    for time in some.filter_map(|index| times[index]) {
        *together.entry(time).or_default() += 1;
    }
    together.into_values().max().is_some_and(|most| most >= ENOUGH && most * 2 > all)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::expiry::Rules;

    const DAY: Duration = Duration::from_secs(86400);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 1000 * DAY
    }

    /// Tags by their ages in days; one below nothing lies in the future, and one without an age has no push time.
    fn tags(all: &[(&str, Option<i32>)]) -> Vec<TagFacts> {
        let pushed = |days: i32| now() + DAY * 1000 - DAY * u32::try_from(1000 + days).expect("in range");
        all.iter().map(|(name, days)| TagFacts { name: TagName::new(name), pushed: days.map(pushed) }).collect()
    }

    fn judged(tags: &[TagFacts], policy: &str) -> Vec<Fate> {
        let rules = Rules::from_toml(policy, Path::new("p")).expect(policy).rules;
        let rules: Vec<(usize, &Rule)> = rules.iter().enumerate().collect();
        judge(tags, &rules, now()).0
    }

    /// The tags that go.
    fn gone(all: &[(&str, Option<i32>)], rules: &[&str]) -> Vec<String> {
        let policy: String = rules.iter().map(|rule| format!("[[rule]]\nrepositories = ['a']\n{rule}\n")).collect();
        let tags = tags(all);
        let fates = judged(&tags, &policy);
        let dropped = tags.iter().zip(fates).filter(|(_, fate)| matches!(fate, Fate::Dropped(_)));
        dropped.map(|(tag, _)| tag.name.to_string()).collect()
    }

    #[test]
    fn rules_keep_and_drop() {
        let by_time = [("a", Some(1)), ("b", Some(2)), ("c", Some(3)), ("latest", Some(9))];
        for (rules, expected) in [
            (&["keep-newest = 2"][..], &["c", "latest"][..]),
            (&["keep-newest = 9"], &[]),
            (&["keep-newest = 0"], &["a", "b", "c", "latest"]),
            (&["keep-newest = 1\nkeep-tags = ['l*']"], &["b", "c"]),
            (&["keep-newest = 1", "keep-tags = ['latest', 'c']"], &["b"]),
            (&["keep-tags = ['latest', 'c']", "keep-newest = 1"], &["b"]),
            (&["keep-tags = ['latest']"], &[]),
            (&["untagged-older-than = '1d'"], &[]),
            (&["keep-younger-than = '2d'"], &["c", "latest"]),
            (&["keep-younger-than = '2d'\nkeep-newest = 3"], &["latest"]),
            (&["keep-younger-than = '2d'", "keep-newest = 3"], &["latest"]),
            (&["keep-newest = 0\ntags = ['c']"], &["c"]),
            (&["keep-newest = 0\ntags = ['c', 'b']", "keep-younger-than = '2d'\ntags = ['b']"], &["c"]),
            (&["keep-newest = 1\nby = 'version'"], &[]),
        ] {
            assert_eq!(gone(&by_time, rules), expected, "{rules:?}");
        }
    }

    #[test]
    fn the_newest_by_version_are_no_question_of_time() {
        let all =
            [("1.9", Some(1)), ("v1.10", Some(9)), ("1.10.0", Some(9)), ("1.10-rc1", Some(2)), ("main", Some(9)), ("2", None)];
        assert_eq!(gone(&all, &["keep-newest = 1\nby = 'version'"]), ["1.9", "v1.10", "1.10.0", "1.10-rc1"]);
        assert_eq!(gone(&all, &["keep-newest = 2\nby = 'version'"]), ["1.9", "1.10-rc1"], "1.10 twice, as it is one version");
    }

    #[test]
    fn ties_at_the_boundary_stay() {
        let all = [("a", Some(1)), ("b", Some(2)), ("c", Some(2)), ("d", Some(3))];
        assert_eq!(gone(&all, &["keep-newest = 2"]), ["d"]);
        assert_eq!(gone(&all, &["keep-younger-than = '3d'"]), [""; 0]);
    }

    /// A copy takes some seconds, and is no reason to take one of its tags for newer than another.
    #[test]
    fn tags_that_were_pushed_together_stay_or_go_together() {
        let copied = |number: u32| SystemTime::UNIX_EPOCH + 900 * DAY + Duration::from_millis(100 * u64::from(number));
        let pushed = |number: u32| SystemTime::UNIX_EPOCH + 950 * DAY + DAY * number;
        let tag = |name: String, pushed| TagFacts { name: TagName::new(name), pushed: Some(pushed) };
        let all: Vec<TagFacts> = (0..40)
            .map(|number| tag(format!("v1.{number}"), copied(number)))
            .chain((0..41).map(|number| tag(format!("b{number}"), pushed(number))))
            .collect();
        let dropped = |policy: &str| {
            let fates = judged(&all, &format!("[[rule]]\nrepositories = ['a']\n{policy}"));
            fates.iter().filter(|fate| matches!(fate, Fate::Dropped(_))).count()
        };
        assert_eq!(dropped("keep-newest = 41"), 40);
        assert_eq!(dropped("keep-newest = 42"), 0, "the boundary is within the copy");
        assert_eq!(dropped("keep-newest = 3\ntags = ['v*']"), 0, "most that the rule is about are of the copy");
        assert_eq!(dropped("keep-newest = 3\ntags = ['b*']"), 38);
    }

    #[test]
    fn long_numbers_are_no_versions_beside_versions() {
        let all = [("1.2.3", Some(1)), ("1.2.4", Some(1)), ("20240101", Some(2)), ("8812034", Some(2)), ("7", Some(3))];
        assert_eq!(gone(&all, &["keep-newest = 2\nby = 'version'"]), ["1.2.3"]);
        assert_eq!(
            gone(&all[2..], &["keep-newest = 1\nby = 'version'"]),
            ["8812034", "7"],
            "where all are numbers, they are compared"
        );
    }

    #[test]
    fn what_has_no_push_time_stays_and_takes_nobodys_place() {
        let all = [("a", Some(1)), ("future", Some(-3)), ("unknown", None), ("b", Some(2))];
        assert_eq!(gone(&all, &["keep-newest = 1"]), ["b"]);
        assert_eq!(gone(&all, &["keep-newest = 0"]), ["a", "b"]);
    }

    #[test]
    fn a_repository_of_which_most_tags_share_a_push_time_is_refused_by_time() {
        let flat = [("a", Some(5)), ("b", Some(5)), ("c", Some(5)), ("1", Some(1)), ("2", Some(2))];
        assert_eq!(gone(&flat, &["keep-newest = 1"]), [""; 0]);
        assert_eq!(gone(&flat, &["keep-younger-than = '1d'"]), [""; 0]);
        assert_eq!(gone(&flat, &["keep-newest = 1\nby = 'version'"]), ["1"]);
        let half = [&flat[..], &[("3", Some(3))]].concat();
        assert_eq!(gone(&half, &["keep-newest = 3"]), ["a", "b", "c"], "half of them are not most");
        assert_eq!(gone(&flat[1..3], &["keep-newest = 0"]), ["b", "c"], "two were pushed together");
        for (count, is_refused) in [(1, true), (4, true), (5, false)] {
            let rules = Rules::keep_last(count, &[]).expect("a rule").rules;
            assert_eq!(judge(&tags(&flat), &[(0, &rules[0])], now()).1, is_refused, "{count}");
            assert!(!judge(&tags(&half), &[(0, &rules[0])], now()).1);
        }
        let fates = judged(&tags(&flat), "[[rule]]\nrepositories = ['a']\nkeep-newest = 1");
        assert_eq!(fates[0], Fate::Kept(Kept::SharedTime, Some(0)));
        assert_eq!(fates[3], Fate::Kept(Kept::Newest, Some(0)), "what would stay stays for what it is");
    }
}
