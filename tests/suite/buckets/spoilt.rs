//! One request of a real run goes wrong, each in turn and in every way: nothing that is needed is lost, the run says so, and the next one
//! finishes.

use super::*;
use crate::support::bucket::Moto;
use crate::support::proxy::{Fault, Proxy};

const FAULTS: [Fault; 8] =
    [Fault::Denied, Fault::Busy, Fault::Closed, Fault::Cut, Fault::Half, Fault::Again, Fault::Foreign, Fault::OneDenied];
/// Requests come in the same order each time.
const LINE: &str = "garbage-collect -m --jobs 1 --assume-offline --min-age 0s --allow-unlinked 100% --json";

/// Two images and garbage of each kind that a sweep removes.
fn few() -> Tree {
    let app = registry().repo("app").image("one", &[layer(1), layer(2)]).tag("v1").image("two", &[layer(1), layer(3)]).tag("v1");
    app.upload_layer(&layer(4)).stray_blob(&layer(5)).into_tree()
}

/// The requests of a run from which on it may change something, and those for its lock.
fn of_changes(log: &[(String, String)]) -> Vec<usize> {
    let is_change = |(method, path): &(String, String)| method != "GET" && method != "HEAD" && !path.contains("/lock");
    let first = log.iter().position(is_change).expect("something is removed");
    (0..log.len()).filter(|index| *index >= first || log[*index].1.contains("/lock")).map(|index| index + 1).collect()
}

/// Spoils each of these requests in turn. Gives how many runs were done, and how many said that they were not.
fn spoil_each(moto: &Moto, fault: Fault) -> (usize, usize) {
    let bucket = format!("spoilt-{fault:?}").to_lowercase();
    let tree = few();
    moto.fill(&bucket, "", &tree);
    let proxy = Proxy::start(moto.address());
    let [config, direct] = [proxy.address(), moto.address()].map(|address| {
        let name = format!("{bucket}-{}.yml", address.replace(':', "-"));
        moto.config(&name, address, &bucket, "")
    });
    let whole = on(&config, LINE).run().expect_code(0).report();
    let (log, after) = (proxy.log(), moto.keys(&bucket));
    let numbers = of_changes(&log);
    assert!(numbers.len() > 15 && after.len() < tree.files().count(), "{numbers:?}");
    let (mut done, mut failed) = (0, 0);
    for number in some_of(&numbers, 2) {
        for (path, content, _) in tree.files().filter(|(path, ..)| !after.contains(*path)) {
            moto.put_object(&bucket, path, content);
        }
        proxy.begin(Some((number, fault)));
        let outcome = on(&config, LINE).run();
        let asked = || format!("{fault:?} {number}: {:?}\n{}{}", log[number - 1], outcome.stdout, outcome.stderr);
        proxy.begin(None);
        let keys = moto.keys(&bucket);
        assert!(after.is_subset(&keys), "{}", asked());
        match outcome.code {
            Some(0) => {
                assert_eq!(keys, after, "{}", asked());
                let report = outcome.report();
                assert_eq!((&report["removed"], &report["left"]), (&whole["removed"], &whole["left"]), "{}", asked());
                done += 1;
            }
            Some(2) => {
                assert_eq!(keys.len(), tree.files().count(), "{}", asked());
                failed += 1;
            }
            Some(3) => {
                assert!(!outcome.report()["findings"].as_array().is_some_and(Vec::is_empty), "{}", asked());
                failed += 1;
            }
            _ => panic!("{:?}: {}", outcome.code, asked()),
        }
        let again = on(&direct, LINE).run();
        assert_eq!(again.code, Some(0), "{}: {}{}", asked(), again.stdout, again.stderr);
        assert_eq!(moto.keys(&bucket), after, "{}", asked());
    }
    (done, failed)
}

#[test]
fn a_run_loses_nothing_says_what_is_left_and_the_next_one_finishes() {
    let Some(moto) = Moto::start() else { return };
    // A proxy and a bucket each, so that several are tried at once.
    let moto = &moto;
    std::thread::scope(|scope| {
        let tries = FAULTS.map(|fault| (fault, scope.spawn(move || spoil_each(moto, fault))));
        for (fault, tried) in tries {
            match tried.join() {
                Ok((done, failed)) => {
                    eprintln!("{fault:?}: {done} runs done, {failed} said that something is left");
                    assert!(done > 0 && (failed > 0 || !matches!(fault, Fault::Denied | Fault::OneDenied)), "{fault:?}");
                }
                Err(why) => std::panic::resume_unwind(why),
            }
        }
    });
}
