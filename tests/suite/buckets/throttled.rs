//! A server that is busy for a while: fewer requests are under way then, and more again after it.

use super::*;
use crate::support::bucket::Moto;
use crate::support::proxy::Proxy;

/// Blobs, each read by one request.
const BLOBS: u64 = 700;
/// Between the requests of these numbers the server answers few at once.
const BUSY: std::ops::Range<usize> = 150..400;

#[test]
fn fewer_requests_are_under_way_while_a_server_is_busy_and_more_again_after_it() {
    let Some(moto) = Moto::start() else { return };
    moto.make("throttled");
    let mut store = registry().repo("app").image("one", &[layer(0)]).tag("v1");
    for number in 1..BLOBS {
        store = store.stray_blob(&layer(number));
    }
    let tree = store.into_tree();
    let tree = &tree;
    std::thread::scope(|scope| {
        for some in 0..4 {
            let moto = &moto;
            let files = tree.files().enumerate().filter(move |(number, _)| number % 4 == some);
            scope.spawn(move || files.for_each(|(_, (path, content, _))| moto.put_object("throttled", path, content)));
        }
    });
    let proxy = Proxy::start(moto.address());
    let config = moto.config("c.yml", proxy.address(), "throttled", "");
    // From now on the proxy knows all answers by itself.
    let whole = on(&config, "verify --json --jobs 64").run().expect_code(0).report();
    proxy.throttle(BUSY, 3);
    let told = on(&config, "verify --json --jobs 64").run().expect_code(0).report();
    assert_eq!(differences("", &facts(&told), &facts(&whole)), Vec::<String>::new(), "nothing is lost");
    let at_once = proxy.at_once();
    assert!(at_once.len() > BLOBS as usize, "{}", at_once.len());
    let most =
        |numbers: std::ops::Range<usize>| at_once[numbers].iter().map(|(under_way, _)| *under_way).max().unwrap_or_default();
    let refused = |numbers: std::ops::Range<usize>| at_once[numbers].iter().filter(|(_, is_refused)| *is_refused).count();
    let (before, busy, after) = (most(0..BUSY.start), most(BUSY.end - 100..BUSY.end), most(at_once.len() - 150..at_once.len()));
    let (at_first, later) = (refused(BUSY.start..BUSY.start + 100), refused(BUSY.end - 100..BUSY.end));
    let figures = format!("{before}, {busy}, {after} at once; {at_first}, {later} refused: {at_once:?}");
    assert!(before > 12 && before <= 64, "{figures}");
    assert!(busy <= before / 2 && after > busy, "{figures}");
    // Whoever asks on as before is refused most of the time.
    assert!(at_first > 3 && later < 28, "{figures}");
}
