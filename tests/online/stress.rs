//! Six pushers and a collector in a tight loop.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::http::Client;
use crate::support::redis_server::RedisServer;
use crate::support::server::{RealRegistry, Settings};
use crate::support::*;

const PUSHERS: u64 = 6;
const REPOSITORIES: [&str; 3] = ["a", "b", "team/c"];
/// Few, so that they are shared, go and come back.
const LAYERS: u64 = 36;
const IMAGES: u64 = 30;
/// Tags of each pusher that are overwritten again and again.
const TAGS: u64 = 3;

/// What a stress came to.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pushes: u64,
    failed: u64,
    deleted: u64,
    pub(crate) collections: u64,
    restored: u64,
    purged: u64,
    pub(crate) acknowledged: u64,
    pub(crate) broken: Vec<String>,
    /// Broken by the registry itself, which was killed while it wrote a link.
    torn: u64,
}

/// Images by repository and tag that were acknowledged and not touched since.
type Acknowledged = BTreeMap<(&'static str, String), String>;

struct Pusher {
    number: u64,
    client: Client,
    random: u64,
    acknowledged: Acknowledged,
    pushes: u64,
    failed: u64,
    deleted: u64,
}

impl Pusher {
    fn below(&mut self, limit: u64) -> u64 {
        // Any mixture will do.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit
    }

    fn run(mut self, until: Instant) -> Self {
        while Instant::now() < until {
            let repository = REPOSITORIES[self.below(3) as usize];
            let image = self.image();
            if self.below(8) == 0 {
                self.delete(repository, &image);
            } else {
                self.push(repository, &image);
            }
        }
        self
    }

    /// One of a few of its own, of layers that it shares with the others.
    fn image(&mut self) -> Image {
        let number = self.below(IMAGES);
        let layers = [number, number + self.number, 3 * number + 1].map(|layer_number| layer(layer_number % LAYERS));
        oci_image(&format!("{}-{number}", self.number), &layers)
    }

    fn push(&mut self, repository: &'static str, image: &Image) {
        self.pushes += 1;
        // Some without a tag, which nobody promises to keep, some with one that they had before, and some with a new one.
        let tag = match self.below(4) {
            0 => None,
            1 => Some(format!("p{}-{}", self.number, self.pushes % TAGS)),
            _ => Some(format!("p{}-new-{}", self.number, self.pushes)),
        };
        if let Some(tag) = &tag {
            // Whatever becomes of the request, nobody knows what the tag names until it is answered.
            self.acknowledged.remove(&(repository, tag.clone()));
        }
        let is_pushed = image.blobs.iter().all(|blob| self.provide(repository, blob)) && {
            let reference = tag.as_deref().unwrap_or(image.digest());
            self.status("PUT", &format!("/v2/{repository}/manifests/{reference}"), image.media_type, &image.manifest.bytes) == 201
        };
        match tag {
            _ if !is_pushed => self.failed += 1,
            Some(tag) => drop(self.acknowledged.insert((repository, tag), image.digest().to_owned())),
            None => {}
        }
    }

    /// As clients do: asks for it, mounts it from elsewhere, or uploads it.
    fn provide(&mut self, repository: &str, blob: &Content) -> bool {
        if self.status("HEAD", &format!("/v2/{repository}/blobs/{}", blob.digest), "", &[]) == 200 {
            return true;
        }
        if self.below(2) == 0 {
            let from = REPOSITORIES[self.below(3) as usize];
            let mount = format!("/v2/{repository}/blobs/uploads/?mount={}&from={from}", blob.digest);
            if self.status("POST", &mount, "", &[]) == 201 {
                return true;
            }
        }
        let begun = self.client.try_send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], &[]);
        let Some(place) = begun.ok().and_then(|answer| answer.headers.get("location").cloned()) else { return false };
        let path = place.find("/v2/").map_or(place.as_str(), |slash| &place[slash..]);
        let joint = if path.contains('?') { '&' } else { '?' };
        self.status("PUT", &format!("{path}{joint}digest={}", blob.digest), "application/octet-stream", &blob.bytes) == 201
    }

    fn delete(&mut self, repository: &'static str, image: &Image) {
        self.acknowledged.retain(|(place, _), digest| *place != repository || digest != image.digest());
        let path = format!("/v2/{repository}/manifests/{}", image.digest());
        self.deleted += u64::from(self.status("DELETE", &path, "", &[]) == 202);
    }

    fn status(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> u16 {
        let typed = [("Content-Type", media_type)];
        let headers = if media_type.is_empty() { &[][..] } else { &typed };
        self.client.try_send(method, path, headers, body).map_or(0, |answer| answer.status)
    }
}

