//! Findings from following a repository's references.

use std::collections::BTreeMap;
use std::path::PathBuf;

use foldhash::HashSet;

use super::reach::Role;
use crate::finding::{Code, Finding};
use crate::findings::LISTED_OF_A_REPOSITORY as FINDINGS_OF_A_CODE;
use crate::graph::Fault;
use crate::layout::{self, LinkDirectory};
use crate::oci::{Digest, TagName};
use crate::store::LinkContent;
use crate::survey::Survey;

/// The findings of one repository, within bounds.
pub(super) struct Notes<'a> {
    survey: &'a Survey<'a>,
    findings: BTreeMap<(Code, Digest, Option<TagName>), Finding>,
    /// The number of findings per code, unlisted ones included.
    noted: BTreeMap<Code, u64>,
    /// The current targets of tags.
    tag_targets: HashSet<Digest>,
    /// Whether a reached link or manifest cannot be understood.
    pub(super) fault: bool,
    /// Whether a tag's target is missing.
    pub(super) tag_target_absent: bool,
}

impl<'a> Notes<'a> {
    pub(super) fn new(survey: &'a Survey<'a>) -> Notes<'a> {
        let tag_targets = survey.tags.iter().filter_map(|tag| match tag.current {
            LinkContent::Digest(digest) => Some(digest),
            _ => None,
        });
        Notes {
            survey,
            findings: BTreeMap::new(),
            noted: BTreeMap::new(),
            tag_targets: tag_targets.collect(),
            fault: false,
            tag_target_absent: false,
        }
    }

    /// The findings, and the number of unlisted ones.
    pub(super) fn into_findings(self) -> impl Iterator<Item = Finding> {
        let uncounted = self.noted.into_iter().filter(|(_, noted)| *noted > FINDINGS_OF_A_CODE).map(|(code, noted)| {
            let more = noted - FINDINGS_OF_A_CODE;
            let detail = format!("{} {more} more of these here, which are not listed.", code.meaning());
            Finding::new(code).repository(&self.survey.name).count(more).detail(detail)
        });
        self.findings.into_values().chain(uncounted)
    }

    /// Prepares for another walk: findings that were only counted would be counted twice.
    pub(super) fn begin_again(&mut self) {
        self.noted.values_mut().for_each(|noted| *noted = FINDINGS_OF_A_CODE.min(*noted));
    }

    /// Notes a finding about a digest, once. It is made only if it is listed: a manifest may name very many digests.
    fn note(&mut self, code: Code, digest: &Digest, make: impl FnOnce(Finding) -> Finding) {
        let key = (code, *digest, None);
        if self.findings.contains_key(&key) {
            return;
        }
        let noted = self.noted.entry(code).or_default();
        *noted += 1;
        if *noted <= FINDINGS_OF_A_CODE {
            let finding = Finding::new(code).digest(digest).repository(&self.survey.name);
            self.findings.insert(key, make(finding));
        }
    }

    /// The same of a tag: each is a push of its own, so all are listed.
    fn note_of_tag(&mut self, code: Code, digest: &Digest, tag: u32, path: PathBuf) {
        let tag = &self.survey.tags[tag as usize].name;
        let finding = || Finding::new(code).tag(tag).digest(digest).path(path).repository(&self.survey.name);
        self.findings.entry((code, *digest, Some(tag.clone()))).or_insert_with(finding);
    }

    /// An unusable manifest.
    pub(super) fn bad(&mut self, digest: &Digest, fault: &Fault) {
        self.fault = true;
        let code = match fault {
            Fault::Corrupt => Code::CorruptManifest,
            Fault::TooLarge => Code::OversizedManifest,
            Fault::Irregular => Code::IrregularData,
            Fault::Unreadable { .. } | Fault::NotAnObject => Code::UnreadableManifest,
        };
        self.note(code, digest, |finding| {
            let finding = finding.path(layout::blob_data(digest));
            match fault {
                Fault::Unreadable { why, .. } => finding.detail(format!("The manifest is not one whole JSON object: {why}")),
                Fault::NotAnObject => finding.detail("What is named as a manifest does not begin as a JSON object does"),
                _ => finding,
            }
        });
    }

    /// A manifest with more references than any real one.
    pub(super) fn overfull(&mut self, digest: &Digest) {
        self.fault = true;
        self.note(Code::OverfullManifest, digest, |finding| finding.path(layout::blob_data(digest)));
    }

    /// The repository leads to more manifests than are followed.
    pub(super) fn cut_off(&mut self, digest: &Digest) {
        self.fault = true;
        self.note(Code::OverfullRepository, digest, |finding| finding.path(layout::blob_data(digest)));
    }

    /// A revision with more subjects than any real one.
    pub(super) fn many_subjects(&mut self, digest: &Digest) {
        let link = LinkDirectory::Revisions(self.survey.name.clone()).link(digest);
        self.note(Code::ManySubjects, digest, |finding| finding.path(link));
    }

    /// A digest that is not stored.
    pub(super) fn absent(&mut self, digest: &Digest, role: &Role) {
        let path = |finding: Finding| finding.path(layout::blob_data(digest));
        match role {
            Role::TagTarget(tag) => {
                self.tag_target_absent = true;
                self.note_of_tag(Code::MissingTagTarget, digest, *tag, layout::blob_data(digest));
            }
            Role::Child if self.survey.revision(digest).is_none() => self.note(Code::MissingChild, digest, path),
            // A child with a revision link was there: it is no platform that was never copied.
            Role::Revision | Role::Child if self.tag_targets.contains(digest) => {}
            Role::Revision | Role::Child => self.note(Code::MissingManifest, digest, path),
            Role::MaybeManifest => self.missing_blob(digest),
            Role::Optional => {}
        }
    }

    pub(super) fn faulty_link(&mut self, digest: &Digest, code: Code) {
        self.fault = true;
        let link = LinkDirectory::Layers(self.survey.name.clone()).link(digest);
        self.note(code, digest, |finding| finding.path(link));
    }

    pub(super) fn missing_blob(&mut self, digest: &Digest) {
        self.note(Code::MissingBlob, digest, |finding| finding.path(layout::blob_data(digest)));
    }

    /// A tag's target, which should be a revision.
    pub(super) fn tag_target(&mut self, digest: &Digest, tag: u32) {
        if self.survey.revision(digest).is_none() {
            let link = LinkDirectory::Revisions(self.survey.name.clone()).link(digest);
            self.note_of_tag(Code::LostRevision, digest, tag, link);
        }
    }
}
