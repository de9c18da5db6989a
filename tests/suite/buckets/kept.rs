//! Manifests that are kept from run to run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::support::bucket::{BucketRegistry, Moto, SECRET_KEY};
use crate::support::proxy::Proxy;

/// Runs on one bucket that have one home.
struct Home {
    proxy: Proxy,
    config: PathBuf,
    home: TempDir,
}

impl Home {
    fn new(moto: &Moto, bucket: &str, more: &str) -> Home {
        let proxy = Proxy::start(moto.address());
        let config = moto.config(&format!("{bucket}-kept.yml"), proxy.address(), bucket, more);
        Home { proxy, config, home: tempfile::tempdir().expect("a directory") }
    }

    fn run(&self, line: &str) -> Outcome {
        self.proxy.begin(None);
        self.proxy.forget();
        on(&self.config, line).env("XDG_CACHE_HOME", self.home.path().to_str().expect("text")).run()
    }

    /// Which objects of the registry the last run read.
    fn read(&self) -> Vec<String> {
        let log = self.proxy.log().into_iter();
        let reads =
            log.filter(|(method, path)| method == "GET" && path.contains("/docker/registry/") && !path.contains("list-type=2"));
        reads.map(|(_, path)| path).collect()
    }

    fn file(&self) -> PathBuf {
        let directory = self.home.path().join("regsweep");
        let all: Vec<PathBuf> = fs::read_dir(&directory).expect("made").map(|entry| entry.expect("listed").path()).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        all.into_iter().next().expect("one")
    }
}

#[test]
fn a_second_run_reads_nothing_but_listings() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("again", "p/", &tree());
    let home = Home::new(&moto, "again", ", rootdirectory: /p");
    let first = home.run(DRY).expect_code(0);
    let manifests = home.read().len();
    assert!(manifests > 5, "{manifests}");
    let requests = |outcome: &Outcome, kind: &str| outcome.report()["requests"][kind].as_u64().expect("a number");
    let second = home.run(DRY).expect_code(0);
    assert_eq!(home.read(), Vec::<String>::new());
    println!("first run: {}, second run: {}", first.report()["requests"], second.report()["requests"]);
    assert_eq!(requests(&first, "list"), requests(&second, "list"));
    assert_eq!(requests(&first, "get"), requests(&second, "get") + manifests as u64, "only notes of our own are read");
    assert_eq!(differences("", &facts(&first.report()), &facts(&second.report())), Vec::<String>::new());
    // What one command read, another one has.
    for line in ["audit --min-age 0s --json", "usage --min-age 0s --json"] {
        home.run(line);
        assert_eq!(home.read(), Vec::<String>::new(), "{line}");
    }
    home.run(&format!("{DRY} --no-cache")).expect_code(0);
    assert_eq!(home.read().len(), manifests);
    // Nobody else may read it, and nothing in it opens the bucket.
    let file = home.file();
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let content = fs::read(&file).expect("readable");
    assert!(!content.windows(SECRET_KEY.len()).any(|part| part == SECRET_KEY.as_bytes()));
}

#[test]
fn what_changed_in_the_bucket_is_read_again() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("changed", "", &tree());
    let home = Home::new(&moto, "changed", "");
    home.run(DRY).expect_code(0);
    // Truncated, and with another content of the same length.
    let one = oci_image("two", &[layer(1), layer(3)]);
    let other = oci_image("three", &[layer(1), layer(5)]);
    let [one, other] = [&one, &other].map(|image| layout::blob_data(image.digest()));
    let whole = moto.object("changed", &other).expect("there");
    moto.put_object("changed", &one, b"{");
    moto.put_object("changed", &other, &vec![b' '; whole.len()]);
    let line = format!("{DRY} -m");
    let with = home.run(&line);
    let read: BTreeSet<String> = home.read().into_iter().collect();
    assert_eq!(read.len(), 2, "{read:?}");
    assert!([&one, &other].iter().all(|key| read.iter().any(|path| path.ends_with(*key))), "{read:?}");
    let without = home.run(&format!("{line} --no-cache"));
    assert_eq!(differences("", &facts(&with.report()), &facts(&without.report())), Vec::<String>::new());
    assert!(found(&with.report()).iter().any(|(code, _)| code == "corrupt-manifest"), "{:?}", found(&with.report()));
    // `verify` reads all, and says the same.
    let verified = found(&home.run("verify --json").report());
    assert_eq!(verified.iter().filter(|(code, _)| code == "corrupt-blob").count(), 2, "{verified:?}");
}

