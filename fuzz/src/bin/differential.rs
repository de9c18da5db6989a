//! Reads odd manifests and links beside Go: `differential ORACLE [COUNT [SEED]]`. `fuzz/differential` builds both and runs this.
//!
//! Ends with 1 if there is a manifest in which Go reads what we do not, although we take it, or a link that only one of both takes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

use regsweep::oci::Digest;
use regsweep::oci::manifest::{self, References, Unreadable};
use regsweep_fuzz::cases::{self, Case, Names, Reads};
use regsweep_fuzz::checks::finds;
use regsweep_fuzz::model::{Reading, Role, readings};
use regsweep_fuzz::{mangle, manifests};

/// So many go to the oracle at a time.
const BATCH: u64 = 1_000;
/// So many failures are shown.
const SHOWN: u64 = 10;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(oracle) = arguments.next() else {
        eprintln!("usage: differential ORACLE [COUNT [SEED]]");
        return ExitCode::from(2);
    };
    let mut number = |default: u64| arguments.next().map_or(default, |text| text.parse().expect("COUNT and SEED are numbers"));
    let (count, seed) = (number(1_000_000), number(1));
    let failed = table(&oracle) + manifests_beside_go(&oracle, count, seed) + links_beside_go(&oracle, count / 10, seed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The program that answers.
struct Oracle {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    fn start(program: &str, what: &str) -> Oracle {
        let mut command = Command::new(program);
        // One for the decoder and one for us.
        command.arg(what).env("GOMAXPROCS", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
        let questions = child.stdin.take().expect("piped");
        let answers = BufReader::with_capacity(1 << 20, child.stdout.take().expect("piped"));
        Oracle { child, questions, answers }
    }
}

fn frame(into: &mut Vec<u8>, content: &[u8]) {
    into.extend(u32::try_from(content.len()).expect("shorter than 4 GiB").to_le_bytes());
    into.extend(content);
}

fn line(answers: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    let read = answers.read_line(&mut line).expect("the oracle answers");
    assert!(read > 0, "the oracle ended");
    line
}

/// Whether Go takes a manifest in one of its structs, and what it reads there.
fn answer(line: &str) -> (bool, Vec<Reading>) {
    let mut words = line.split_ascii_whitespace();
    let taken = words.next() != Some("0");
    let read = words.map(|word| {
        let role = match word.as_bytes()[0] {
            b'b' => Role::Blob,
            b'm' => Role::Child,
            _ => Role::Subject,
        };
        Reading { role, digest: word[1..].to_owned() }
    });
    (taken, read.collect())
}

/// Some digests.
fn names() -> Names {
    let [config, layer] = ["c0", "1a"].map(|byte| format!("sha256:{}", byte.repeat(32)));
    Names { config, layer, layer_sha512: format!("sha512:{}", "1a".repeat(64)) }
}

/// Compares the table's column with Go. Returns how many cases differ.
fn table(program: &str) -> u64 {
    let names = names();
    let cases = cases::manifests(&names);
    let mut oracle = Oracle::start(program, "manifests");
    let mut differ = 0;
    for Case { name, manifest, go, .. } in &cases {
        let mut bytes = Vec::new();
        frame(&mut bytes, manifest);
        let writer = thread::scope(|scope| {
            let asked = scope.spawn(|| oracle.questions.write_all(&bytes).and_then(|()| oracle.questions.flush()));
            let answered = line(&mut oracle.answers);
            asked.join().expect("no panic").map(|()| answered)
        });
        let (taken, read) = answer(&writer.expect("the oracle takes it"));
        let reads =
            |wanted: &[&String]| read.iter().any(|reading| reading.role != Role::Subject && wanted.contains(&&reading.digest));
        let found = match (taken, reads(&[&names.config]), reads(&[&names.layer, &names.layer_sha512])) {
            (false, ..) => Reads::Refuses,
            (true, false, false) => Reads::Nothing,
            (true, true, false) => Reads::Config,
            (true, false, true) => Reads::Layer,
            (true, true, true) => Reads::Both,
        };
        if found != *go {
            differ += 1;
            println!("DIFFERS {name}: the table says that Go reads {go:?}, and it reads {found:?}");
        }
    }
    finish(oracle);
    println!("table         {} manifests, {differ} not as the table says", cases.len());
    differ
}

fn finish(Oracle { mut child, questions, answers }: Oracle) {
    drop((questions, answers));
    assert!(child.wait().expect("it was started").success(), "the oracle failed");
}

/// What we and the model make of a manifest.
struct Ours {
    number: u64,
    bytes: u64,
    read: Result<References, Unreadable>,
    model: Option<Vec<Reading>>,
}

/// How the answers compare.
#[derive(Default)]
struct Tally {
    bytes: u64,
    taken: u64,
    naming: u64,
    digests: u64,
    subjects: u64,
    ours: u64,
    held: u64,
    /// Why, without the place.
    held_because: BTreeMap<String, u64>,
    held_naming: u64,
    missed: u64,
    missed_by_model: u64,
}

fn manifests_beside_go(program: &str, count: u64, seed: u64) -> u64 {
    let begun = Instant::now();
    let Oracle { child, questions, mut answers } = Oracle::start(program, "manifests");
    let (asked, expected) = channel();
    let asking = thread::spawn(move || ask(questions, &asked, count, seed));
    let mut tally = Tally::default();
    for ours in expected.iter().flatten() {
        let (taken, read) = answer(&line(&mut answers));
        compare(&ours, taken, &read, &mut tally, seed);
    }
    let questions = asking.join().expect("no panic").expect("the oracle takes all");
    finish(Oracle { child, questions, answers });
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    let mean = tally.bytes / count.max(1);
    println!("manifests     {count} of seed {seed}, of {mean} bytes in the mean, {rate:.0} a second");
    println!(
        "Go takes      {}, of which {} name {} digests, {} of them subjects",
        tally.taken, tally.naming, tally.digests, tally.subjects
    );
    println!("we take       {}", tally.ours);
    println!("held          {} that Go takes, of which {} name something", tally.held, tally.held_naming);
    for (why, count) in &tally.held_because {
        println!("                {count} {why}");
    }
    println!("missed        {} by us, {} by the model", tally.missed, tally.missed_by_model);
    tally.missed + tally.missed_by_model
}

/// Makes the manifests, reads them, and passes them on. What we read goes first, so that no answer has to wait for it.
fn ask(mut questions: ChildStdin, asked: &Sender<Vec<Ours>>, count: u64, seed: u64) -> io::Result<ChildStdin> {
    for first in (0..count).step_by(BATCH as usize) {
        let mut bytes = Vec::with_capacity(1 << 20);
        let ours = (first..count.min(first + BATCH)).map(|number| {
            let content = manifests::manifest(seed, number);
            frame(&mut bytes, &content);
            Ours { number, bytes: content.len() as u64, read: manifest::references(&content), model: readings(&content) }
        });
        asked.send(ours.collect()).expect("the answers are waited for");
        questions.write_all(&bytes)?;
    }
    questions.flush()?;
    Ok(questions)
}

fn compare(ours: &Ours, taken: bool, read: &[Reading], tally: &mut Tally, seed: u64) {
    tally.bytes += ours.bytes;
    tally.taken += u64::from(taken);
    tally.naming += u64::from(!read.is_empty());
    tally.digests += read.len() as u64;
    tally.subjects += read.iter().filter(|reading| reading.role == Role::Subject).count() as u64;
    tally.ours += u64::from(ours.read.is_ok());
    if let (true, Err(error)) = (taken, &ours.read) {
        tally.held += 1;
        let why = error.to_string();
        *tally.held_because.entry(why.split(" at line").next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    tally.held_naming += u64::from(!read.is_empty() && ours.read.is_err());
    let model: Option<BTreeSet<&Reading>> = ours.model.as_ref().map(|model| model.iter().collect());
    for reading in read {
        let missed = !finds(&ours.read, reading);
        let missed_by_model = model.as_ref().is_some_and(|model| !model.contains(reading));
        tally.missed += u64::from(missed);
        tally.missed_by_model += u64::from(missed_by_model);
        if (missed || missed_by_model) && tally.missed + tally.missed_by_model <= SHOWN {
            let who = if missed { "we" } else { "the model" };
            let content = manifests::manifest(seed, ours.number);
            println!("MISSED by {who}: number {}: {reading:?} in\n{}", ours.number, content.escape_ascii());
        }
    }
}

fn links_beside_go(program: &str, count: u64, seed: u64) -> u64 {
    let table = cases::links(&names());
    let by_hand = table.len() as u64;
    let links = table.into_iter().map(|(_, link, _)| link).chain((0..count).map(move |number| mangle::link(seed, number)));
    let Oracle { child, mut questions, mut answers } = Oracle::start(program, "links");
    let (asked, expected) = channel();
    let asking = thread::spawn(move || -> io::Result<ChildStdin> {
        for link in links {
            let mut bytes = Vec::new();
            frame(&mut bytes, &link);
            asked.send(link).expect("the answers are waited for");
            questions.write_all(&bytes)?;
        }
        Ok(questions)
    });
    let (mut taken, mut differ) = (0, 0);
    for link in expected {
        let theirs = line(&mut answers).starts_with('1');
        taken += u64::from(theirs);
        if theirs != Digest::parse(&link).is_some() {
            differ += 1;
            println!("DIFFERS link {}: Go {theirs}", link.escape_ascii());
        }
    }
    let questions = asking.join().expect("no panic").expect("the oracle takes all");
    finish(Oracle { child, questions, answers });
    println!("links         {} of seed {seed}, {taken} taken, {differ} differ", count + by_hand);
    differ
}
