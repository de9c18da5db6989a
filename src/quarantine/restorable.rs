//! What the store lacks and a collection has moved to quarantine: it is not lost.

use std::collections::BTreeSet;

use super::{Quarantine, Reader, Run};
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::oci::Digest;

/// Those of the digests that findings miss that wait in quarantine. Nothing restores what `verify` or `repair` quarantined for its bytes:
/// that is lost.
///
/// # Errors
///
/// When there is no memory for the list of it. What cannot be read of it is told by `quarantine list`.
pub fn waiting(reader: &Reader<'_>, findings: &[Finding]) -> Result<BTreeSet<Digest>, Error> {
    let missing = findings.iter().filter(|finding| finding.code.is_absence());
    let mut missing: BTreeSet<Digest> = missing.filter_map(|finding| finding.digest).collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    let quarantine = match Quarantine::open_within(reader) {
        Ok(quarantine) => quarantine,
        Err(error @ Error::Brake { .. }) => return Err(error),
        Err(_) => return Ok(BTreeSet::new()),
    };
    let collected: Vec<&Run<'_>> = quarantine.collected().collect();
    missing.retain(|digest| collected.iter().any(|run| run.has_blob(digest)));
    Ok(missing)
}

/// Findings with those about what waits as what they are.
pub fn as_restorable(mut findings: Vec<Finding>, waiting: &BTreeSet<Digest>) -> Vec<Finding> {
    let is_waiting = |finding: &Finding| finding.digest.is_some_and(|digest| waiting.contains(&digest));
    for finding in findings.iter_mut().filter(|finding| finding.code.is_absence() && is_waiting(finding)) {
        let code = Code::Restorable;
        (finding.code, finding.severity, finding.detail) = (code, code.severity(), None);
    }
    findings.sort();
    findings
}
