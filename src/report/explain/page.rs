//! Why something is kept or not, for people.

use super::ExplainReport;
use crate::escape::operand;
use crate::explain::{ExplainedChain, Explanation, Fate, LinkPlace, MOST_LISTED, Relation};
use crate::format::{amount, number, plural, size, time};
use crate::oci::Reference;
use crate::report::document::Document;
use crate::report::text::only_looked;

/// Links and ways shown; `--format json` has more.
const SHOWN: usize = 10;

/// The report as a document.
pub(super) fn document(report: &ExplainReport) -> Document {
    let mut page = Document::default();
    let explanation = &report.explanation;
    let verdict = format!("{} {}", report.reference, verdict(report));
    page.headline("explain", &verdict);
    page.root(&report.root, report.config_path.as_deref());
    if report.is_partial {
        page.item("partial", "not all of the store could be read, see the findings: more may lead to it");
    }
    page.blank();
    what(&mut page, report);
    why(&mut page, report);
    freed(&mut page, report);
    links(&mut page, explanation);
    chains(&mut page, explanation);
    page.findings(&report.findings);
    page.blank();
    page.line(&only_looked(&verdict, &report.findings, report.elapsed));
    page
}

fn verdict(report: &ExplainReport) -> &'static str {
    match report.explanation.fate {
        Fate::Kept | Fate::Foreign => "is kept",
        Fate::KeptUntagged => "is kept without --delete-untagged, and goes with it",
        Fate::Young(_) => "is kept while it is young",
        Fate::Unreferenced | Fate::Unlinked => "goes with the next collection",
        Fate::Absent => "is not stored",
        Fate::Irregular => "is no regular file",
    }
}

fn what(page: &mut Document, report: &ExplainReport) {
    let explanation = &report.explanation;
    if let (Some(digest), Reference::Tag(..)) = (explanation.digest, &report.reference) {
        page.item("names", &digest.to_string());
    }
    if let Some(size_bytes) = explanation.size_bytes {
        let kind = explanation.kind.as_deref().unwrap_or("blob");
        let leads_to = match explanation.leads_to.count {
            0 | 1 => String::new(),
            _ => format!("; it leads to {}, itself included", amount(explanation.leads_to)),
        };
        page.item("what", &format!("{kind}, {}{leads_to}", size(size_bytes)));
    } else if explanation.digest.is_none() {
        page.item("what", &format!("a repository that keeps {}", amount(explanation.leads_to)));
    }
}

fn why(page: &mut Document, report: &ExplainReport) {
    let explanation = &report.explanation;
    let tags = explanation.tagged_chain_count;
    let why = match (explanation.fate, &report.reference) {
        (_, Reference::Repository(name)) => {
            format!("what its tags lead to is kept; `regsweep list {}` shows them", operand(name))
        }
        (Fate::Kept, Reference::Tag(..)) => "a tag is kept with all that it leads to".to_owned(),
        (Fate::Kept, _) if tags > 0 => "a tag leads to it".to_owned(),
        (Fate::Kept, _) => "something that cannot be understood keeps it".to_owned(),
        (Fate::KeptUntagged, _) => "only revisions without a tag lead to it".to_owned(),
        (Fate::Young(Some(until)), _) => format!("nothing leads to it, but it is too young to judge until {}", time(until)),
        (Fate::Young(None), _) => "it, or what leads to it, is too young to judge".to_owned(),
        (Fate::Foreign, _) => "it lies behind a symbolic link or a mount, where nothing is removed".to_owned(),
        (Fate::Unreferenced, _) => "it is linked, and no manifest that is kept needs it".to_owned(),
        (Fate::Unlinked, _) => "no repository links it".to_owned(),
        (Fate::Absent, _) if explanation.chain_count > 0 => "what leads to it is broken; push the image again".to_owned(),
        (Fate::Absent, _) => "nothing is known of it".to_owned(),
        (Fate::Irregular, _) => "something that is no regular file is in its place".to_owned(),
    };
    page.item("because", &why);
    let held =
        explanation.held_in.iter().take(SHOWN).map(|name| format!("{name} is held, see the findings: all that it links is kept"));
    held.for_each(|line| page.item("", &line));
}

fn freed(page: &mut Document, report: &ExplainReport) {
    let freed = amount(report.explanation.freed);
    let line = match (&report.reference, report.explanation.fate) {
        (_, Fate::Absent) => return,
        (Reference::Repository(_), _) => format!("{freed} by deleting the repository and collecting with --delete-untagged"),
        (Reference::Tag(..), _) => format!("{freed} by deleting the tag and collecting with --delete-untagged"),
        (_, Fate::Kept) => format!("{freed} if it was gone from all that leads to it"),
        (_, Fate::KeptUntagged) => "by collecting with --delete-untagged".to_owned(),
        (_, Fate::Unreferenced | Fate::Unlinked) => "by the next collection".to_owned(),
        (_, Fate::Young(_) | Fate::Foreign | Fate::Irregular) => return,
    };
    page.item("frees", &line);
}

fn links(page: &mut Document, explanation: &Explanation) {
    if explanation.digest.is_none() {
        return;
    }
    let words = |link: &LinkPlace| {
        let what = match (link.kind, &link.tag) {
            ("tag", Some(tag)) => return format!("tag {}:{tag}", link.repository),
            (_, Some(tag)) => return format!("history of the tag {}:{tag}", link.repository),
            ("layer-link", None) => "layer link",
            ("layer-alias", None) => "layer link under another name",
            (_, None) => "revision",
        };
        format!("{what} in {}", link.repository)
    };
    if explanation.links.is_empty() {
        page.item("links", "none");
    }
    for (number, link) in explanation.links.iter().take(SHOWN).enumerate() {
        page.item(if number == 0 { "links" } else { "" }, &words(link));
    }
    let more = explanation.link_count.saturating_sub(SHOWN as u64);
    if more > 0 {
        page.item("", &format!("and {} more; --format json lists up to {}", number(more), number(MOST_LISTED as u64)));
    }
}

fn chains(page: &mut Document, explanation: &Explanation) {
    if explanation.digest.is_none() {
        return;
    }
    let (tagged, all) = (explanation.tagged_chain_count, explanation.chain_count);
    let untagged = plural(all.saturating_sub(tagged), "way", "ways");
    page.item("ways", &format!("{} from tags, {untagged} from revisions without a tag", plural(tagged, "way", "ways")));
    for chain in explanation.chains.iter().take(SHOWN) {
        page.blank();
        one(page, chain);
    }
    let more = all.saturating_sub(SHOWN as u64);
    if more > 0 {
        page.blank();
        page.line(&format!("and {} more; --format json lists up to {}", number(more), number(MOST_LISTED as u64)));
    }
}

fn one(page: &mut Document, chain: &ExplainedChain) {
    let root = match &chain.tag {
        Some(tag) => format!("{}:{tag}", chain.repository),
        None => format!("{}, a revision without a tag", chain.repository),
    };
    page.line(&root);
    for (depth, step) in chain.steps.iter().enumerate() {
        let relation = match step.relation {
            Relation::Root | Relation::Named => "",
            Relation::Refers => ", which refers to it",
        };
        page.line(&format!("{:indent$}-> {}  {}{relation}", "", step.digest, step.kind, indent = 2 + 2 * depth));
    }
}
