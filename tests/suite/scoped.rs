//! `garbage-collect` of a part of the store: `--repository`, `--unlinked-only` and `--plan`.

use std::fs;
use std::path::Path;

use crate::support::layout::{blob_data, layer_link, revision_link, upload};
use crate::support::*;

/// Two teams that share a layer, each with an image without a tag and a layer that nothing needs; a blob that nobody links.
fn teams() -> tempfile::TempDir {
    let of = |store: Registry, name: &str, number: u64| {
        let store = store.repo(name).image(name, &[layer(1), layer(number)]).tag("v1");
        store.pushed(&untagged(name, number)).upload_layer(&layer(number + 2)).upload_layer(&layer(9))
    };
    of(of(registry(), "team/a", 10), "other/b", 20).stray_blob(&layer(30)).on_disk()
}

fn untagged(name: &str, number: u64) -> Image {
    oci_image(&format!("{name} untagged"), &[layer(1), layer(number + 1)])
}

fn has(root: &Path, number: u64) -> bool {
    root.join(blob_data(&layer(number).digest)).exists()
}

/// What a run leaves of each of the layers that may go.
fn left(root: &Path) -> Vec<u64> {
    [9, 11, 12, 21, 22, 30].into_iter().filter(|number| has(root, *number)).collect()
}

#[test]
fn only_the_links_of_these_repositories_go_and_what_nothing_else_needs() {
    for (flags, expected) in [
        (&["--repository", "team/*"][..], &[9, 11, 21, 22, 30][..]),
        (&["--repository", "team/*", "-m"], &[9, 21, 22, 30]),
        // What both link goes with the last of them.
        (&["--repository", "team/*", "--repository", "other/**"], &[11, 21, 30]),
        (&["--repository", "**", "-m"], &[30]),
        (&["-m"], &[]),
    ] {
        for quarantine in [&[][..], &["--quarantine"]] {
            let root = teams();
            let root = root.path();
            let dry = Regsweep::gc(root).args(flags).args(quarantine).dry().json().run().expect_code(0);
            let real = Regsweep::gc(root).args(flags).args(quarantine).json().run().expect_code(0);
            assert_eq!(dry.plan, real.plan);
            assert_eq!(dry.report()["reclaimable"], real.report()["removed"]);
            assert_eq!(left(root), expected, "{flags:?}");
            let others = root.join(layer_link("other/b", &layer(22).digest));
            assert_eq!(others.exists(), expected.contains(&22), "{flags:?}");
        }
    }
}

#[test]
fn a_pattern_that_no_repository_matches_stops_the_run() {
    let root = teams();
    let before = snapshot(&root.path().join("docker"));
    for dry in [true, false] {
        let run = Regsweep::gc(root.path()).args(["--repository", "team/*", "--repository", "Team/a"]);
        let refused = if dry { run.dry() } else { run }.run().expect_code(2);
        assert!(
            refused.stderr.contains("no repository matches --repository 'Team/a'") && refused.stderr.contains("regsweep list")
        );
        assert!(!refused.stderr.contains("'team/*' matches"), "{}", refused.stderr);
    }
    let hostile = Regsweep::gc(root.path()).args(["--repository", "\u{1b}[31m*"]).run().expect_code(2);
    assert!(!hostile.stderr.contains('\u{1b}'), "{:?}", hostile.stderr);
    Regsweep::gc(root.path()).args(["--repository", "a[b"]).run().expect_code(2);
    assert_eq!(snapshot(&root.path().join("docker")), before);
}

/// A part of `repositories` that is not there shows in what no repository links, whatever part the run is about.
#[test]
fn a_part_does_not_hide_what_is_missing() {
    let mut store = registry().repo("team/a").image("kept", &[layer(1)]).tag("v1").upload_layer(&layer(2));
    for number in 100..140 {
        store = store.stray_blob(&layer(number));
    }
    let root = store.on_disk();
    for flags in [&["--repository", "team/a"][..], &["--unlinked-only"]] {
        let refused = Regsweep::new().args(["garbage-collect", "--root"]).arg(root.path()).args(flags).run().expect_code(2);
        assert!(refused.stderr.contains("linked by no repository"), "{flags:?}: {}", refused.stderr);
    }
}