/// Something that is done beside the pushers.
pub(crate) type Step = dyn Fn(&mut RealRegistry, &mut Figures) + Sync;

/// Lets six pushers and a collector at one registry; then looks what is broken, before and after a restart.
pub(crate) fn stress(seconds: u64, settings: Settings, collect: &Step, at_night: &Step) -> Figures {
    let mut registry = RealRegistry::stopped();
    registry.configure(settings);
    registry.restart();
    registry.client().push_tag("other", "v1", &oci_image("bystander", &[layer(77)]));
    let until = Instant::now() + Duration::from_secs(seconds);
    let is_over = AtomicBool::new(false);
    let mut figures = Figures::default();
    let slowest = AtomicU64::new(0);
    let beside = &mut registry;
    let pushers = thread::scope(|scope| {
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|number| {
                let client = beside.client();
                let pusher =
                    Pusher { number, client, random: number, acknowledged: BTreeMap::new(), pushes: 0, failed: 0, deleted: 0 };
                scope.spawn(move || pusher.run(until))
            })
            .collect();
        let collector = scope.spawn(|| {
            let registry = beside;
            let mut figures = Figures::default();
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                collect(registry, &mut figures);
                slowest.fetch_max(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
                figures.collections += 1;
            }
            figures
        });
        let pushers: Vec<Pusher> = pushers.into_iter().map(|pusher| pusher.join().expect("a pusher ends")).collect();
        is_over.store(true, Ordering::Relaxed);
        figures = collector.join().expect("the collector ends");
        pushers
    });
    // The last nights: whatever was moved aside goes back or for good.
    for _ in 0..2 {
        thread::sleep(QUARANTINE);
        at_night(&mut registry, &mut figures);
        figures.collections += 1;
    }
    for pusher in &pushers {
        figures.pushes += pusher.pushes;
        figures.failed += pusher.failed;
        figures.deleted += pusher.deleted;
        figures.acknowledged += pusher.acknowledged.len() as u64;
    }
    let acknowledged = || pushers.iter().flat_map(|pusher| &pusher.acknowledged);
    for when in ["running", "restarted"] {
        let client = registry.client();
        for ((repository, tag), digest) in acknowledged() {
            let broken = match client.pull(repository, tag) {
                Ok(pulled) if pulled.digest == *digest => continue,
                Err(error) if error.ends_with(": 500") && has_torn_link(&registry.root(), repository) => {
                    figures.torn += 1;
                    continue;
                }
                Ok(pulled) => format!("{repository}:{tag} is {} and not {digest}", pulled.digest),
                Err(error) => error,
            };
            figures.broken.push(format!("{when}: {broken}"));
        }
        registry.restart();
    }
    println!("slowest collection: {} ms", slowest.load(Ordering::Relaxed));
    figures
}

/// Whether a registry that was killed has left a link empty: 2.x writes links in place, so a push that was never answered breaks those before
/// it. No collector writes a link.
fn has_torn_link(root: &Path, repository: &str) -> bool {
    let files = walkdir::WalkDir::new(root.join(crate::support::layout::repository(repository))).into_iter().flatten();
    let mut links = files.filter(|entry| entry.file_name() == "link");
    links.any(|entry| entry.metadata().is_ok_and(|metadata| metadata.len() == 0))
}

