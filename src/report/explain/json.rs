//! Why something is kept or not, for programs.

use serde::Serialize;

use super::ExplainReport;
use crate::explain::{ChainStep, ExplainedChain, Fate, LinkPlace};
use crate::format::time;
use crate::report::Report as _;
use crate::report::json::{self, Bytes, Head};

#[derive(Serialize)]
struct Body {
    reference: String,
    partial: bool,
    digest: Option<String>,
    bytes: Option<u64>,
    kind: Option<String>,
    fate: &'static str,
    young_until: Option<String>,
    held_in: Vec<String>,
    leads_to: Bytes,
    freed: Bytes,
    links: Vec<Link>,
    link_count: u64,
    chains: Vec<Chain>,
    chain_count: u64,
    tagged_chain_count: u64,
}

#[derive(Serialize)]
struct Link {
    repository: String,
    kind: &'static str,
    tag: Option<String>,
}

#[derive(Serialize)]
struct Chain {
    repository: String,
    tag: Option<String>,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    digest: String,
    relation: &'static str,
    kind: String,
}

impl From<&LinkPlace> for Link {
    fn from(link: &LinkPlace) -> Link {
        let tag = link.tag.as_ref().map(ToString::to_string);
        Link { repository: link.repository.to_string(), kind: link.kind, tag }
    }
}

impl From<&ExplainedChain> for Chain {
    fn from(chain: &ExplainedChain) -> Chain {
        Chain {
            repository: chain.repository.to_string(),
            tag: chain.tag.as_ref().map(ToString::to_string),
            steps: chain.steps.iter().map(Step::from).collect(),
        }
    }
}

impl From<&ChainStep> for Step {
    fn from(step: &ChainStep) -> Step {
        Step { digest: step.digest.to_string(), relation: step.relation.name(), kind: step.kind.clone() }
    }
}

/// Renders a report as one JSON document.
pub(super) fn render(report: &ExplainReport) -> String {
    let explanation = &report.explanation;
    let body = Body {
        reference: report.reference.to_string(),
        partial: report.is_partial,
        digest: explanation.digest.map(|digest| digest.to_string()),
        bytes: explanation.size_bytes,
        kind: explanation.kind.clone(),
        fate: explanation.fate.name(),
        young_until: match explanation.fate {
            Fate::Young(until) => until.map(time),
            _ => None,
        },
        held_in: explanation.held_in.iter().map(ToString::to_string).collect(),
        leads_to: explanation.leads_to.into(),
        freed: explanation.freed.into(),
        links: explanation.links.iter().map(Link::from).collect(),
        link_count: explanation.link_count,
        chains: explanation.chains.iter().map(Chain::from).collect(),
        chain_count: explanation.chain_count,
        tagged_chain_count: explanation.tagged_chain_count,
    };
    let head = Head {
        command: "explain",
        outcome: None,
        exit: report.exit(),
        root: &report.root,
        config: report.config_path.as_deref(),
        started: report.started,
        elapsed: report.elapsed,
        findings: &report.findings,
    };
    json::render(&head, body)
}