#[test]
fn only_what_no_repository_links_goes() {
    let root = teams();
    let root = root.path();
    Regsweep::gc(root).arg("--unlinked-only").run().expect_code(0);
    assert_eq!(left(root), [9, 11, 12, 21, 22]);
    assert!(root.join(revision_link("team/a", untagged("team/a", 10).digest())).exists());
    Regsweep::gc(root).args(["--unlinked-only", "-m"]).run().expect_code(2);
}

/// Harbor and OpenShift write links; GitLab's registry with its database does not, and no flag says otherwise.
#[test]
fn unlinked_blobs_are_in_use_where_gitlab_may_own_the_store() {
    let config = |root: &Path, more: &str| {
        let config = tempfile::NamedTempFile::new().expect("a file");
        let storage = format!("storage: {{filesystem: {{rootdirectory: {}}}}}", root.display());
        fs::write(config.path(), format!("version: 0.1\n{storage}\n{more}\n")).expect("written");
        config
    };
    let run = |config: &Path, flags: &[&str]| Regsweep::gc_config(config).arg("--unlinked-only").args(flags).run();
    let root = teams();
    let before = snapshot(&root.path().join("docker"));
    for sign in ["database: {enabled: true}", "database: {enabled: prefer}", "auth: {token: {issuer: gitlab-issuer, realm: x}}"] {
        let config = config(root.path(), sign);
        for flags in [&[][..], &["--allow-foreign-owner"], &["--allow-foreign-owner", "--quarantine"]] {
            let refused = run(config.path(), flags).expect_code(2);
            assert!(refused.stderr.contains("writes no layer links"), "{sign}: {}", refused.stderr);
        }
    }
    assert_eq!(snapshot(&root.path().join("docker")), before);
    let harbor = config(root.path(), "auth: {htpasswd: {realm: harbor-registry-basic-realm, path: /x}}");
    run(harbor.path(), &[]).expect_code(0);
    assert_eq!(left(root.path()), [9, 11, 12, 21, 22]);
}

/// A plan as `--plan-out` writes it, in a file.
fn planned(root: &Path, flags: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("plan");
    let dry = Regsweep::gc(root).args(flags).dry().run().expect_code(0);
    fs::write(&path, dry.plan.expect("a plan")).expect("written");
    (directory, path)
}

fn carry(root: &Path, flags: &[&str], plan: &Path) -> Outcome {
    Regsweep::gc(root).args(flags).arg("--plan").arg(plan).json().run()
}

#[test]
fn a_plan_is_carried_out_later() {
    for quarantine in [&["-m"][..], &["-m", "--quarantine"]] {
        let root = teams();
        let (_directory, plan) = planned(root.path(), quarantine);
        let rows = fs::read_to_string(&plan).expect("there").lines().count();
        let dry = carry(root.path(), &[quarantine, &["--dry-run"]].concat(), &plan).expect_code(0);
        let real = carry(root.path(), quarantine, &plan).expect_code(0);
        assert_eq!((&dry.plan, &dry.report()["plan"]), (&real.plan, &real.report()["plan"]));
        assert_eq!(real.report()["plan"], serde_json::json!({"rows": rows, "skipped": 0, "first_skipped": []}));
        assert_eq!(left(root.path()), [0; 0]);
        // A second time there is nothing of it.
        let again = carry(root.path(), quarantine, &plan).expect_code(0);
        assert_eq!(again.report()["plan"]["skipped"], rows);
    }
}

/// What is needed by now stays, and what has become garbage since is not in the plan.
#[test]
fn a_plan_is_compared_with_the_store_as_it_is() {
    let root = teams();
    let root = root.path();
    let (_directory, plan) = planned(root, &["-m"]);
    registry().repo("team/a").manifest_only(&untagged("team/a", 10)).tag("again").stray_blob(&layer(40)).write_to(root);
    let touched = root.join(layer_link("other/b", &layer(22).digest));
    let past = std::time::SystemTime::now() - std::time::Duration::from_secs(90 * 86400);
    fs::File::options().append(true).open(&touched).and_then(|file| file.set_modified(past)).expect("ours");
    let real = carry(root, &["-m"], &plan).expect_code(0);
    let said = real.report()["plan"].clone();
    // A link that was written again stays, and so does its blob.
    assert_eq!(left(root), [11, 22], "{said}");
    assert!(has(root, 40) && touched.exists() && said["skipped"].as_u64() > Some(3), "{said}");
    assert!(untagged("team/a", 10).reaches().iter().all(|digest| root.join(blob_data(digest)).exists()));
    let text = Regsweep::gc(root).arg("-m").arg("--plan").arg(&plan).dry().run().expect_code(0);
    assert!(text.stdout.contains(" of --plan") && text.stdout.contains("skipped: gone, changed"), "{}", text.stdout);
}

