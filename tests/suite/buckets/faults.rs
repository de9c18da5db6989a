//! One request of a dry run goes wrong, each in turn and in every way: the run says so, or it is right.

use super::*;
use crate::support::bucket::Moto;
use crate::support::proxy::{Fault, Proxy};

const FAULTS: [Fault; 8] =
    [Fault::Denied, Fault::Busy, Fault::Late, Fault::Closed, Fault::Cut, Fault::Half, Fault::Again, Fault::Foreign];
/// Faults that are over when the same is asked again.
const PASSING: [Fault; 4] = [Fault::Busy, Fault::Late, Fault::Closed, Fault::Cut];
/// Requests come in the same order each time.
const LINE: &str = "-m --jobs 1";

/// Spoils each request of a run in turn. Gives what was right, and what was said to have failed.
fn spoil_each(moto: &Moto, fault: Fault) -> (usize, usize) {
    let proxy = Proxy::start(moto.address());
    let config = moto.config(&format!("{fault:?}.yml"), proxy.address(), "spoilt", "");
    let line = format!("{DRY} {LINE}");
    let whole = facts(&on(&config, &line).run().expect_code(0).report());
    let asked_for = proxy.log();
    let requests = asked_for.len();
    assert!(requests > 15, "{requests}");
    let (mut right, mut failed) = (0, 0);
    for number in 1..=requests {
        proxy.begin(Some((number, fault)));
        let outcome = on(&config, &line).run();
        let asked = || format!("{fault:?} {number}: {:?}\n{}", proxy.log().get(number - 1), outcome.stderr);
        match outcome.code {
            // Unfinished uploads are not seen then.
            Some(0) if fault == Fault::Denied && asked_for[number - 1].1.contains("?uploads") => {
                let codes: Vec<String> = found(&outcome.report()).into_iter().map(|(code, _)| code).collect();
                assert_eq!(codes, ["unseen-uploads"], "{}", asked());
                right += 1;
            }
            Some(0) => {
                assert_eq!(differences("", &facts(&outcome.report()), &whole), Vec::<String>::new(), "{}", asked());
                // Whether the bucket keeps versions is reported as unknown.
                let is_of_versions = asked_for[number - 1].1.contains("?versioning");
                assert!(fault != Fault::Denied || is_of_versions, "{}", asked());
                assert_eq!(outcome.report()["versions"], if fault == Fault::Denied { "unknown" } else { "none" }, "{}", asked());
                right += 1;
            }
            Some(2) => {
                assert!(outcome.stderr.contains("s3://spoilt/"), "{}", asked());
                assert!(!PASSING.contains(&fault), "{}", asked());
                assert!(fault != Fault::Denied || outcome.stderr.contains("s3:ListBucket"), "{}", asked());
                failed += 1;
            }
            _ => panic!("{:?}: {}", outcome.code, asked()),
        }
    }
    (right, failed)
}

#[test]
fn a_dry_run_is_right_or_says_that_it_could_not_be_done() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("spoilt", "", &tree());
    // A proxy each, so that several are tried at once.
    std::thread::scope(|scope| {
        let tries: Vec<_> = FAULTS
            .map(|fault| {
                (
                    fault,
                    scope.spawn({
                        let moto = &moto;
                        move || spoil_each(moto, fault)
                    }),
                )
            })
            .into_iter()
            .collect();
        for (fault, tried) in tries {
            match tried.join() {
                Ok((right, failed)) => eprintln!("{fault:?}: {right} runs right, {failed} said that they failed"),
                Err(why) => std::panic::resume_unwind(why),
            }
        }
    });
}
