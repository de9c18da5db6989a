//! Compares regsweep with the registry's own collector and with a floor: a program that makes only the system calls that the
//! layout needs. `cargo bench --bench compare` makes the stores, runs everything in turn and prints a table; `-- --help` says more.
//!
//! Whole programs are timed, several rounds in turn, so that a machine that slows down slows all of them. Ratios count, not seconds.

#![allow(clippy::disallowed_methods, clippy::print_stdout)]

mod builds;
mod floor;
mod measure;
mod memory;
mod plot;
mod state;
mod stores;
#[path = "../../tests/suite/support/mod.rs"]
mod support;
mod verify;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use measure::{Contender, median, rounds, system_calls};
use stores::Shape;

/// Compares regsweep with the registry's own collector and with the floor of the filesystem
#[derive(Parser)]
struct Arguments {
    /// Rounds of each comparison; medians are printed
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Leave out the registry's own collector where it takes minutes
    #[arg(long)]
    quick: bool,
    /// Measure only these parts; the cold cache, on a loop image, wants root and is measured only if named
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["dry-runs", "sweeps", "memory", "growth", "verify", "state"])]
    only: Vec<Part>,
    /// Where to keep the stores
    #[arg(long, default_value = "target/compare")]
    directory: PathBuf,
    /// Where to draw the growth plot
    #[arg(long, default_value = "benches/compare/growth.svg")]
    plot: PathBuf,
    /// A build of regsweep to compare by `--only builds`, as NAME=PATH; may be repeated
    #[arg(long, value_name = "NAME=PATH")]
    build: Vec<String>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    DryRuns,
    Sweeps,
    Memory,
    Growth,
    Cold,
    Builds,
    Verify,
    State,
}

const REGSWEEP: &str = env!("CARGO_BIN_EXE_regsweep");

fn main() {
    // The floor and the memory measurement are this program again, so that they start as any other.
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("floor-survey") => return floor::survey(Path::new(&arguments[2]), false),
        Some("floor-survey-untagged") => return floor::survey(Path::new(&arguments[2]), true),
        Some("floor-sweep") => return floor::sweep(Path::new(&arguments[2])),
        Some("floor-verify-hash") => return verify::hash_alone(&arguments[2]),
        Some("floor-verify-read") => return verify::read(Path::new(&arguments[2])),
        Some("state") => {
            let [kind, work, place, root] = [2, 3, 4, 5].map(|place| arguments[place].as_str());
            return state::work(kind, work, Path::new(place), Path::new(root));
        }
        Some(part @ ("memory" | "plan")) => {
            let number = |place: usize| Some(arguments.get(place)?.parse().expect("a number"));
            let run = if part == "plan" { memory::plan } else { memory::run };
            return run(number(2).expect("a number of blobs"), number(3));
        }
        _ => {}
    }
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.directory).expect("the directory for stores can be made");
    println!("{}", measure::machine());
    println!("| Work | Contender | Median s | Ratio to regsweep | System calls |");
    println!("| --- | --- | --- | --- | --- |");
    for part in &arguments.only {
        match part {
            Part::DryRuns => dry_runs(&arguments),
            Part::Sweeps => sweeps(&arguments),
            Part::Memory => memory_of(&arguments),
            Part::Growth => growth(&arguments),
            Part::Cold => cold(&arguments),
            Part::Builds => builds::compare(&arguments.directory, &arguments.build, arguments.rounds),
            Part::Verify => verify::compare(&arguments.directory, arguments.rounds),
            Part::State => state::compare(&arguments.directory),
        }
    }
}

/// This program, as the floor.
fn floor(work: &str, store: &Path) -> Contender {
    let this = std::env::current_exe().expect("this program has a path");
    Contender::new("floor", this, [work.as_ref(), store.as_os_str()])
}

fn regsweep(store: &Path, flags: &[&str]) -> Contender {
    let mut arguments = vec![
        "garbage-collect".into(),
        "--quiet".into(),
        "--ignore-birth-time".into(),
        "--root".into(),
        store.as_os_str().to_owned(),
    ];
    arguments.extend(flags.iter().map(Into::into));
    Contender::new("regsweep", REGSWEEP, arguments)
}

fn registry(store: &Path, flags: &[&str]) -> Contender {
    let config = store.with_extension("yml");
    let text = format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n", store.display());
    std::fs::write(&config, text).expect("the configuration can be written");
    let mut arguments = vec!["garbage-collect".into()];
    arguments.extend(flags.iter().map(Into::into));
    arguments.push(config.into_os_string());
    Contender::new("docker-registry", "docker-registry", arguments)
}

