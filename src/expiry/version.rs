//! Versions as people write them in tags: `1.2.3-rc1`, `v1.2`, `2024.01.15`.

use semver::Prerelease;

/// A version, in the order of versions: `1.2` is `1.2.0`, `1.10` is above `1.9`, `1.2-rc10` above `1.2-rc2`, and both below `1.2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    /// Without zeros at the end.
    numbers: Vec<u64>,
    /// What follows a dash. Nothing is above anything.
    pre: Prerelease,
}

impl Version {
    /// Reads a tag: numbers with dots between them, perhaps after a `v`, and perhaps a dash with more behind it. Nothing if it is none.
    pub(super) fn parse(tag: &str) -> Option<Version> {
        let text = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
        let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = numbers.split('.').map(|part| part.parse().ok().filter(|_| is_number(part)));
        let mut numbers = parsed.collect::<Option<Vec<u64>>>()?;
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        if pre.is_empty() && text.contains('-') {
            return None;
        }
        Some(Version { numbers, pre: Prerelease::new(&completed(pre)).ok()? })
    }
}

/// A pre-release as the specification has it: numbers stand by themselves, without zeros before them, so that `rc10` is above `rc2`.
fn completed(pre: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in pre.split(['.', '_', '-']) {
        let mut rest = part;
        while let Some(first) = rest.bytes().next() {
            let is_digit = first.is_ascii_digit();
            let end = rest.bytes().position(|byte| byte.is_ascii_digit() != is_digit).unwrap_or(rest.len());
            let (one, more) = rest.split_at(end);
            let number = one.trim_start_matches('0');
            parts.push(if !is_digit {
                one.to_owned()
            } else if number.is_empty() {
                "0".to_owned()
            } else {
                number.to_owned()
            });
            rest = more;
        }
    }
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_that_people_mean() {
        let ascending = [
            "0",
            "0.1",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-beta2",
            "1.0.0-rc2",
            "v1.0.0-rc10",
            "1",
            "1.0.1",
            "v1.2",
            "1.2.0.1",
            "1.9",
            "1.10",
            "2.0-1",
            "2.0-12",
            "2.0-alpine",
            "2",
            "20.04",
            "2024.01.15",
            "2024.2",
        ];
        let parsed: Vec<Version> = ascending.iter().map(|tag| Version::parse(tag).expect(tag)).collect();
        assert!(parsed.is_sorted_by(|one, two| one < two), "{parsed:?}");
    }

    #[test]
    fn a_version_is_the_same_however_it_is_written() {
        for (one, two) in [
            ("1.2", "1.2.0"),
            ("v1.2.0", "1.2"),
            ("V1", "1.0.0.0"),
            ("1.02", "1.2"),
            ("1-rc1", "1.0-rc.1"),
            ("1-rc_01", "1.0-rc1"),
        ] {
            assert_eq!(Version::parse(one).expect(one), Version::parse(two).expect(two), "{one} {two}");
        }
    }

    #[test]
    fn other_tags_are_no_versions() {
        for tag in [
            "",
            "v",
            "latest",
            "main",
            "sha-1234",
            "release-1.2",
            "1.x",
            "1..2",
            ".1",
            "1.",
            "1-",
            "abc123",
            "1_2",
            "1.2-caf\u{e9}",
            "+1",
            "99999999999999999999.1",
        ] {
            assert_eq!(Version::parse(tag), None, "{tag}");
        }
    }
}
