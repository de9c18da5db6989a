//! What keeps a run from a bucket, and what it must not do there.

use std::net::TcpListener;

use super::*;
use crate::support::bucket::{ACCESS_KEY, Moto, SECRET_KEY};
use crate::support::proxy::{Fault, Proxy};

/// Nothing of the credentials is in what was printed.
#[track_caller]
fn ensure_hidden(outcome: &Outcome) {
    for secret in [ACCESS_KEY, SECRET_KEY] {
        assert!(!outcome.stdout.contains(secret) && !outcome.stderr.contains(secret), "{}{}", outcome.stdout, outcome.stderr);
    }
}

#[test]
fn what_needs_a_quarantine_changes_nothing_in_a_bucket() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("kept", "", &tree());
    let proxy = Proxy::start(moto.address());
    let config = moto.config("c.yml", proxy.address(), "kept", "");
    for line in [
        "garbage-collect --assume-offline -m --quarantine",
        "garbage-collect --online",
        "verify --quarantine",
        "restore",
        "quarantine purge --assume-offline",
    ] {
        let line = line.replace("quarantine purge", "quarantine");
        let run = match line.split_once(' ') {
            Some(("quarantine", rest)) => {
                Regsweep::new().args(["quarantine", "purge"]).arg(&config).args(rest.split_whitespace())
            }
            _ => on(&config, &line),
        };
        let outcome = run.run().expect_code(2);
        assert!(outcome.stderr.contains("s3://kept is a bucket, and nothing is quarantined"), "{line}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("without --quarantine and --online"), "{line}: {}", outcome.stderr);
    }
    for line in [DRY, "audit", "usage", "list", "verify", "explain team/app:v1"] {
        let outcome = on(&config, line).run();
        assert!(matches!(outcome.code, Some(0 | 1)), "{line}: {}", outcome.stderr);
    }
    let changes: Vec<_> = proxy.log().into_iter().filter(|(method, _)| method != "GET" && method != "HEAD").collect();
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn credentials_are_shown_nowhere() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("hidden", "", &tree());
    let proxy = Proxy::start(moto.address());
    let config = moto.config("c.yml", proxy.address(), "hidden", "");
    for line in [DRY, "audit", "usage", "list", "verify", "explain team/app:v1", "garbage-collect"] {
        for fault in [None, Some((2, Fault::Denied)), Some((1, Fault::Foreign))] {
            proxy.begin(fault);
            let verbose = if line == DRY { "" } else { " --verbose" };
            ensure_hidden(&on(&config, &format!("{line}{verbose}")).env("RUST_LOG", "trace").run());
        }
    }
    assert!(std::fs::read_to_string(&config).expect("readable").contains(SECRET_KEY), "or nothing would be hidden");
}

#[test]
fn who_may_not_ask_is_told_what_to_do() {
    let Some(moto) = Moto::start() else { return };
    moto.make("there");
    let proxy = Proxy::start(moto.address());
    let denied = moto.config("c.yml", proxy.address(), "there", "");
    proxy.begin(Some((1, Fault::Denied)));
    let outcome = on(&denied, "list").run().expect_code(2);
    assert!(outcome.stderr.contains("AccessDenied"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the credentials need s3:ListBucket on the bucket and s3:GetObject"), "{}", outcome.stderr);
    let absent = moto.config("absent.yml", moto.address(), "not-there", "");
    let outcome = on(&absent, "list").run().expect_code(2);
    assert!(outcome.stderr.contains("NoSuchBucket") && outcome.stderr.contains("check the bucket's name"), "{}", outcome.stderr);
    // Nobody listens there any more.
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").to_string();
    let outcome = on(&moto.config("nobody.yml", &nobody, "there", ""), "list").run().expect_code(2);
    assert!(outcome.stderr.contains("cannot list s3://there"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("check the endpoint"), "{}", outcome.stderr);
}

#[test]
fn without_credentials_it_is_said_where_they_are_looked_for() {
    let Some(moto) = Moto::start() else { return };
    moto.make("there");
    let nowhere = tempfile::tempdir().expect("a directory");
    let run = Regsweep::new().args(["list", "--root", "s3://there", "--endpoint", &format!("http://{}", moto.address())]);
    let variables = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"];
    let run = variables.iter().fold(run, |run, name| run.env(name, ""));
    let outcome = run.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", nowhere.path()).run().expect_code(2);
    assert!(outcome.stderr.contains("credential") && outcome.stderr.contains("accesskey"), "{}", outcome.stderr);
}

#[test]
fn an_empty_bucket_is_one_that_no_registry_has_used() {
    let Some(moto) = Moto::start() else { return };
    moto.make("empty");
    let outcome = on(&moto.config("c.yml", moto.address(), "empty", ""), DRY).run().expect_code(0);
    assert_eq!(outcome.report()["unused"], true);
}
