//! The same program built in other ways: with another libc, another allocator. Made elsewhere, named by `--build NAME=PATH`.

use std::path::Path;

use super::measure::{Contender, median, rounds};
use super::stores::{self, Shape};
use super::verify::processor_seconds;

/// Times dry runs, with `-m` and without, on the largest store.
pub(crate) fn compare(directory: &Path, builds: &[String], count: usize) {
    let largest = Shape::GROWING[Shape::GROWING.len() - 1];
    let store = stores::make(directory, largest);
    println!("\n| {largest} | Build | Median s | Least s | Processor s |\n| --- | --- | --- | --- | --- |");
    for (work, flags) in [("dry run", &["--dry-run"][..]), ("dry run with -m", &["--dry-run", "-m"])] {
        let contenders: Vec<Contender> = builds.iter().map(|build| contender(build, &store, flags)).collect();
        let times = rounds(&contenders, count);
        for (contender, times) in contenders.iter().zip(&times) {
            let (name, least) = (contender.name, times.iter().min().expect("a round").as_secs_f64());
            let processor = processor_seconds(contender, count);
            println!("| {work} | {name} | {:.3} | {least:.3} | {processor:.2} |", median(times).as_secs_f64());
        }
    }
}

fn contender(build: &str, store: &Path, flags: &[&str]) -> Contender {
    let (name, program) = build.split_once('=').unwrap_or_else(|| panic!("not NAME=PATH: {build}"));
    let always = ["garbage-collect", "--quiet", "--ignore-birth-time", "--root"].map(std::ffi::OsString::from);
    let arguments = always.into_iter().chain([store.as_os_str().to_owned()]).chain(flags.iter().map(Into::into));
    // A few names, which last as long as the program does.
    Contender::new(name.to_owned().leak(), program, arguments)
}