/// A plan that is carried out is not written over, by whatever name.
#[test]
fn a_plan_is_not_overwritten_by_the_run_that_carries_it_out() {
    let root = teams();
    let before = snapshot(&root.path().join("docker"));
    let (directory, plan) = planned(root.path(), &["-m"]);
    let good = fs::read(&plan).expect("there");
    let [link, name] = ["link", "name"].map(|name| directory.path().join(name));
    std::os::unix::fs::symlink(&plan, &link).expect("made");
    fs::hard_link(&plan, &name).expect("made");
    for out in [&plan, &link, &name] {
        let run = Regsweep::new().args(["garbage-collect", "-m", "--ignore-birth-time", "--root"]).arg(root.path());
        let refused = run.arg("--plan").arg(&plan).arg("--plan-out").arg(out).run().expect_code(2);
        assert!(refused.stderr.contains("it would be overwritten"), "{}", refused.stderr);
        assert_eq!(fs::read(&plan).expect("there"), good);
    }
    assert_eq!(snapshot(&root.path().join("docker")), before);
}

#[test]
fn what_is_no_plan_stops_the_run() {
    let root = teams();
    let before = snapshot(&root.path().join("docker"));
    let (_directory, plan) = planned(root.path(), &["-m"]);
    let good = fs::read_to_string(&plan).expect("there");
    for (text, said) in [
        ("rm -rf /\n".to_owned(), "line 1"),
        (format!("{good}{{\n"), "is no row of a plan"),
        (good.trim_end().to_owned(), "was cut off"),
        (good.replace("docker/registry/v2/blobs", "docker/registry/v2/../../../etc"), "its path is not"),
    ] {
        fs::write(&plan, text).expect("written");
        let refused = carry(root.path(), &["-m"], &plan).expect_code(2);
        assert!(refused.stdout.contains(said) || refused.stderr.contains(said), "{said}: {}{}", refused.stdout, refused.stderr);
    }
    carry(root.path(), &["-m"], Path::new("/nowhere/at/all")).expect_code(2);
    carry(root.path(), &["--repository", "team/*"], &plan).expect_code(2);
    assert_eq!(snapshot(&root.path().join("docker")), before);
}

/// Uploads that nobody continued: two of one team, one of them without a file, and one of the other.
fn with_uploads() -> tempfile::TempDir {
    let store = registry().repo("team/a").image("a", &[layer(1)]).tag("v1").repo("other/b").image("b", &[layer(2)]).tag("v1");
    let mut tree = store.into_tree();
    let old = std::time::Duration::from_secs(10 * 86400);
    for (repository, id) in [("team/a", "1"), ("team/a", "2"), ("other/b", "3")] {
        let begun = jiff::Timestamp::try_from(tree.now() - old).expect("a time").to_string();
        let at = upload(repository, id);
        tree.upload(repository, id, b"12345").file(format!("{at}/startedat"), begun).touch(&at, old);
    }
    let at = upload("team/a", "2");
    tree.remove(&format!("{at}/startedat")).remove(&format!("{at}/data"));
    tree.remove_leaving_directory(&format!("{at}/hashstates/sha256/0")).touch(&at, old);
    tree.on_disk()
}

const WEEK: [&str; 2] = ["--uploads-older-than", "7d"];

/// Each upload by its number, if it is there.
fn uploads_left(root: &Path) -> Vec<&'static str> {
    let all = [("team/a", "1"), ("team/a", "2"), ("other/b", "3")];
    all.into_iter().filter(|(repository, id)| root.join(upload(repository, id)).exists()).map(|(_, id)| id).collect()
}