fn dry_runs(arguments: &Arguments) {
    let wide = stores::make(&arguments.directory, Shape::WIDE);
    print_rows(
        &format!("dry run, {}", Shape::WIDE),
        &[regsweep(&wide, &["--dry-run"]), floor("floor-survey", &wide), registry(&wide, &["--dry-run"])],
        arguments.rounds,
    );
    print_rows(
        "the same with -m",
        &[regsweep(&wide, &["--dry-run", "-m"]), floor("floor-survey-untagged", &wide), registry(&wide, &["--dry-run", "-m"])],
        arguments.rounds,
    );
    let deep = stores::make(&arguments.directory, Shape::DEEP);
    let work = format!("dry run with -m, {}", Shape::DEEP);
    print_rows(&work, &[regsweep(&deep, &["--dry-run", "-m"]), floor("floor-survey-untagged", &deep)], arguments.rounds);
    if !arguments.quick {
        print_rows(&work, &[regsweep(&deep, &["--dry-run", "-m"]), registry(&deep, &["--dry-run", "-m"])], 1);
    }
}

fn print_rows(work: &str, contenders: &[Contender], count: usize) {
    let times = rounds(contenders, count);
    let own = median(&times[0]);
    for (contender, times) in contenders.iter().zip(&times) {
        let time = median(times);
        let ratio = time.as_secs_f64() / own.as_secs_f64();
        // The registry's collector makes millions, which take minutes to trace.
        let calls = match contender.name {
            "docker-registry" => "not counted".to_owned(),
            _ => system_calls(contender).map_or("no strace".to_owned(), |calls| calls.to_string()),
        };
        println!("| {work} | {} | {:.3} | {ratio:.2} | {calls} |", contender.name, time.as_secs_f64());
    }
}

/// A real sweep needs its store anew each time.
fn sweeps(arguments: &Arguments) {
    let template = stores::make_garbage(&arguments.directory, 50_000);
    let store = arguments.directory.join("sweep");
    let mut times: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
    let contenders = [regsweep(&store, &["--min-age", "0s"]), floor("floor-sweep", &store)];
    for _ in 0..arguments.rounds.min(5) {
        for (contender, times) in contenders.iter().zip(&mut times) {
            stores::copy_anew(&template, &store);
            times.push(contender.run());
        }
    }
    let own = median(&times[0]).as_secs_f64();
    for (contender, times) in contenders.iter().zip(&times) {
        stores::copy_anew(&template, &store);
        let calls = system_calls(contender).map_or("no strace".to_owned(), |calls| calls.to_string());
        let time = median(times).as_secs_f64();
        println!("| sweep of 50,000 blobs | {} | {time:.3} | {:.2} | {calls} |", contender.name, time / own);
    }
    std::fs::remove_dir_all(&store).expect("the store can be removed");
}

fn memory_of(_: &Arguments) {
    let this = std::env::current_exe().expect("this program has a path");
    let measure = |command: &mut Command| {
        let output = command.output().expect("this program runs again");
        println!("\n{}", String::from_utf8_lossy(&output.stdout).trim());
        assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    };
    for blobs in ["1000000", "10000000"] {
        measure(Command::new(&this).args(["memory", blobs]));
    }
    measure(Command::new(&this).args(["plan", "10000000"]));
    match memory::Cage::of(512 << 20) {
        Some(cage) => {
            for (part, blobs) in [("memory", "100000000"), ("plan", "10000000")] {
                measure(cage.command(&this).args([part, blobs, &(352_u64 << 20).to_string()]));
            }
        }
        None => println!("\nmemory in 512 MiB not measured, a control group needs root"),
    }
}

fn growth(arguments: &Arguments) {
    println!("\n| Blobs | Floor s | regsweep s | docker-registry s |\n| --- | --- | --- | --- |");
    let mut points = Vec::new();
    for shape in Shape::GROWING {
        let store = stores::make(&arguments.directory, shape);
        let contenders = [floor("floor-survey", &store), regsweep(&store, &["--dry-run"]), registry(&store, &["--dry-run"])];
        let times: Vec<f64> =
            rounds(&contenders, arguments.rounds.min(5)).iter().map(|times| median(times).as_secs_f64()).collect();
        println!("| {} | {:.3} | {:.3} | {:.3} |", shape.blobs(), times[0], times[1], times[2]);
        points.push((shape.blobs(), times));
    }
    plot::draw(&arguments.plot, &points);
}

fn cold(arguments: &Arguments) {
    let wide = stores::make(&arguments.directory, Shape::COLD);
    let Some(image) = stores::LoopImage::mount(&arguments.directory, &wide) else {
        println!("\ncold cache: not measured, a loop image needs root");
        return;
    };
    println!("\n| Cold cache, --jobs | regsweep s |\n| --- | --- |");
    for jobs in ["1", "2", "4", "8", "16", "32", "64"] {
        let times: Vec<Duration> = (0..arguments.rounds.min(3))
            .map(|_| {
                image.forget();
                regsweep(&image.root(), &["--dry-run", "--jobs", jobs]).run()
            })
            .collect();
        println!("| {jobs} | {:.3} |", median(&times).as_secs_f64());
    }
}