/// How long things wait: longer than any request takes.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(2);

pub(crate) fn ours(registry: &mut RealRegistry, figures: &mut Figures) {
    let wait = format!("{}s", QUARANTINE.as_secs());
    let flags = ["--online", "-m", "--min-age", "1s", "--rescue-for", "0s", "--format", "json", "--quarantine-for", &wait];
    // In the second that is the minimum age here all that the last collection saw may be deleted and pushed anew, which looks like a loss.
    let flags = flags.into_iter().chain(["--allow-shrunk"]);
    // No request takes longer here.
    let clock = format!("trusted=yes,request={}", QUARANTINE.as_secs());
    let outcome = Regsweep::gc_config(&registry.config()).args(flags).env("REGSWEEP_TEST_CLOCK", clock).run();
    // 1: a tag whose image is in quarantine. 3: a link was written to just before it was to go. Both are for the next run.
    assert!(matches!(outcome.code, Some(0 | 1 | 3)), "{}{}", outcome.stdout, outcome.stderr);
    let report = outcome.report();
    let blobs = |part: &str| report["quarantine"][part]["blobs"].as_u64().expect("a number");
    figures.restored += blobs("restored") + blobs("rescued");
    figures.purged += blobs("purged");
}

fn theirs(registry: &mut RealRegistry, _: &mut Figures) {
    // On a fast machine no push would ever come through, and none be broken.
    thread::sleep(Duration::from_millis(100));
    server::garbage_collect(&registry.root(), &["-m"]);
}

/// One at a time: they would disturb each other's figures.
pub(crate) static MACHINE: Mutex<()> = Mutex::new(());

/// How long, and whether it was asked for.
pub(crate) fn wanted() -> (u64, bool) {
    match std::env::var("REGSWEEP_STRESS").ok().and_then(|text| text.parse().ok()) {
        Some(seconds) => (seconds, true),
        None => (8, false),
    }
}

#[test]
fn no_acknowledged_image_is_broken() {
    let (seconds, is_long) = wanted();
    let _alone = MACHINE.lock();
    let figures = stress(seconds, Settings::default(), &ours, &ours);
    println!("regsweep --online, {seconds} s: {figures:?}");
    assert_eq!(figures.broken, [""; 0], "{figures:?}");
    assert!(figures.acknowledged > 0 && figures.collections > 2, "{figures:?}");
    assert!(!is_long || (figures.purged > 0 && figures.restored > 0), "nothing was at stake: {figures:?}");
}

/// A registry that remembers, and is started again now and then.
fn with_cache() -> Settings {
    Settings { storage: "  cache: {blobdescriptor: inmemory}\n".into(), ..Settings::default() }
}

/// A collection, and at random, one time in three, a restart before it.
fn ours_and_restarts(registry: &mut RealRegistry, figures: &mut Figures) {
    if fastrand::u8(..3) == 0 {
        registry.restart_in_place();
    }
    ours(registry, figures);
}

#[test]
fn no_acknowledged_image_is_broken_beside_a_registry_that_remembers() {
    let (seconds, is_long) = wanted();
    let _alone = MACHINE.lock();
    let figures = stress(seconds, with_cache(), &ours_and_restarts, &ours_and_restarts);
    println!("regsweep --online, inmemory cache, {seconds} s: {figures:?}");
    assert_eq!(figures.broken, [""; 0], "{figures:?}");
    assert!(figures.acknowledged > 0 && figures.collections > 2, "{figures:?}");
    assert!(!is_long || (figures.purged > 0 && figures.restored > 0), "nothing was at stake: {figures:?}");
}

/// The same by a collector that is not told that the registry remembers: its purge goes by the wait alone.
#[test]
fn without_the_restart_some_are_broken() {
    let (seconds, is_long) = wanted();
    if !is_long {
        eprintln!("online: skipped: the control wants REGSWEEP_STRESS=120");
        return;
    }
    let _alone = MACHINE.lock();
    let figures = stress(seconds, with_cache(), &believing_the_wait, &believing_the_wait);
    println!("regsweep --online, inmemory cache, no proof asked, {seconds} s: {figures:?}");
    assert!(!figures.broken.is_empty(), "{figures:?}");
}