#[test]
fn what_is_wrong_with_what_was_kept_is_said_once_and_costs_no_more() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("doubt", "", &tree());
    let home = Home::new(&moto, "doubt", "");
    let first = home.run(DRY).expect_code(0);
    let manifests = home.read().len();
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 5] = [
        ("it is damaged", |file| {
            let mut content = fs::read(file).expect("readable");
            content.iter_mut().skip(200).step_by(50).for_each(|byte| *byte ^= 1);
            fs::write(file, content).expect("written");
        }),
        ("it is damaged", |file| fs::write(file, "").expect("written")),
        ("another version of regsweep wrote it", |file| {
            let mut content = fs::read(file).expect("readable");
            content[19] = 99;
            fs::write(file, content).expect("written");
        }),
        ("others may write to it", |file| {
            fs::set_permissions(file, fs::Permissions::from_mode(0o666)).expect("set");
        }),
        ("cannot write in", |file| {
            let directory = file.parent().expect("a directory").to_owned();
            fs::remove_dir_all(&directory).expect("ours");
            fs::write(directory, "").expect("written");
        }),
    ];
    for (why, spoil) in spoils {
        spoil(&home.file());
        let outcome = home.run(DRY).expect_code(0);
        assert_eq!(home.read().len(), manifests, "{why}");
        assert_eq!(differences("", &facts(&outcome.report()), &facts(&first.report())), Vec::<String>::new(), "{why}");
        let lines: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains("cache")).collect();
        assert_eq!(lines.len(), 1, "{why}: {}", outcome.stderr);
        if why == "cannot write in" {
            break;
        }
        assert!(lines[0].contains(why), "{}", lines[0]);
        let again = home.run(DRY).expect_code(0);
        assert_eq!((home.read().len(), again.stderr.contains("cache")), (0, false), "{why}: it was made anew");
    }
}

#[test]
fn a_registry_loses_nothing_by_what_was_kept_of_it() {
    let Some(moto) = Moto::start() else { return };
    moto.make("lively");
    let mut registry = BucketRegistry::start(&moto, "lively", "");
    let home = Home::new(&moto, "lively", "");
    let image = |name: &str, number| oci_image(name, &[layer(1), layer(number)]);
    registry.client().push_tag("team/app", "v1", &image("one", 2));
    registry.client().push_tag("team/app", "v2", &image("two", 3));
    registry.client().push_tag("gone", "v1", &image("gone", 4));
    home.run(DRY);
    // A dry run kept them all. What is deleted, collected and pushed again is there afterwards.
    registry.client().delete_manifest("gone", image("gone", 4).digest());
    let collect = "garbage-collect -m --assume-offline --min-age 0s --allow-unlinked 100% --allow-untagged-repositories --json";
    home.run(collect).expect_code(0);
    let gone = layout::blob_data(image("gone", 4).digest());
    assert_eq!(moto.object("lively", &gone), None);
    registry.restart();
    registry.client().push_tag("gone", "v1", &image("gone", 4));
    registry.client().push_tag("team/app", "v3", &image("three", 5));
    home.run(collect).expect_code(0);
    registry.restart();
    for (repository, tag, pushed) in [
        ("team/app", "v1", image("one", 2)),
        ("team/app", "v2", image("two", 3)),
        ("team/app", "v3", image("three", 5)),
        ("gone", "v1", image("gone", 4)),
    ] {
        let pulled = registry.client().pull(repository, tag).expect("pulled");
        assert_eq!(pulled.digest, pushed.digest());
    }
}

#[test]
fn of_a_directory_nothing_is_kept_unless_that_is_asked_for() {
    let (root, home) = (tree().on_disk(), tempfile::tempdir().expect("a directory"));
    let run = |more: &[&str]| {
        let line = format!("{DRY} -m");
        let words = line.split(' ').chain(["--root"]);
        let run = Regsweep::new().args(words).arg(root.path()).args(more);
        run.env("XDG_CACHE_HOME", home.path().join("by-default")).run().expect_code(0).report()
    };
    let without = run(&[]);
    assert_eq!(fs::read_dir(home.path()).expect("listed").count(), 0);
    let directory = home.path().join("here/and/there");
    for _ in 0..2 {
        let with = run(&["--cache", directory.to_str().expect("text")]);
        assert_eq!(differences("", &facts(&with), &facts(&without)), Vec::<String>::new());
        assert_eq!(fs::read_dir(&directory).expect("made").count(), 1);
    }
    // In the registry's own storage it would be taken for a part of that.
    let inside = root.path().join("docker/registry/v2/blobs/not/there");
    let refused = Regsweep::new().args(["audit", "--root"]).arg(root.path()).arg("--cache").arg(&inside).run().expect_code(2);
    assert!(refused.stderr.contains("--cache") && refused.stderr.contains("storage"), "{}", refused.stderr);
    assert!(!inside.exists());
}
