//! What `verify` remembers from run to run: its own file beside an embedded database that does the same.
//!
//! A million blobs are noted, read back, and noted in part again, each in a process of its own. Then a small file is damaged in many
//! places, and a process that notes blobs is killed at many moments: what is read back after that must be right or refused.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use redb::{Builder, Database, ReadableDatabase as _, TableDefinition};
use regsweep::oci::{Algorithm, Digest};
use regsweep::store::{Backend as _, FilesystemStore, Root};
use regsweep::verify::state::State;

use super::memory::peak_kib;
use super::stores::{self, Shape};

const KINDS: [&str; 2] = ["own file", "redb"];
const BLOBS: u32 = 1_000_000;
/// What a run at full speed verifies in a second, so that what is noted is flushed as often as then.
const BLOBS_A_SECOND: u32 = 100_000;
/// How often what was noted is brought to the disk.
const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// Blobs in a file that is damaged.
const BLOBS_DAMAGED: u32 = 1_000;
/// Places where it is.
const PLACES: usize = 500;
const KILLS: u64 = 20;

fn digest(number: u32) -> Digest {
    Digest::of(Algorithm::Sha256, &number.to_le_bytes())
}

/// When a blob was found good, which follows from its number.
fn good_at(number: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + u64::from(number))
}

/// What remembers.
trait Memory {
    fn last_good(&self, digest: &Digest) -> Option<SystemTime>;
    fn note_good(&mut self, digest: &Digest, at: SystemTime);
    fn flush_when_due(&mut self);
    fn close(self: Box<Self>);
}

/// The file in the directory, opened; nothing if it is refused.
fn open(kind: &str, directory: &Path, store: &FilesystemStore) -> Option<Box<dyn Memory>> {
    let path = directory.join("state");
    match kind {
        "redb" => Some(Box::new(Redb::open(&path)?)),
        _ => Some(Box::new(State::open(&path, &store.identity().expect("there")).ok()?)),
    }
}

impl Memory for State {
    fn last_good(&self, digest: &Digest) -> Option<SystemTime> {
        State::last_good(self, digest)
    }

    fn note_good(&mut self, digest: &Digest, at: SystemTime) {
        State::note_good(self, digest, at);
    }

    fn flush_when_due(&mut self) {
        State::flush_when_due(self);
    }

    fn close(self: Box<Self>) {
        State::close(*self, |_| true).expect("there is room");
    }
}

/// The least that does the same by redb.
struct Redb {
    database: Database,
    pending: Vec<([u8; 32], u32)>,
    flushed: Instant,
}

const TABLE: TableDefinition<'_, [u8; 32], u32> = TableDefinition::new("good");

impl Redb {
    fn open(path: &Path) -> Option<Redb> {
        // Without the check a damaged file is believed, or ends the process with a panic.
        let database = Builder::new().set_cache_size(64 << 20).set_check_integrity_on_open(true).create(path).ok()?;
        Some(Redb { database, pending: Vec::new(), flushed: Instant::now() })
    }

    fn flush(&mut self) {
        let transaction = self.database.begin_write().expect("there is room");
        {
            let mut table = transaction.open_table(TABLE).expect("there is room");
            for (key, seconds) in self.pending.drain(..) {
                table.insert(key, seconds).expect("there is room");
            }
        }
        transaction.commit().expect("there is room");
        self.flushed = Instant::now();
    }
}

impl Memory for Redb {
    fn last_good(&self, digest: &Digest) -> Option<SystemTime> {
        let table = self.database.begin_read().ok()?.open_table(TABLE).ok()?;
        let seconds = table.get(key(digest)).ok()??.value();
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(seconds)))
    }

    fn note_good(&mut self, digest: &Digest, at: SystemTime) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        self.pending.push((key(digest), since.as_secs() as u32));
    }

    fn flush_when_due(&mut self) {
        if !self.pending.is_empty() && self.flushed.elapsed() >= FLUSH_EVERY {
            self.flush();
        }
    }

    fn close(mut self: Box<Self>) {
        self.flush();
        // As our own does: blobs that are not stored any more are forgotten, and the file is as small as it gets.
        let transaction = self.database.begin_write().expect("there is room");
        transaction.open_table(TABLE).and_then(|mut table| Ok(table.retain(|_, _| true)?)).expect("readable");
        transaction.commit().expect("there is room");
        self.database.compact().expect("there is room");
    }
}

fn key(digest: &Digest) -> [u8; 32] {
    digest.bytes().try_into().expect("a sha256")
}

