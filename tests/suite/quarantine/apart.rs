//! Parts of a store, and directories of our own, that are mounted apart: nothing can be moved between two mounts.

use super::refusing::{DAY, due, later};
use super::seen_again::in_namespace;
use super::*;
use crate::support::layout::{self, blob_data};

/// What cannot be restored is said before anything is changed, by a dry run as by a real one, and what to do instead: where all blobs are mounted
/// apart, and where a repository is of which something is needed.
#[test]
fn what_cannot_be_restored_refuses_a_run() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let program = env!("CARGO_BIN_EXE_regsweep");
    for mounted in ["docker/registry/v2/blobs".to_owned(), layout::repository("team/app")] {
        let root = store().on_disk();
        let root = root.path();
        collect(root, &["-m"]).expect_code(0);
        // A tag is set again: what it names is needed.
        registry().repo("team/app").manifest_only(&untagged()).tag("back").write_to(root);
        let before = (files(root), all_files(root));
        let script = format!(
            "mount --bind {0} {0}
             code=0; \"$@\" || code=$?; test $code = 2
             code=0; \"$@\" --dry-run || code=$?; test $code = 2
             for words in restore \"restore --all\" \"quarantine purge --assume-offline --allow-shared-blobs\"; do
                 code=0; {program} $words --root {1} || code=$?; test $code = 2
             done
             umount {0}",
            root.join(&mounted).display(),
            root.display()
        );
        let ran = in_namespace(root, &["--allow-shared-blobs", "--allow-unlinked", "100%", "--ignore-birth-time"], &script);
        assert_eq!(ran.stderr.matches("is mounted apart from").count(), 5, "{mounted}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("mount both as one filesystem").count(), 5, "{mounted}: {}", ran.stderr);
        assert_eq!((files(root), all_files(root)), before, "{mounted}");
    }
}

/// Our own directories as mounts: the message says what to do.
#[test]
fn our_own_directories_are_not_mounted_apart() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for own in [".regsweep", ".regsweep/quarantine"] {
        let root = store().on_disk();
        let root = root.path();
        fs::create_dir_all(root.join(".regsweep/quarantine")).expect("made");
        let before = files(root);
        let script = format!(
            "mount -t tmpfs none {0}
             for flags in \"\" --quarantine --dry-run; do code=0; \"$@\" $flags || code=$?; test $code = 2; done
             umount {0}",
            root.join(own).display()
        );
        let ran = in_namespace(root, &["-m", "--ignore-birth-time"], &script);
        assert_eq!(ran.stderr.matches("is mounted apart from the root").count(), 3, "{own}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("unmount it").count(), 3, "{own}: {}", ran.stderr);
        assert_eq!(files(root), before);
    }
}

/// A mount that the summary names is held by whoever purges, and is not missing while it is there.
#[test]
fn a_run_of_verify_is_purged_where_something_is_mounted() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let store = registry().repo("team").image("behind", &[layer(2)]).tag("v1").repo("a").image("a", &[layer(10)]).tag("v1");
    let root = store.on_disk();
    let root = root.path();
    let team = root.join("docker/registry/v2/repositories/team");
    let aside = tempfile::tempdir().expect("a directory");
    fs::rename(&team, aside.path().join("team")).expect("ours");
    fs::create_dir(&team).expect("made");
    fs::write(root.join(blob_data(&layer(10).digest)), "damaged").expect("ours");
    let script = format!(
        "mount -t tmpfs none {team}; cp -a {aside}/team/. {team}
         code=0; \"$@\" || code=$?; test $code -le 1
         code=0; {program} verify --quarantine --min-age 0s --root {root} || code=$?; test $code = 1
         run=$(ls {root}/.regsweep/quarantine)
         {program} quarantine purge --run $run --assume-offline --root {root}
         umount {team}",
        team = team.display(),
        aside = aside.path().display(),
        program = env!("CARGO_BIN_EXE_regsweep"),
        root = root.display()
    );
    in_namespace(root, &["--ignore-birth-time"], &script);
    assert_eq!(runs(root), Vec::<PathBuf>::new());
}

/// A run in which nothing could be moved has changed nothing: it has a report, and ends with 2.
#[test]
fn what_could_not_begin_has_changed_nothing() {
    if !has_strace() {
        return;
    }
    for (call, error) in [("renameat2", "EIO"), ("unlinkat", "EIO")] {
        let flags: &[&str] = if call == "unlinkat" { &["-m"] } else { &["-m", "--quarantine"] };
        let root = store().on_disk();
        let root = root.path();
        let before = files(root);
        let inject = format!("inject={call}:error={error}");
        let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
        let ran = Regsweep::gc(root).args(flags).args(["--jobs", "1"]).json().under(words).run().expect_code(2);
        assert_eq!(ran.report()["outcome"], "stopped", "{call}: {}", ran.stdout);
        assert!(ran.finding_codes().contains(&"failed-removal".into()), "{call}: {}", ran.stdout);
        assert_eq!(files(root), before);
    }
}

/// What is due is a part of what is stored and in quarantine together, and more than was due at the beginning goes within the limit.
#[test]
fn a_percentage_counts_what_is_in_quarantine() {
    let root = due();
    let root = root.path();
    let night = |limit: f64| {
        let limit = format!("{limit}%");
        later(Regsweep::gc(root).args(["--quarantine", "--max-reclaim", &limit]).json(), DAY, "").run()
    };
    let purged: u64 = list(root).runs.iter().map(|run| run.bytes).sum();
    let stored: u64 = crate::support::snapshot::blobs_on_disk(root).values().sum();
    let percent = 100.0 * purged as f64 / (purged + stored) as f64;
    let refused = night(percent.floor()).expect_code(2);
    assert!(refused.stderr.contains("would be purged"), "{}", refused.stderr);
    let ran = night(percent.ceil()).expect_code(0);
    assert_eq!(moved(&ran, "purged").bytes, purged);
}