#[test]
fn the_report_says_which_uploads_of_a_part_go() {
    let cases: [(&[&str], &[&str], &[&str]); 4] = [
        (&[], &[], &["3 uploads (10 B) not continued for 7d: go\n"]),
        (
            &["--repository", "team/*"],
            &["3"],
            &[
                "2 uploads (5 B) not continued for 7d: go\n",
                "1 upload (5 B) not continued for 7d: stays, the run is not about all",
            ],
        ),
        (&["--repository", "other/*", "--repository", "**"], &[], &["3 uploads (10 B) not continued for 7d: go\n"]),
        (
            &["--repository", "other/*"],
            &["1", "2"],
            &[
                "1 upload (5 B) not continued for 7d: goes\n",
                "2 uploads (5 B) not continued for 7d: stay, the run is not about all",
            ],
        ),
    ];
    for (flags, expected, said) in cases {
        let root = with_uploads();
        let run = || Regsweep::gc(root.path()).args(WEEK).args(flags);
        let (dry, real) = (run().dry().run().expect_code(0), run().run().expect_code(0));
        assert_eq!(uploads_left(root.path()), expected, "{flags:?}");
        for outcome in [dry, real] {
            assert_eq!(outcome.stdout.matches("not continued for").count(), said.len(), "{}", outcome.stdout);
            assert!(said.iter().all(|words| outcome.stdout.contains(words)), "{flags:?}: {}", outcome.stdout);
        }
    }
}

/// Rows may be taken out of a plan one by one, and an upload goes whole or stays.
#[test]
fn no_upload_is_torn_by_a_plan() {
    for taken in ["1/startedat", "1/data", "1/hashstates/sha256/0", "_uploads/2\"", "3/data"] {
        for quarantine in [&WEEK[..], &["--uploads-older-than", "7d", "--quarantine"]] {
            let root = with_uploads();
            let (_directory, plan) = planned(root.path(), quarantine);
            let all = fs::read_to_string(&plan).expect("there");
            let rows: Vec<&str> = all.split_inclusive('\n').filter(|row| !row.contains(taken)).collect();
            assert_eq!(rows.len() + 1, all.lines().count(), "{taken}: {all}");
            fs::write(&plan, rows.concat()).expect("written");
            let before = snapshot(&root.path().join("docker"));
            let text = Regsweep::gc(root.path()).args(quarantine).arg("--plan").arg(&plan).dry().run().expect_code(0);
            let real = carry(root.path(), quarantine, &plan).expect_code(0);
            let id = ["1", "2", "3"]
                .into_iter()
                .find(|id| taken.starts_with(&format!("{id}/")) || taken.contains(&format!("/{id}\"")));
            let id = id.expect("of one of them");
            assert_eq!(uploads_left(root.path()), [id], "{taken}");
            let of_it = |path: &&String| path.contains(&format!("/_uploads/{id}"));
            let after = snapshot(&root.path().join("docker"));
            assert!(before.keys().filter(of_it).all(|path| after.contains_key(path)), "{taken}: {:?}", real.plan);
            assert!(text.stdout.contains("2 uploads (") && text.stdout.contains("1 upload ("), "{}", text.stdout);
        }
    }
}

/// An untagged image that was pushed again by its digest since, longer ago than the minimum age: it is another time of the same link.
#[test]
fn a_revision_that_was_pushed_again_stays_with_all_that_it_reaches() {
    let child = oci_image("child", &[layer(51)]);
    let index = index(std::slice::from_ref(&child));
    for (again, kept) in [(&child, 51), (&index, 51)] {
        for flags in [&["-m"][..], &["-m", "--quarantine"]] {
            let store =
                registry().repo("team/a").image("kept", &[layer(50)]).tag("v1").pushed(&child).pushed(&index).repo("team/b");
            let root = store.image("other", &[layer(52)]).on_disk();
            let root = root.path();
            let (_directory, plan) = planned(root, flags);
            let link = root.join(revision_link("team/a", again.digest()));
            let then = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 3600);
            fs::File::options().append(true).open(&link).and_then(|file| file.set_modified(then)).expect("ours");
            let real = carry(root, flags, &plan).expect_code(0);
            assert!(link.exists() && has(root, kept), "{}", real.stdout);
            assert!(root.join(layer_link("team/a", &layer(kept).digest)).exists(), "{}", real.stdout);
            assert!(real.report()["plan"]["skipped"].as_u64() > Some(1) && !has(root, 52), "{}", real.stdout);
            Regsweep::new().args(["audit", "--root"]).arg(root).run().expect_code(0);
        }
    }
}
