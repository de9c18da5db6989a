//! What is asked of a store after a fault.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::subject::{Names, Subject, gc, names};
use crate::support::layout::blob_data;
use crate::support::snapshot::SeenKind;
use crate::support::*;

/// What a fault did to a store. Each list says what should not be so; none says anything if all is well.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What is gone and should not be.
    pub(crate) lost: Vec<String>,
    /// What the exit code promised and is not so.
    pub(crate) wrong_exit: Vec<String>,
    /// What is not as after an uninterrupted run once it was run again.
    pub(crate) unfinished: Vec<String>,
    /// Empty directories that the second run left for being too young, and the third took an hour later.
    pub(crate) husks: usize,
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        self.lost.is_empty() && self.wrong_exit.is_empty() && self.unfinished.is_empty()
    }
}

/// How a run is allowed to end beside the rule.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowed {
    /// By a signal.
    pub(crate) killed: bool,
    /// With a directory left over: it was told that something is in it.
    pub(crate) told_not_empty: bool,
    /// By an abort in the standard library, which takes a failing `close` for a mistake in the program.
    pub(crate) close_failed: bool,
}

/// Judges a store after a run with a fault, and runs once more.
pub(crate) fn judge(subject: &Subject, root: &Path, ran: &Outcome, allowed: Allowed) -> Verdict {
    let now = names(root);
    let mut verdict = Verdict { lost: lost(subject, root, &now), ..Verdict::default() };
    verdict.wrong_exit.extend(wrong_exit(subject, &now, ran, allowed));
    run_again(subject, root, &mut verdict);
    verdict
}

/// The second half of [`judge`], for what has no exit code of interest.
pub(crate) fn run_again(subject: &Subject, root: &Path, verdict: &mut Verdict) {
    let again = gc(root).run();
    if again.code != Some(0) {
        verdict.unfinished.push(format!("the second run ended with {:?}: {}{}", again.code, again.stdout, again.stderr));
    }
    let mut now = names(root);
    let husks: BTreeSet<String> = now.keys().filter(|path| !subject.after.contains_key(*path)).cloned().collect();
    // The sweep emptied these directories, so they are as young as it is. An hour later they are not.
    if !husks.is_empty() && husks.iter().all(|path| is_husk(subject, &now, path)) {
        verdict.husks = husks.len();
        for husk in &husks {
            let long_ago = subject.tree.now() - days(30);
            let aged = fs::File::open(root.join(husk)).and_then(|directory| directory.set_modified(long_ago));
            aged.expect("a directory's time can be set");
        }
        gc(root).run().expect_code(0);
        now = names(root);
    }
    let differs = |path: &&String| now.get(*path) != subject.after.get(*path);
    let paths: BTreeSet<&String> = now.keys().chain(subject.after.keys()).filter(differs).collect();
    verdict.unfinished.extend(paths.into_iter().map(|path| format!("after the second run: {path}")));
    verdict.lost.extend(lost(subject, root, &now).into_iter().map(|path| format!("by the second run: {path}")));
}

/// An empty directory that is named by a digest, and that an uninterrupted run does not leave.
fn is_husk(subject: &Subject, now: &Names, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_empty = !now.keys().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')));
    let is_digest = name.len() >= 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    now[path] == SeenKind::Directory && is_empty && is_digest && subject.before.contains_key(path)
}

/// What is missing of the live images, what is gone without being garbage, what is new, and links to blobs that are gone.
pub(crate) fn lost(subject: &Subject, root: &Path, now: &Names) -> Vec<String> {
    let mut lost = Vec::new();
    for (path, content) in &subject.live {
        match fs::read(root.join(path)) {
            Ok(bytes) if bytes == *content => {}
            Ok(_) => lost.push(format!("live, and changed: {path}")),
            Err(error) => lost.push(format!("live, and {error}: {path}")),
        }
    }
    for (path, seen) in &subject.after {
        if now.get(path) != Some(seen) {
            lost.push(format!("no garbage: {path}"));
        }
    }
    for (path, seen) in now {
        if subject.before.get(path) != Some(seen) {
            lost.push(format!("new: {path}"));
        }
    }
    for path in now.keys().filter(|path| path.ends_with("/link")) {
        let blob = blob_data(&fs::read_to_string(root.join(path)).expect("a link can be read"));
        if subject.before.contains_key(&blob) && !now.contains_key(&blob) {
            lost.push(format!("gone before its link {path}: {blob}"));
        }
    }
    lost
}

fn wrong_exit(subject: &Subject, now: &Names, ran: &Outcome, allowed: Allowed) -> Option<String> {
    let is_untouched = *now == subject.before;
    let left: Vec<&String> = now.keys().filter(|path| !subject.after.contains_key(*path)).collect();
    let is_done = left.is_empty() || allowed.told_not_empty && left.iter().all(|path| is_husk(subject, now, path));
    let stderr = &ran.stderr;
    let has_findings = || ran.findings().iter().any(|finding| finding.severity != "note");
    let is_right = match ran.code {
        Some(0) => is_done,
        Some(1) => has_findings(),
        // Stopped before the first change, or at it: then the report says why.
        Some(2) => is_untouched && (stderr.contains("regsweep: ") || !left.is_empty() && has_findings()),
        Some(3) => !left.is_empty() && has_findings() || stderr.contains("cannot print the report"),
        // The dynamic loader's, before the program has begun.
        Some(127) => is_untouched && stderr.contains("error while loading shared libraries"),
        None if allowed.killed => true,
        // `abort` and a panic, by either way of standard error.
        Some(101) | None => allowed.close_failed,
        Some(_) => false,
    };
    let is_calm = !stderr.contains("panicked") || allowed.close_failed;
    (!is_right || !is_calm).then(|| {
        format!("exit code {:?}, untouched: {is_untouched}, left: {left:?}\nstdout {}\nstderr {stderr}", ran.code, ran.stdout)
    })
}
