//! `--uploads-older-than`: uploads that nobody continues go, through the same pipeline as everything else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::support::http::Client;
use crate::support::layout::upload;
use crate::support::server::{RealRegistry, Settings};
use crate::support::*;

const DAY: u64 = 24 * 3600;
const WEEK: [&str; 2] = ["--uploads-older-than", "7d"];

fn days(count: u64) -> Duration {
    Duration::from_secs(count * DAY)
}

fn time(then: SystemTime) -> String {
    format!("{:.0}", jiff::Timestamp::try_from(then).expect("a time"))
}

/// What is done to an upload after it was begun ten days ago.
type Change = for<'t> fn(&'t mut Tree, &str) -> &'t mut Tree;

/// Each upload with what is done to it, and which of its files go.
/// One of them lies in the future, which is a warning in each run.
const CASES: [(&str, Change, &[&str]); 14] = [
    ("0old", |tree, _| tree, &["startedat", "data", "hashstates/sha256/0"]),
    (
        "1half-cancelled",
        |tree, at| tree.remove(&format!("{at}/startedat")).remove(&format!("{at}/data")),
        &["hashstates/sha256/0"],
    ),
    ("2no-start", |tree, at| tree.remove(&format!("{at}/startedat")), &["data", "hashstates/sha256/0"]),
    (
        "3empty",
        |tree, at| {
            tree.remove(&format!("{at}/startedat"))
                .remove(&format!("{at}/data"))
                .remove_leaving_directory(&format!("{at}/hashstates/sha256/0"))
                .touch(at, days(10))
        },
        &[""],
    ),
    ("4slow", |tree, at| tree.touch(&format!("{at}/data"), days(6)), &[]),
    ("5hashed", |tree, at| tree.touch(&format!("{at}/hashstates/sha256/0"), days(6)), &[]),
    ("6restarted", |tree, at| tree.touch(&format!("{at}/startedat"), days(6)), &[]),
    (
        "7says-young",
        |tree, at| {
            let text = time(tree.now() - days(6));
            tree.file(format!("{at}/startedat"), text).touch(at, days(10))
        },
        &[],
    ),
    (
        "8future",
        |tree, at| {
            let then = tree.now() + days(1);
            tree.touch_at(&format!("{at}/data"), then)
        },
        &[],
    ),
    ("9unknown", |tree, at| tree.file(format!("{at}/notes.txt"), "x").touch(at, days(10)), &[]),
    ("10odd-state", |tree, at| tree.file(format!("{at}/hashstates/sha256/00"), "x").touch(at, days(10)), &[]),
    (
        "11link",
        |tree, at| tree.remove(&format!("{at}/data")).symlink(format!("{at}/data"), "/etc/passwd").touch(at, days(10)),
        &[],
    ),
    (
        "12more",
        |tree, at| tree.file(format!("{at}/hashstates/sha512/5"), "x").touch(at, days(10)),
        &["startedat", "data", "hashstates/sha256/0", "hashstates/sha512/5"],
    ),
    ("13_name", |tree, _| tree, &[]),
];

fn all_cases() -> Tree {
    let mut tree = registry().repo("team/app").image("kept", &[layer(1)]).tag("v1").into_tree();
    for (id, change, _) in CASES {
        let at = upload("team/app", id);
        let begun = time(tree.now() - days(10));
        tree.upload("team/app", id, b"12345").file(format!("{at}/startedat"), begun).touch(&at, days(10));
        change(&mut tree, &at);
    }
    tree
}

fn expected() -> BTreeSet<String> {
    let paths = |(id, _, goes): (&str, Change, &[&str])| -> Vec<String> {
        let at = upload("team/app", id);
        goes.iter().map(|name| if name.is_empty() { at.clone() } else { format!("{at}/{name}") }).collect()
    };
    CASES.into_iter().flat_map(paths).collect()
}

/// All files of the registry's tree, and the directories in `_uploads`.
fn seen(root: &Path) -> BTreeSet<String> {
    snapshot(root).into_keys().filter(|path| !path.starts_with(".regsweep")).collect()
}

fn run(root: &Path, flags: &[&str]) -> Outcome {
    Regsweep::gc(root).args(flags).json().run()
}

