//! The rules of a policy, as a file or the command line gives them. Pure.

use std::path::Path;
use std::time::Duration;

use globset::{GlobSet, GlobSetBuilder};
use serde::Deserialize;
use toml::Spanned;

use crate::escape::escaped;
use crate::oci::{RepositoryName, TagName};
use crate::options;

/// The rules of a policy, in their order. Repositories that none of them names are left alone.
#[derive(Clone, Debug)]
pub struct Rules {
    /// One at least.
    pub rules: Vec<Rule>,
    /// Where they come from, for people: a file, or an option.
    pub source: String,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The repositories that it names.
    repositories: Patterns,
    /// The tags in them that it is about; nothing if it is about all.
    tags: Option<Patterns>,
    /// Tags that stay whatever any rule says.
    keep_tags: Option<Patterns>,
    /// How many of the newest stay, and which are those.
    pub(super) keep_newest: Option<(usize, Order)>,
    /// How long tags stay after their push.
    pub(super) keep_younger_than: Option<Duration>,
    /// How old an untagged revision has to be to go; nothing if none goes.
    pub(super) untagged_older_than: Option<Duration>,
}

/// What makes a tag newer than another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// It was pushed later.
    #[default]
    Push,
    /// It is a higher version.
    Version,
}

impl Rule {
    /// Whether it is about a repository.
    pub fn names(&self, repository: &RepositoryName) -> bool {
        self.repositories.set.is_match(repository.as_path())
    }

    /// Whether it is about a tag of a repository that it names.
    pub(super) fn governs(&self, tag: &TagName) -> bool {
        self.tags.as_ref().is_none_or(|tags| tags.set.is_match(tag.as_os_str()))
    }

    /// Whether a tag of a repository that it names stays for its name.
    pub(super) fn keeps_by_name(&self, tag: &TagName) -> bool {
        self.keep_tags.as_ref().is_some_and(|tags| tags.set.is_match(tag.as_os_str()))
    }

    /// Whether it is about tags at all: one for untagged revisions alone is not.
    pub(super) fn is_about_tags(&self) -> bool {
        self.drops() || self.keep_tags.is_some()
    }

    /// Whether a tag of a repository that it names may go or stay by it.
    pub(super) fn is_about(&self, tag: &TagName) -> bool {
        self.keeps_by_name(tag) || (self.drops() && self.governs(tag))
    }

    /// Whether tags go by it at all: one that only keeps drops none.
    pub(super) fn drops(&self) -> bool {
        self.keep_newest.is_some() || self.keep_younger_than.is_some()
    }

    /// Whether it goes by when tags were pushed.
    pub(super) fn is_by_time(&self) -> bool {
        self.keep_younger_than.is_some() || matches!(self.keep_newest, Some((_, Order::Push)))
    }

    /// What it is about, as it was written.
    pub fn scope(&self) -> String {
        let tags = self.tags.as_ref().map_or_else(String::new, |tags| format!(", tags {}", tags.text));
        format!("repositories {}{tags}", self.repositories.text)
    }
}

/// Patterns, and how they read.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<String>")]
struct Patterns {
    set: GlobSet,
    text: String,
}

impl TryFrom<Vec<String>> for Patterns {
    type Error = String;

    fn try_from(patterns: Vec<String>) -> Result<Patterns, String> {
        if patterns.is_empty() {
            return Err("expected one pattern at least".to_owned());
        }
        let mut set = GlobSetBuilder::new();
        for pattern in &patterns {
            set.add(options::glob(pattern).map_err(|error| format!("{}: {error}", escaped(pattern)))?);
        }
        let set = set.build().map_err(|error| format!("these patterns are too large together: {}", error.kind()))?;
        Ok(Patterns { set, text: patterns.iter().map(escaped).collect::<Vec<_>>().join(", ") })
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Age(Duration);

impl TryFrom<String> for Age {
    type Error = String;

    fn try_from(text: String) -> Result<Age, String> {
        options::duration(&text).map(Age)
    }
}

/// A policy as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Spanned<Written>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    repositories: Patterns,
    tags: Option<Patterns>,
    keep_tags: Option<Patterns>,
    keep_newest: Option<usize>,
    by: Option<Order>,
    keep_younger_than: Option<Age>,
    untagged_older_than: Option<Age>,
}

impl Rules {
    /// One rule that keeps the newest tags, by their push times. Without patterns it is about every repository.
    ///
    /// # Errors
    ///
    /// When the patterns are too large together.
    pub fn keep_last(count: usize, repositories: &[String]) -> Result<Rules, String> {
        let everything = vec!["**".to_owned()];
        let patterns = if repositories.is_empty() { everything } else { repositories.to_vec() };
        let rule = Rule {
            repositories: Patterns::try_from(patterns)?,
            tags: None,
            keep_tags: None,
            keep_newest: Some((count, Order::Push)),
            keep_younger_than: None,
            untagged_older_than: None,
        };
        Ok(Rules { rules: vec![rule], source: format!("--keep-last {count}") })
    }