/// Runs all of it and prints two tables.
pub(crate) fn compare(directory: &Path) {
    let root = stores::make(directory, Shape::GROWING[0]);
    let place = |kind: &str, name: u64| {
        let place = directory.join("state").join(kind).join(name.to_string());
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).expect("made");
        place
    };
    println!("\n| verify's state, {BLOBS} blobs | Contender | Processor s | Waited s | Peak MiB | File MiB |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for kind in KINDS {
        let place = place(kind, 0);
        for work in ["note", "read", "note a thirtieth"] {
            let output = this(kind, work, &place, &root).output().expect("this program runs again");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            print!("{}", String::from_utf8_lossy(&output.stdout));
        }
    }
    println!("\n| verify's state | Contender | Cases | Right | Refused | Something forgotten | Something wrong | Panic |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let store = FilesystemStore::open(&Root::whole(&root)).expect("a store");
    std::panic::set_hook(Box::new(|_| {}));
    for kind in KINDS {
        damaged(kind, &place(kind, 0), &store);
        let mut outcomes = Outcomes::default();
        for number in 0..KILLS {
            let place = place(kind, number);
            let mut child = this(kind, "note", &place, &root).stdout(Stdio::null()).spawn().expect("this program runs again");
            // All of the time that noting and closing take, more or less.
            thread::sleep(Duration::from_millis(100 + 13_000 * number / KILLS));
            let _ = child.kill();
            let _ = child.wait();
            // Of those that were noted first, which only the first seconds may forget.
            outcomes.add(judge(kind, &place, &store, BLOBS / 100));
        }
        outcomes.print("killed while it notes", kind);
    }
    let _ = std::panic::take_hook();
    fs::remove_dir_all(directory.join("state")).expect("removed");
}

fn this(kind: &str, work: &str, place: &Path, root: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["state", kind, work]).arg(place).arg(root);
    command
}

/// One part of the work, in a process of its own.
pub(crate) fn work(kind: &str, work: &str, place: &Path, root: &Path) {
    let store = FilesystemStore::open(&Root::whole(root)).expect("a store");
    let mut waited = Duration::ZERO;
    let mut timed = |work: &mut dyn FnMut()| {
        let begun = Instant::now();
        work();
        waited += begun.elapsed();
    };
    let mut memory = None;
    timed(&mut || memory = open(kind, place, &store));
    let mut memory = memory.expect("usable");
    if work == "read" {
        timed(&mut || assert!((0..BLOBS).all(|number| memory.last_good(&digest(number)) == Some(good_at(number)))));
    } else {
        let begun = Instant::now();
        for number in (0..BLOBS).step_by(if work == "note" { 1 } else { 30 }) {
            memory.note_good(&digest(number), good_at(number));
            if number % 1000 == 0 {
                timed(&mut || memory.flush_when_due());
                let due = Duration::from_secs_f64(f64::from(number) / f64::from(BLOBS_A_SECOND));
                thread::sleep(due.saturating_sub(begun.elapsed()));
            }
        }
        let mut memory = Some(memory);
        timed(&mut || memory.take().expect("once").close());
    }
    println!(
        "| {work} | {kind} | {:.2} | {:.2} | {} | {:.1} |",
        processor_seconds(),
        waited.as_secs_f64(),
        peak_kib() >> 10,
        fs::metadata(place.join("state")).expect("there").blocks() as f64 / f64::from(2 << 10)
    );
}

fn processor_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// What came of a file.
#[derive(Clone, Copy)]
enum Outcome {
    Right,
    Refused,
    Forgotten,
    Wrong,
    Panic,
}

#[derive(Default)]
struct Outcomes([u32; 5]);

impl Outcomes {
    fn add(&mut self, outcome: Outcome) {
        self.0[outcome as usize] += 1;
    }

    fn print(&self, what: &str, kind: &str) {
        let counts: Vec<String> = self.0.iter().map(u32::to_string).collect();
        println!("| {what} | {kind} | {} | {} |", self.0.iter().sum::<u32>(), counts.join(" | "));
    }
}

/// Opens a file and asks it for the first so many.
fn judge(kind: &str, place: &Path, store: &FilesystemStore, count: u32) -> Outcome {
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let Some(memory) = open(kind, place, store) else { return Outcome::Refused };
        let answers: Vec<_> = (0..count).map(|number| memory.last_good(&digest(number))).collect();
        if answers.iter().zip(0..).any(|(answer, number)| answer.is_some_and(|at| at != good_at(number))) {
            Outcome::Wrong
        } else if answers.contains(&None) {
            Outcome::Forgotten
        } else {
            Outcome::Right
        }
    }));
    judged.unwrap_or(Outcome::Panic)
}

/// Changes a bit in many places of a file, and cuts it short at many.
fn damaged(kind: &str, place: &Path, store: &FilesystemStore) {
    let mut memory = open(kind, place, store).expect("usable");
    (0..BLOBS_DAMAGED).for_each(|number| memory.note_good(&digest(number), good_at(number)));
    memory.close();
    let path = place.join("state");
    let whole = fs::read(&path).expect("there");
    let (mut changed, mut cut) = (Outcomes::default(), Outcomes::default());
    for position in (0..whole.len()).step_by(whole.len() / PLACES) {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        fs::write(&path, bytes).expect("written");
        changed.add(judge(kind, place, store, BLOBS_DAMAGED));
        fs::write(&path, &whole[..position]).expect("written");
        cut.add(judge(kind, place, store, BLOBS_DAMAGED));
    }
    changed.print("one bit is another", kind);
    cut.print("cut short", kind);
}