#[test]
fn what_nobody_continued_goes_and_everything_else_stays() {
    let tree = all_cases();
    for flags in [&[][..], &["--quarantine"]] {
        let root = tree.on_disk();
        let root = root.path();
        let before = seen(root);
        let flags = [flags, &WEEK].concat();
        let dry = run(root, &[&flags[..], &["--dry-run"]].concat()).expect_code(1);
        assert_eq!(dry.paths().into_iter().collect::<BTreeSet<_>>(), expected(), "{}", dry.stdout);
        assert_eq!(seen(root), before, "a dry run changes nothing");
        let real = run(root, &flags).expect_code(1);
        assert_eq!(real.plan, dry.plan);
        // Nothing is left of what went, not even its directories, and all of the rest is.
        let gone: BTreeSet<String> = before.difference(&seen(root)).cloned().collect();
        let ids = |ids: &BTreeSet<String>| -> BTreeSet<String> {
            let id =
                |path: &String| path.split_once("/_uploads/").map(|(_, rest)| rest.split('/').next().expect("a name").to_owned());
            ids.iter().filter_map(id).collect()
        };
        assert_eq!(ids(&gone), ids(&expected()));
        assert!(ids(&seen(root)).is_disjoint(&ids(&expected())), "{:?}", seen(root));
        assert!(gone.iter().all(|path| path.contains("/_uploads/")), "{gone:?}");
        let report = real.report();
        assert_eq!(report["scanned"]["uploads"], CASES.len(), "{report}");
        assert_eq!((&report["removed"]["upload_files"], &report["left"]), (&10.into(), &0.into()), "{report}");
        // Named: an unknown file, an odd state, a link, and a name that no registry gives.
        let named: BTreeSet<String> = real.findings().into_iter().filter_map(|finding| finding.path).collect();
        for (id, name) in
            [("9unknown", "/notes.txt"), ("10odd-state", "/hashstates/sha256/00"), ("11link", "/data"), ("13_name", "")]
        {
            assert!(named.contains(&format!("{}{name}", upload("team/app", id))), "{id}: {named:?}");
        }
        assert_eq!(run(root, &flags).expect_code(1).paths(), [""; 0], "and then there is nothing more");
    }
}

#[test]
fn without_the_flag_uploads_are_counted_and_stay() {
    let root = all_cases().on_disk();
    let before = seen(root.path());
    let metrics = root.path().parent().expect("a directory").join("uploads.prom");
    let report = run(root.path(), &["--metrics", metrics.to_str().expect("UTF-8")]).expect_code(1).report();
    assert_eq!((&report["scanned"]["uploads"], &report["removed"]["upload_files"]), (&CASES.len().into(), &0.into()));
    assert_eq!(seen(root.path()), before);
    let figures = fs::read_to_string(&metrics).expect("written");
    fs::remove_file(&metrics).expect("removed");
    assert!(figures.contains(&format!("regsweep_uploads{{command=\"garbage-collect\"}} {}", CASES.len())), "{figures}");
    let text = Regsweep::gc(root.path()).run().expect_code(1).stdout;
    assert!(text.contains("14 uploads"), "{text}");
}

#[test]
fn what_is_too_short_is_refused_with_the_reason() {
    let root = all_cases().on_disk();
    let before = seen(root.path());
    for (flags, reason) in [
        (&["--uploads-older-than", "30m", "--min-age", "1h"][..], "--min-age (1h)"),
        (&["--uploads-older-than", "23h", "--online"], "24h"),
    ] {
        let refused = run(root.path(), flags).expect_code(2);
        assert!(refused.stderr.contains(reason) && refused.stderr.contains("--uploads-older-than"), "{}", refused.stderr);
    }
    let most = run(root.path(), &[&WEEK[..], &["--max-reclaim", "10"]].concat()).expect_code(2);
    assert!(most.stderr.contains("--max-reclaim"), "{}", most.stderr);
    assert_eq!(seen(root.path()), before);
}