/// Purges what has waited, as if no registry were at work: the wait of `quarantine purge --assume-offline` is what would be left of the gate.
fn believing_the_wait(registry: &mut RealRegistry, figures: &mut Figures) {
    ours(registry, figures);
    let wait = format!("{}s", QUARANTINE.as_secs());
    let words = ["quarantine", "purge", "--assume-offline", "--allow-shrunk", "--older-than", &wait, "--format", "json"];
    let clock = format!("trusted=yes,request={}", QUARANTINE.as_secs());
    let purge = Regsweep::new().args(words).arg(registry.config()).env("REGSWEEP_TEST_CLOCK", clock);
    let purge = purge.env("REGSWEEP_TEST_UNNOTICED", "yes").run();
    figures.purged += purge.report()["purged"]["blobs"].as_u64().unwrap_or_default();
}

/// The control: without it nobody knows whether the pushers would notice.
#[test]
fn the_registrys_own_collector_breaks_some() {
    let (seconds, is_long) = wanted();
    if !is_long {
        eprintln!("online: skipped: the control wants REGSWEEP_STRESS=120");
        return;
    }
    let _alone = MACHINE.lock();
    let figures = stress(seconds, Settings::default(), &theirs, &theirs);
    println!("docker-registry garbage-collect -m, {seconds} s: {figures:?}");
    assert!(!figures.broken.is_empty(), "{figures:?}");
}

#[test]
fn no_acknowledged_image_is_broken_beside_a_redis() {
    if !RedisServer::is_here() {
        return;
    }
    let (seconds, is_long) = wanted();
    let _alone = MACHINE.lock();
    let redis = RedisServer::start();
    let figures = stress(seconds, redis.settings(), &ours, &ours);
    println!("regsweep --online, redis, {seconds} s: {figures:?}");
    assert_eq!(figures.broken, [""; 0], "{figures:?}");
    assert!(figures.acknowledged > 0 && figures.collections > 2, "{figures:?}");
    assert!(!is_long || (figures.purged > 0 && figures.restored > 0), "nothing was at stake: {figures:?}");
}

/// The same by a collector that leaves the redis alone.
#[test]
fn without_the_removal_of_keys_some_are_broken() {
    let (seconds, is_long) = wanted();
    if !is_long || !RedisServer::is_here() {
        eprintln!("online: skipped: the control wants REGSWEEP_STRESS=120");
        return;
    }
    let _alone = MACHINE.lock();
    let redis = RedisServer::start();
    let figures = stress(seconds, redis.settings(), &leaving_the_redis, &leaving_the_redis);
    println!("regsweep, redis, its keys not removed, {seconds} s: {figures:?}");
    assert!(!figures.broken.is_empty(), "{figures:?}");
}

/// Quarantines and purges by the wait, as if no registry were at work: then no key is removed without being told.
fn leaving_the_redis(registry: &mut RealRegistry, figures: &mut Figures) {
    let wait = format!("{}s", QUARANTINE.as_secs());
    let flags = ["--quarantine", "--assume-offline", "-m", "--min-age", "1s", "--format", "json", "--quarantine-for", &wait];
    let run = Regsweep::gc_config(&registry.config()).args(flags).args(["--allow-shrunk", "--ignore-birth-time"]);
    let run = run.env("REGSWEEP_TEST_CLOCK", format!("trusted=yes,request={}", QUARANTINE.as_secs()));
    // It would see the pushes.
    let report = run.env("REGSWEEP_TEST_UNNOTICED", "yes").run();
    if let Ok(report) = serde_json::from_str::<serde_json::Value>(&report.stdout) {
        figures.purged += report["quarantine"]["purged"]["blobs"].as_u64().unwrap_or_default();
    }
}
