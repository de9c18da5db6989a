//! Findings as a page shows them: those of a code together, and as many places of each as fit.

use std::fmt::Write as _;

use serde::Serialize;

use super::page::size_in_page;
use crate::escape::escaped;
use crate::finding::Finding;
use crate::report::text::counts;

/// How much of a page findings may take, in bytes.
const MOST_BYTES: usize = 400_000;
/// How much of it those of one code may take: many of one kind must not hide the others.
const MOST_BYTES_OF_A_CODE: usize = 60_000;
/// Images named that need what is missing.
const NEEDS_SHOWN: usize = 5;

/// What was found.
#[derive(Default, Serialize)]
pub(in crate::report) struct Findings {
    /// How many of each severity that occurs, in words.
    counts: Vec<String>,
    codes: Vec<OfCode>,
    /// What was looked for.
    note: &'static str,
}

#[derive(Serialize)]
struct OfCode {
    code: &'static str,
    severity: &'static str,
    /// How many things these findings are about.
    count: u64,
    meaning: &'static str,
    next_step: &'static str,
    places: Vec<Place>,
    /// How many findings more there are.
    left_out: u64,
}

#[derive(Serialize)]
struct Place {
    place: String,
    /// Nothing where it is the meaning of the code.
    message: Option<String>,
    path: Option<String>,
    needed_by: Vec<String>,
    needed_by_more: u64,
}

impl Findings {
    /// Of findings that are in order.
    pub(super) fn new(findings: &[Finding], note: &'static str) -> Findings {
        let mut left = MOST_BYTES;
        let codes = findings.chunk_by(|a, b| a.code == b.code).map(|same| OfCode::new(same, &mut left)).collect();
        Findings { counts: counts(findings), codes, note }
    }
}

impl OfCode {
    fn new(same: &[Finding], left: &mut usize) -> OfCode {
        let code = same[0].code;
        let mut most = MOST_BYTES_OF_A_CODE.min(*left);
        let mut places = Vec::new();
        for finding in same {
            let place = Place::new(finding);
            let size = size_in_page(&place) + 1;
            if size > most {
                break;
            }
            most -= size;
            *left -= size;
            places.push(place);
        }
        OfCode {
            code: code.name(),
            severity: code.severity().name(),
            count: same.iter().map(Finding::number).sum(),
            meaning: code.meaning(),
            next_step: code.next_step(),
            left_out: (same.len() - places.len()) as u64,
            places,
        }
    }
}

impl Place {
    fn new(finding: &Finding) -> Place {
        let mut place = String::new();
        if let Some(repository) = &finding.repository {
            write!(place, "{repository}").expect("writing to a String");
        }
        if let Some(tag) = &finding.tag {
            write!(place, ":{tag}").expect("writing to a String");
        }
        if let Some(digest) = &finding.digest {
            let space = if place.is_empty() { "" } else { " " };
            write!(place, "{space}{digest}").expect("writing to a String");
        }
        let needs = &finding.needed_by;
        let shown = needs.first.len().min(NEEDS_SHOWN);
        Place {
            place,
            message: finding.detail.clone(),
            path: finding.path.as_ref().map(escaped),
            needed_by: needs.first[..shown].iter().map(ToString::to_string).collect(),
            needed_by_more: (needs.first.len() - shown) as u64 + needs.more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Code;

    #[test]
    fn many_of_a_kind_are_counted_and_hide_no_other() {
        let flood = (0..10_000).map(|number| Finding::new(Code::MissingBlob).path(format!("<{number}>")));
        let findings: Vec<Finding> = flood.chain([Finding::new(Code::StaleUpload).path("last")]).collect();
        let shown = Findings::new(&findings, "");
        assert_eq!(shown.codes.len(), 2);
        let [flood, last] = &shown.codes[..] else { panic!("two codes") };
        assert_eq!((flood.count, flood.places.len() as u64 + flood.left_out), (10_000, 10_000));
        assert!(flood.left_out > 0 && last.left_out == 0, "{}", flood.left_out);
        assert!(size_in_page(&shown) < MOST_BYTES);
        assert_eq!(shown.counts, ["10,000 errors", "1 note"]);
    }
}