#[test]
fn what_was_quarantined_comes_back_whole_and_stays() {
    let root = all_cases().on_disk();
    let root = root.path();
    let files = || -> BTreeSet<String> {
        let all = snapshot(root).into_iter();
        all.filter(|(path, seen)| !path.starts_with(".regsweep") && !matches!(seen.kind, snapshot::SeenKind::Directory))
            .map(|(path, _)| path)
            .collect()
    };
    let before = files();
    run(root, &[&WEEK[..], &["--quarantine"]].concat()).expect_code(1);
    assert_eq!(before.difference(&files()).count(), 10);
    let list = Regsweep::new().args(["quarantine", "list", "--root"]).arg(root).run().expect_code(0).stdout;
    assert!(list.contains("10 files of uploads"), "{list}");
    let back = Regsweep::new().args(["restore", "--json", "--root"]).arg(root).run().expect_code(0).report();
    assert_eq!(back["restored"]["upload_files"], 10, "{back}");
    assert_eq!(files(), before);
    // What was restored counts as young.
    assert_eq!(run(root, &WEEK).expect_code(1).paths(), [""; 0]);
    // And what waited goes for good.
    let root = all_cases().on_disk();
    run(root.path(), &[&WEEK[..], &["--quarantine"]].concat()).expect_code(1);
    let purge = ["quarantine", "purge", "--json", "--assume-offline", "--root"];
    let purged = Regsweep::new().args(purge).arg(root.path()).run().expect_code(0).report();
    assert_eq!(purged["purged"]["upload_files"], 10, "{purged}");
}

/// Killed at each removal: an upload is there with all that makes it one, or it has no `startedat`, and the next run ends what was begun.
#[test]
fn a_run_that_is_cut_off_leaves_what_everybody_understands() {
    if !has_strace() {
        return;
    }
    let mut kills = 0;
    for number in 1.. {
        let root = all_cases().on_disk();
        let root = root.path();
        let status = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat", "-e"])
            .arg(format!("inject=unlinkat:signal=SIGKILL:when={number}"))
            .arg(env!("CARGO_BIN_EXE_regsweep"))
            .args(["garbage-collect", "--ignore-birth-time", "--jobs", "1"])
            .args(WEEK)
            .arg("--root")
            .arg(root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("strace runs");
        for (id, _, goes) in CASES.iter().filter(|(.., goes)| goes.contains(&"startedat")) {
            let there = |name: &str| root.join(upload("team/app", id)).join(name).exists();
            assert!(!there("startedat") || goes.iter().all(|name| there(name)), "{number}: {id}");
        }
        run(root, &WEEK).expect_code(1);
        // Directories that the run emptied before it was killed are as young as that.
        let left = seen(root).into_iter().filter(|path| path.contains("/_uploads/0old") && root.join(path).is_file()).count();
        assert_eq!(left, 0, "{number}");
        // It came to its end, and one of the uploads is of the future.
        if status.code() == Some(1) {
            break;
        }
        kills += 1;
        assert!(kills < 1000, "no run comes to its end: {status:?}");
    }
    assert!(kills > 9, "only {kills}");
}

/// Sends a part, and gives where the upload goes on.
fn patch(client: &Client, place: &str, bytes: &[u8], from: usize) -> (u16, String, String) {
    let range = format!("{from}-{}", from + bytes.len() - 1);
    let headers = [("Content-Type", "application/octet-stream"), ("Content-Range", range.as_str())];
    let answer = client.send("PATCH", place, &headers, bytes);
    let next = answer.headers.get("location").map_or_else(String::new, |next| {
        next.split_once("//").map_or(next.clone(), |(_, rest)| rest[rest.find('/').unwrap_or_default()..].to_owned())
    });
    (answer.status, next, String::from_utf8_lossy(&answer.body).into_owned())
}

fn finish(client: &Client, place: &str, content: &Content) -> u16 {
    let joint = if place.contains('?') { '&' } else { '?' };
    client.send("PUT", &format!("{place}{joint}digest={}", content.digest), &[], &[]).status
}

/// Lets all uploads be so old, by all that they say.
fn age_uploads(registry: &RealRegistry, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    let files = walkdir::WalkDir::new(registry.root()).into_iter().map(|entry| entry.expect("listable"));
    for entry in files.filter(|entry| entry.path().components().any(|part| part.as_os_str() == "_uploads")) {
        if entry.file_name() == "startedat" {
            fs::write(entry.path(), time(then)).expect("written");
        }
        fs::File::open(entry.path()).and_then(|file| file.set_modified(then)).expect("a time can be set");
    }
}

fn at_work(registry: &RealRegistry, flags: &[&str], hours: u64) -> Outcome {
    age_uploads(registry, hours);
    Regsweep::gc_config(&registry.config()).args(flags).json().run()
}

#[test]
fn the_registry_goes_on_with_what_was_kept_and_knows_nothing_of_what_went() {
    let registry = RealRegistry::start();
    let client = registry.client();
    client.push_tag("a", "v1", &oci_image("kept", &[layer(1)]));
    let content = layer(5);
    let (first, rest) = content.bytes.split_at(2);
    let (status, place, said) = patch(&client, &client.begin_upload("a"), first, 0);
    assert_eq!(status, 202, "{said}");
    let online = ["--online", "--rescue-for", "0s", "--uploads-older-than", "24h"];
    // Younger than that: it goes on as if nothing had been.
    let kept = at_work(&registry, &online, 23).expect_code(0);
    assert_eq!(kept.rows_of("upload"), [], "{}", kept.stdout);
    let (status, place, said) = patch(&client, &place, rest, first.len());
    assert_eq!(status, 202, "{said}");
    assert_eq!(finish(&client, &place, &content), 201);

    let (status, place, _) = patch(&client, &client.begin_upload("a"), first, 0);
    assert_eq!(status, 202);
    let gone = at_work(&registry, &online, 25).expect_code(0);
    assert!(gone.rows_of("upload").len() >= 3, "{}", gone.stdout);
    assert_eq!(gone.report()["removed"]["upload_files"], gone.rows_of("upload").len(), "{}", gone.stdout);
    assert!(gone.report()["quarantine"]["rescued"]["upload_files"].is_null(), "{}", gone.stdout);
    let (status, _, said) = patch(&client, &place, rest, first.len());
    assert!(status == 404 && said.contains("BLOB_UPLOAD_UNKNOWN"), "{status} {said}");
    // Undone: it goes on where it was.
    let restore = Regsweep::new().args(["restore", "--all"]).arg(registry.config()).run();
    assert!(matches!(restore.code, Some(0)), "{}{}", restore.stdout, restore.stderr);
    let (status, place, said) = patch(&client, &place, rest, first.len());
    assert_eq!(status, 202, "{said}");
    assert_eq!(finish(&client, &place, &content), 201);
}

#[test]
fn a_new_push_works_after_uploads_went() {
    let mut registry = RealRegistry::stopped();
    // What it gives out to go on with is good after a restart, too.
    registry.configure(Settings { http: ", secret: s".into(), ..Settings::default() });
    registry.restart();
    let client = registry.client();
    client.push_tag("a", "v1", &oci_image("kept", &[layer(1)]));
    let content = layer(5);
    let (_, place, _) = patch(&client, &client.begin_upload("a"), &content.bytes[..2], 0);
    // Begun, nothing sent; and cancelled.
    client.begin_upload("a");
    let cancelled = client.begin_upload("a");
    client.send("DELETE", &cancelled, &[], &[]).expect_status(204);
    registry.stop();
    let flags = ["--assume-offline", "--uploads-older-than", "24h"];
    let gone = at_work(&registry, &flags, 25).expect_code(0);
    assert_eq!(gone.report()["scanned"]["uploads"], 3, "{}", gone.stdout);
    let left = fs::read_dir(registry.root().join(upload("a", "x")).parent().expect("a directory")).expect("listable").count();
    assert_eq!(left, 0);
    registry.restart();
    let client = registry.client();
    let (status, _, said) = patch(&client, &place, &content.bytes[2..], 2);
    assert!(status == 404 && said.contains("BLOB_UPLOAD_UNKNOWN"), "{status} {said}");
    client.push_tag("a", "v2", &oci_image("new", &[content]));
    client.pull("a", "v2").expect("pushed");
    client.pull("a", "v1").expect("kept");
}

/// What is put among two uploads that are old enough: given their directory and one elsewhere. And which of the two go all the same.
type Put = (fn(&Path, &Path), &'static [&'static str]);