    /// Reads a policy. `path` is where it comes from.
    ///
    /// # Errors
    ///
    /// When it is none: with the line, and what is wrong there.
    pub fn from_toml(text: &str, path: &Path) -> Result<Rules, String> {
        let wrong = |at: usize, why: &str| {
            let line = text[..at.min(text.len())].matches('\n').count();
            let written = text.lines().nth(line).unwrap_or_default().trim();
            format!("policy {}, line {}, `{}`: {why}", escaped(path), line + 1, escaped(written))
        };
        let file: File = toml::from_str(text).map_err(|error| {
            wrong(
                error.span().map_or(0, |span| span.start),
                &error.message().replace('\n', ", ").replace("expected usize", "expected a whole number"),
            )
        })?;
        if file.rule.is_empty() {
            return Err(format!("policy {}: there is no [[rule]] in it", escaped(path)));
        }
        let rules = file.rule.into_iter().map(|written| {
            let at = written.span().start;
            Rule::new(written.into_inner()).map_err(|why| wrong(at, why))
        });
        Ok(Rules { rules: rules.collect::<Result<_, _>>()?, source: escaped(path) })
    }
}

impl Rule {
    fn new(written: Written) -> Result<Rule, &'static str> {
        let Written { repositories, tags, keep_tags, keep_newest, by, keep_younger_than, untagged_older_than } = written;
        let rule = Rule {
            repositories,
            tags,
            keep_tags,
            keep_newest: keep_newest.map(|count| (count, by.unwrap_or_default())),
            keep_younger_than: keep_younger_than.map(|age| age.0),
            untagged_older_than: untagged_older_than.map(|age| age.0),
        };
        match &rule {
            _ if by.is_some() && rule.keep_newest.is_none() => Err("`by` says which tags are the newest: it needs keep-newest"),
            _ if !rule.drops() && rule.tags.is_some() => {
                Err("`tags` says which tags may go: it needs keep-newest or keep-younger-than")
            }
            Rule { keep_tags: None, untagged_older_than: None, .. } if !rule.drops() => Err(
                "this rule keeps nothing and drops nothing: give keep-newest, keep-younger-than, keep-tags or untagged-older-than",
            ),
            _ => Ok(rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Rules, String> {
        Rules::from_toml(text, Path::new("p.toml"))
    }

    #[test]
    fn a_policy_names_repositories_and_tags() {
        let rules = parsed(
            "[[rule]]\nrepositories = ['team/*']\ntags = ['v*', '[0-9]*']\nkeep-newest = 3\nby = 'version'\n\n[[rule]]\n\
             repositories = ['**']\nkeep-tags = ['latest']\nkeep-younger-than = '30d'\nuntagged-older-than = '1 week'\n",
        );
        let rules = rules.expect("a policy").rules;
        let is_named = |rule: usize, name: &str| rules[rule].names(&RepositoryName::new(name));
        assert!(is_named(0, "team/app") && !is_named(0, "team/app/web") && !is_named(0, "team"));
        assert!(is_named(1, "a") && is_named(1, "a/b/c"));
        assert_eq!(rules[0].keep_newest, Some((3, Order::Version)));
        assert!(rules[0].governs(&TagName::new("v1")) && !rules[0].governs(&TagName::new("latest")));
        assert!(rules[1].governs(&TagName::new("anything")) && rules[1].keeps_by_name(&TagName::new("latest")));
        assert_eq!(rules[1].keep_younger_than, Some(Duration::from_secs(30 * 86400)));
        assert_eq!(rules[1].untagged_older_than, Some(Duration::from_secs(7 * 86400)));
        assert_eq!(rules[0].scope(), "repositories team/*, tags v*, [0-9]*");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let rule = "[[rule]]\nrepositories = ['a']\n";
        for (text, line, why) in [
            (format!("{rule}keep-newst = 3\n"), 3, "keep-newst"),
            (format!("{rule}keep-newest = 'x'\n"), 3, "invalid type"),
            (format!("{rule}keep-newest = -1\n"), 3, "expected a whole number"),
            (format!("{rule}keep-younger-than = '30'\n"), 3, "a duration with its unit"),
            (format!("{rule}keep-newest = 1\nby = 'size'\n"), 4, "size"),
            (format!("{rule}keep-tags = ['[']\n"), 3, "expected a pattern"),
            (format!("{rule}keep-tags = []\n"), 3, "one pattern at least"),
            (format!("{rule}keep-tags = ['a']\nby = 'push'\n"), 1, "needs keep-newest"),
            (format!("{rule}keep-tags = ['a']\ntags = ['b']\n"), 1, "says which tags may go"),
            (rule.to_owned(), 1, "keeps nothing and drops nothing"),
            ("[[rule]]\nkeep-newest = 1\n".to_owned(), 1, "repositories"),
            (format!("{rule}keep-newest = 1\n\n{rule}keep-newest = \n"), 7, "value"),
            (format!("{rule}keep-newest = 1\nkeep-newest = 2\n"), 4, "duplicate key"),
            ("rules = 1".to_owned(), 1, "rules"),
        ] {
            let error = parsed(&text).expect_err(&text);
            assert!(error.contains(&format!("line {line},")) && error.contains(why), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(parsed("").expect_err("empty").contains("no [[rule]]"));
        assert!(parsed("\u{1b}[31m = 1").expect_err("hostile").contains("\\u{1b}"));
    }
}
