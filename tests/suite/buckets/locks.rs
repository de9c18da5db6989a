//! Two collectors of one bucket.

use std::time::Duration;

use super::*;
use crate::support::bucket::Moto;
use crate::support::proxy::{Fault, Proxy};

const LINE: &str = "garbage-collect --assume-offline --min-age 0s --allow-unlinked 100% --jobs 1";

/// Waits until a proxy was asked for so much.
fn wait_for(proxy: &Proxy, requests: usize) {
    for _ in 0..6000 {
        if proxy.log().len() >= requests {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} of {requests} requests", proxy.log().len());
}

#[test]
fn the_second_of_two_is_refused_and_waits_if_it_is_to() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("two", "", &tree());
    let proxy = Proxy::start(moto.address());
    let (held, free) = (moto.config("held.yml", proxy.address(), "two", ""), moto.config("free.yml", moto.address(), "two", ""));
    // Past the lock, and before the first change.
    proxy.begin(Some((12, Fault::Held)));
    let first = on(&held, LINE).start();
    wait_for(&proxy, 12);
    let refused = on(&free, LINE).run().expect_code(2).stderr;
    assert!(
        refused.contains("another regsweep works on this store (process ") && refused.contains("s3://two/.regsweep/lock"),
        "{refused}"
    );
    let waiting = on(&free, &format!("{LINE} --wait-lock 2m")).start();
    proxy.begin(None);
    first.wait().expect_code(0);
    waiting.wait().expect_code(0);
    assert!(moto.object("two", ".regsweep/lock").is_none());
}

#[test]
fn a_stale_lock_is_taken_over() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("stale", "", &tree());
    let config = moto.config("c.yml", moto.address(), "stale", "");
    let process = r#"{"pid":1,"started":1,"boot":"of another machine","namespace":"pid:[1]"}"#;
    let lock = |seconds: u64| {
        format!(r#"{{"nonce":"x","renewals":3,"lease_seconds":{seconds},"host":"elsewhere","since":"then","process":{process}}}"#)
    };
    moto.put_object("stale", ".regsweep/lock", lock(60).as_bytes());
    let refused = on(&config, LINE).run().expect_code(2).stderr;
    assert!(refused.contains("process 1 on elsewhere, since then"), "{refused}");
    moto.put_object("stale", ".regsweep/lock", lock(1).as_bytes());
    on(&config, &format!("{LINE} --wait-lock 1m")).run().expect_code(0);
    assert!(moto.object("stale", ".regsweep/lock").is_none());
}

#[test]
fn a_server_that_ignores_conditions_is_not_relied_on() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("ignoring", "", &tree());
    let proxy = Proxy::start(moto.address());
    proxy.drop_headers(&["if-none-match:", "if-match:"]);
    let config = moto.config("c.yml", proxy.address(), "ignoring", "");
    let before = moto.keys("ignoring");
    let refused = on(&config, "garbage-collect --min-age 0s --allow-unlinked 100%").run().expect_code(2).stderr;
    assert!(refused.contains("cannot keep another regsweep out") && refused.contains("--assume-offline"), "{refused}");
    assert_eq!(moto.keys("ignoring"), before);
    assert!(moto.object("ignoring", ".regsweep/lock").is_none());
    let outcome = on(&config, LINE).run().expect_code(0);
    assert!(outcome.stderr.contains("runs without a lock"), "{}", outcome.stderr);
    assert!(moto.keys("ignoring").len() < before.len());
}

#[test]
fn the_lock_of_a_killed_run_is_in_nobodys_way_on_its_machine() {
    let Some(moto) = Moto::start() else { return };
    let tree = tree();
    moto.fill("killed", "", &tree);
    let proxy = Proxy::start(moto.address());
    let (held, free) =
        (moto.config("held.yml", proxy.address(), "killed", ""), moto.config("free.yml", moto.address(), "killed", ""));
    proxy.begin(None);
    on(&held, &format!("{LINE} -m")).run().expect_code(0);
    let (log, after) = (proxy.log(), moto.keys("killed"));
    let is_change = |(method, _): &(String, String)| method != "GET" && method != "HEAD";
    let changes: Vec<usize> = (1..=log.len()).filter(|number| is_change(&log[number - 1])).collect();
    for number in changes {
        for (path, content, _) in tree.files().filter(|(path, ..)| !after.contains(*path)) {
            moto.put_object("killed", path, content);
        }
        proxy.begin(Some((number, Fault::Held)));
        let mut run = on(&held, &format!("{LINE} -m")).start();
        wait_for(&proxy, number);
        run.child.kill().expect("ours");
        assert_eq!(run.wait().code, None);
        proxy.begin(None);
        assert!(after.is_subset(&moto.keys("killed")), "{number}: {:?}", log[number - 1]);
        let outcome = on(&free, &format!("{LINE} -m")).run();
        assert_eq!(outcome.code, Some(0), "{number} {:?}: {}{}", log[number - 1], outcome.stdout, outcome.stderr);
        assert_eq!(moto.keys("killed"), after, "{number}: {:?}", log[number - 1]);
        assert!(moto.object("killed", ".regsweep/lock").is_none());
    }
}