/// An upload that is a symbolic link is left alone, and so is one that such a link names; wherever it leads, no run stops for it.
#[test]
fn what_lies_behind_a_link_stays_and_stops_nobody() {
    let cases: [Put; 6] = [
        (|uploads, _| symlink("0old", uploads.join("2link")).expect("made"), &["1old"]),
        (
            |uploads, elsewhere| {
                fs::rename(uploads.join("0old"), elsewhere.join("0old")).expect("moved");
                symlink(elsewhere.join("0old"), uploads.join("0old")).expect("made");
            },
            &["1old"],
        ),
        (|uploads, _| symlink("/nowhere/at/all", uploads.join("2link")).expect("made"), &["0old", "1old"]),
        (|uploads, _| symlink("2link", uploads.join("2link")).expect("made"), &["0old", "1old"]),
        (|uploads, elsewhere| symlink(elsewhere, uploads.join("2link")).expect("made"), &["0old", "1old"]),
        (|uploads, elsewhere| symlink(elsewhere.join("x"), uploads.join("2link")).expect("made"), &["0old", "1old"]),
    ];
    for (number, (put, expected)) in cases.into_iter().enumerate() {
        for flags in [&[][..], &["--quarantine"]] {
            let root = two_old().on_disk();
            let elsewhere = tempfile::tempdir().expect("a directory");
            let uploads = root.path().join(UPLOADS);
            put(&uploads, elsewhere.path());
            let behind = snapshot(elsewhere.path());
            let flags = [flags, &WEEK].concat();
            let dry = run(root.path(), &[&flags[..], &["--dry-run"]].concat()).expect_code(1);
            assert_eq!(ids(&dry), expected, "{number}: {}", dry.stdout);
            let real = run(root.path(), &flags).expect_code(1);
            assert_eq!(real.plan, dry.plan, "{number}");
            assert_eq!(real.report()["left"], 0, "{number}");
            let named: Vec<String> = real.finding_codes();
            assert_eq!(named, ["behind-symlink"], "{number}: {}", real.stdout);
            for id in ["0old", "1old"] {
                assert_eq!(uploads.join(id).exists(), !expected.contains(&id), "{number}: {id}");
            }
            assert_eq!(snapshot(elsewhere.path()), behind, "{number}");
            assert_eq!(run(root.path(), &flags).expect_code(1).paths(), [""; 0], "{number}: and then there is nothing more");
        }
        // All of the repository: what is behind the link stays, and so do the directories around it.
        let root = two_old().on_disk();
        let elsewhere = tempfile::tempdir().expect("a directory");
        put(&root.path().join(UPLOADS), elsewhere.path());
        // Somebody may be pushing through a link as well.
        fs::File::open(elsewhere.path()).and_then(|file| file.set_modified(SystemTime::now() - days(10))).expect("ours");
        let behind = snapshot(elsewhere.path());
        let remove = || Regsweep::remove(root.path()).args(["team/app", "--ignore-birth-time", "--json"]);
        let dry = remove().dry().run().expect_code(1);
        let real = remove().run().expect_code(1);
        assert_eq!((real.plan.clone(), ids(&real)), (dry.plan, expected.iter().map(ToString::to_string).collect()), "{number}");
        assert_eq!(real.report()["left"], 0, "{number}: {}", real.stdout);
        assert_eq!(snapshot(elsewhere.path()), behind, "{number}");
        assert!(fs::read_dir(root.path().join(UPLOADS)).expect("there").next().is_some(), "{number}");
    }
}

