//! What a policy came to: which tags go, and which stay by which rule.

use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};

use foldhash::HashMap;
use serde::Serialize;

use crate::config::Mode;
use crate::expiry::{Expired, Fate, Kept, Note, Rules, Verdict};
use crate::format::{number, plural, time};
use crate::report::document::Document;

/// Tags that go and are named in the report for people.
const TAGS_SHOWN: usize = 20;
/// Notes of one kind that are shown to people.
const NOTES_SHOWN: usize = 5;

/// What a policy came to in a store.
#[derive(Debug)]
pub struct ExpireFigures {
    /// What it chose.
    pub expired: Expired,
    /// Its rules.
    pub rules: Rules,
}

impl ExpireFigures {
    /// What decides, for people.
    pub(super) fn policy(&self) -> String {
        let rules = self.rules.rules.len() as u64;
        match &self.rules.rules[..] {
            [rule] => format!("{} in {}", self.rules.source, rule.scope()),
            _ => format!("{} of {}", plural(rules, "rule", "rules"), self.rules.source),
        }
    }

    fn dropped(&self) -> impl Iterator<Item = (&Verdict, usize)> {
        self.expired.verdicts.iter().filter_map(|verdict| match verdict.fate {
            Fate::Dropped(rule) => Some((verdict, rule)),
            Fate::Kept(..) => None,
        })
    }

    fn note(&self, note: &Note) -> String {
        let rule = |place: usize| format!("rule {} ({})", place + 1, self.rules.rules[place].scope());
        match note {
            Note::NoRepository(place) => format!("{} names no repository in the store", rule(*place)),
            Note::NoTag(place) => format!("{} is about no tag in the repositories that it names", rule(*place)),
            Note::NothingProtected(reference) => format!("{reference} is in use and not in the store"),
            Note::SharedTime(repository) => format!(
                "no tag of {repository} goes by time: most of its tags share one push time, as after a copy; a --policy with `by = \"version\"` does not need it"
            ),
        }
    }
}

/// Says what becomes of tags.
pub(super) fn tags(page: &mut Document, figures: &ExpireFigures, mode: Mode) {
    let expired = &figures.expired;
    let going: Vec<(&Verdict, usize)> = figures.dropped().filter(|(verdict, _)| verdict.goes).collect();
    let waiting = figures.dropped().count() - going.len();
    let all = expired.verdicts.len() as u64;
    let (go, mut repositories) = (going.len() as u64, going.iter().map(|(verdict, _)| &verdict.repository).collect::<Vec<_>>());
    repositories.dedup();
    let verb = if mode == Mode::DryRun { "would go" } else { "planned to go" };
    page.item(
        "tags",
        &format!(
            "{} of {} {verb}, in {} of {} that the rules name",
            number(go),
            number(all),
            number(repositories.len() as u64),
            plural(expired.repositories, "repository", "repositories"),
        ),
    );
    for (why, count) in expired.kept() {
        page.item("", &format!("  {}: {}", plural(count, "stays", "stay"), words(why)));
    }
    if waiting > 0 {
        let waiting = plural(waiting as u64, "stays", "stay");
        page.item("", &format!("  {waiting} for now: too young, restored lately, or in a repository that is held"));
    }
    if let Some(count) = expired.protecting {
        page.item("in use", &format!("{} in the store", plural(count, "reference is", "references are")));
    }
    notes(page, figures);
    if going.is_empty() {
        return;
    }
    page.blank();
    let row = |(verdict, rule): &(&Verdict, usize)| {
        let pushed = verdict.pushed.map_or_else(|| "unknown".to_owned(), time);
        vec![format!("rule {}", rule + 1), format!("pushed {pushed}"), format!("{}:{}", verdict.repository, verdict.tag)]
    };
    let more = going.len().saturating_sub(TAGS_SHOWN) as u64;
    page.table("tags that go (all of them with --json)", going.iter().take(TAGS_SHOWN).map(row).collect(), more);
}

fn notes(page: &mut Document, figures: &ExpireFigures) {
    let mut seen: HashMap<Discriminant<Note>, usize> = HashMap::default();
    for note in &figures.expired.notes {
        let count = seen.entry(discriminant(note)).or_default();
        *count += 1;
        if *count <= NOTES_SHOWN {
            page.item("note", &figures.note(note));
        }
    }
    let more: usize = seen.values().map(|count| count.saturating_sub(NOTES_SHOWN)).sum();
    if more > 0 {
        page.item("", &format!("{} like these; --json has all", number(more as u64)));
    }
}

/// Why tags stay, for people.
fn words(why: Kept) -> &'static str {
    match why {
        Kept::Protected => "in use, by --protect",
        Kept::Unreadable => "cannot be read, and may be in use",
        Kept::Pattern => "keep-tags names them",
        Kept::Newest => "among the newest (keep-newest, --keep-last)",
        Kept::Younger => "pushed lately (keep-younger-than)",
        Kept::NoVersion => "no versions, where the newest are told by version",
        Kept::NoPushTime => "no push time that has passed",
        Kept::SharedTime => "most tags of their repository share one push time",
        Kept::Companion => "signatures and the like, which go with what they belong to",
        Kept::Ungoverned => "no rule says that tags of their kind go",
    }
}

/// The same for programs.
#[derive(Serialize)]
pub(super) struct Expire<'a> {
    rules: Vec<String>,
    source: &'a str,
    repositories: u64,
    tags: u64,
    dropped: Vec<Tag>,
    kept: Vec<Tag>,
    kept_counts: BTreeMap<&'static str, u64>,
    repositories_losing_all_tags: Vec<String>,
    protecting: Option<u64>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Tag {
    repository: String,
    tag: String,
    digest: String,
    pushed: Option<String>,
    /// From 1, in the order of the policy; nothing if none says it.
    rule: Option<usize>,
    /// Why it stays; nothing for one that is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    /// For one that is dropped: whether it goes in this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    goes: Option<bool>,
}

impl<'a> From<&'a ExpireFigures> for Expire<'a> {
    fn from(figures: &'a ExpireFigures) -> Expire<'a> {
        let expired = &figures.expired;
        let (dropped, kept): (Vec<&Verdict>, Vec<&Verdict>) =
            expired.verdicts.iter().partition(|verdict| matches!(verdict.fate, Fate::Dropped(_)));
        Expire {
            rules: figures.rules.rules.iter().map(crate::expiry::Rule::scope).collect(),
            source: &figures.rules.source,
            repositories: expired.repositories,
            tags: expired.verdicts.len() as u64,
            dropped: dropped.into_iter().map(tag).collect(),
            kept: kept.into_iter().map(tag).collect(),
            kept_counts: expired.kept().into_iter().map(|(why, count)| (why.name(), count)).collect(),
            repositories_losing_all_tags: expired.losing_all.iter().map(ToString::to_string).collect(),
            protecting: expired.protecting,
            notes: expired.notes.iter().map(|note| figures.note(note)).collect(),
        }
    }
}

fn tag(verdict: &Verdict) -> Tag {
    let (rule, by) = match verdict.fate {
        Fate::Dropped(rule) => (Some(rule), None),
        Fate::Kept(why, rule) => (rule, Some(why.name())),
    };
    Tag {
        repository: verdict.repository.to_string(),
        tag: verdict.tag.to_string(),
        digest: verdict.digest.to_string(),
        pushed: verdict.pushed.map(time),
        rule: rule.map(|place| place + 1),
        by,
        goes: by.is_none().then_some(verdict.goes),
    }
}