/// The same for an upload with another filesystem in it, or in its place.
#[test]
fn what_is_mounted_among_uploads_stays() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for within in ["0old", "0old/hashstates", "0old/hashstates/sha256"] {
        let root = two_old().on_disk();
        let at = root.path().join(UPLOADS).join(within);
        let mount = format!("mount --bind '{0}' '{0}' && exec \"$0\" \"$@\"", at.display());
        let run = || Regsweep::gc(root.path()).args(WEEK).json().under(["unshare", "-m", "sh", "-ec", &mount]);
        let before = snapshot(&root.path().join(UPLOADS).join("0old"));
        let dry = run().dry().run();
        let real = run().run();
        assert_eq!(
            (ids(&dry), &real.plan, real.code),
            (vec!["1old".to_owned()], &dry.plan, dry.code),
            "{within}: {}",
            dry.stdout
        );
        assert!(matches!(real.code, Some(0 | 1)) && real.report()["left"] == 0, "{within}: {}", real.stdout);
        assert_eq!(snapshot(&root.path().join(UPLOADS).join("0old")), before, "{within}");
    }
}

const UPLOADS: &str = "docker/registry/v2/repositories/team/app/_uploads";

/// Two uploads that nobody continued, beside an image.
fn two_old() -> Tree {
    let mut tree = registry().repo("team/app").image("kept", &[layer(1)]).tag("v1").into_tree();
    for id in ["0old", "1old"] {
        let at = upload("team/app", id);
        let begun = time(tree.now() - days(10));
        tree.upload("team/app", id, b"12345").file(format!("{at}/startedat"), begun).touch(&at, days(10));
    }
    tree
}

/// The uploads of which anything goes.
fn ids(outcome: &Outcome) -> Vec<String> {
    let ids: BTreeSet<String> = outcome
        .paths()
        .iter()
        .filter_map(|path| path.split_once("/_uploads/").map(|(_, rest)| rest.split('/').next().expect("a name").to_owned()))
        .collect();
    ids.into_iter().collect()
}
