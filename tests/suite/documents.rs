//! README.md and what it leads to: each link leads somewhere, each command line is one that the program takes, and each sample is what
//! the program prints.
//!
//! A sample is a block marked `console`: lines that begin with `$ ` are run, in the order of the document, on a machine that is made for
//! it ([`stage`]); the lines behind each are what it prints. A line `...` stands for any lines. A command that does not end with 0
//! is followed by `$ echo $?`. Comments such as `<!-- sample: 25h later -->` change the machine between samples.
//!
//! `REGSWEEP_BLESS=1 cargo test --test suite documents` writes what is printed now into the documents. A shortened sample keeps as many
//! lines before and behind its `...` as it has.

mod markdown;
mod stage;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use regsweep::cli::{self, Cli};
use regsweep::finding::Code;

use self::markdown::{Part, anchors, blocks, links, parts, spans};
use self::stage::Stage;
use crate::fixtures::fixture;
use crate::support::*;

/// What a shell may be asked for in a sample.
const PROGRAMS: [&str; 6] = ["regsweep", "echo", "cat", "grep", "head", "ls"];
/// What a block may be marked as.
const LANGUAGES: [&str; 7] = ["console", "sh", "cron", "text", "json", "yaml", "toml"];

/// Whether the documents are to say what the program says.
fn is_blessed() -> bool {
    std::env::var_os("REGSWEEP_BLESS").is_some()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(document: &Path) -> String {
    fs::read_to_string(repository().join(document)).unwrap_or_else(|error| panic!("{}: {error}", document.display()))
}

/// The Markdown files of a directory, relative to the repository.
fn documents_of(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join(directory)).expect("listable");
    let names = entries.map(|entry| Path::new(directory).join(entry.expect("listable").file_name()));
    let mut names: Vec<PathBuf> = names.filter(|name| name.extension().is_some_and(|extension| extension == "md")).collect();
    names.sort();
    names
}

/// README.md and the pages, in both languages.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![PathBuf::from("README.md"), PathBuf::from("README.zh-CN.md")];
    pages.extend(["docs", "docs/zh-CN"].into_iter().flat_map(documents_of));
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// Everything that is written for people.
fn documents() -> Vec<PathBuf> {
    ["", "docs", "docs/zh-CN", "contrib", "tests", "benches", "fixtures", "fuzz"].into_iter().flat_map(documents_of).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        for link in links(&read(&document)).iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().expect("in a directory").join(path),
            };
            let is_there = repository().join(&target).exists();
            if !is_there || !(anchor.is_empty() || anchors(&read(&target)).contains(anchor)) {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn each_page_is_in_the_index() {
    let index = links(&read(Path::new("docs/README.md")));
    for page in documents_of("docs") {
        let name = page.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(name == "README.md" || index.contains(&name), "docs/README.md has no link to {name}");
    }
    assert!(links(&read(Path::new("README.md"))).iter().any(|link| link == "docs/README.md"));
    let chinese = links(&read(Path::new("README.zh-CN.md")));
    for page in documents_of("docs/zh-CN") {
        assert!(chinese.iter().any(|link| Path::new(link) == page), "README.zh-CN.md has no link to {}", page.display());
    }
}

#[test]
fn the_version_of_rust_is_the_one_that_is_required() {
    let required = env!("CARGO_PKG_RUST_VERSION");
    assert!(read(Path::new("README.md")).contains(&format!("Rust {required} ")), "README.md does not say Rust {required}");
}

/// The rows of the table in `docs/findings.md` are the program's own words. Blessed like a sample.
#[test]
fn the_table_of_findings_is_the_programs_own() {
    let page = Path::new("docs/findings.md");
    let text = read(page);
    let row = |code: &Code| format!("| `{code}` | {} | {} | {} |", code.severity(), code.meaning(), code.next_step());
    let expected: Vec<String> = Code::ALL.iter().map(row).collect();
    let is_row = |line: &str| line.starts_with("| `");
    let rows: Vec<&str> = text.lines().filter(|line| is_row(line)).collect();
    if rows == expected {
        return;
    }
    assert!(is_blessed(), "docs/findings.md has\n{}\nand not\n{}", rows.join("\n"), expected.join("\n"));
    let before = text.lines().take_while(|line| !is_row(line)).map(str::to_owned);
    let behind = text.lines().skip_while(|line| !is_row(line)).skip_while(|line| is_row(line)).map(str::to_owned);
    let lines: Vec<String> = before.chain(expected).chain(behind).collect();
    fs::write(repository().join(page), lines.join("\n") + "\n").expect("the page can be written");
}

#[test]
fn each_figure_is_in_the_table() {
    let page = read(Path::new("docs/metrics.md"));
    let is_name = |character: char| character.is_ascii_lowercase() || character == '_';
    let name = |text: &str| text.split(|character| !is_name(character)).next().expect("a word").to_owned();
    let listed: BTreeSet<String> =
        spans(&page).iter().filter(|span| span.starts_with("regsweep_")).map(|span| name(span)).collect();
    let (_, root) = fixture("team");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("regsweep.prom");
    let mut written = BTreeSet::new();
    for command in ["garbage-collect --quarantine", "audit", "usage", "verify", "quarantine purge --assume-offline"] {
        let run = Regsweep::new().args(command.split(' ')).arg("--root").arg(root.path()).arg("--metrics").arg(&file);
        run.run().expect_code(0);
        let figures = fs::read_to_string(&file).expect("written");
        written.extend(figures.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(name));
    }
    assert_eq!(listed, written);
}

#[test]
fn each_module_is_in_the_design() {
    let design = spans(&read(Path::new("docs/design.md")));
    let library = read(Path::new("src/lib.rs"));
    let modules =
        library.lines().filter_map(|line| line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';'));
    let missing: Vec<&str> = modules.filter(|module| *module != "testing" && !design.iter().any(|span| span == module)).collect();
    assert!(missing.is_empty(), "docs/design.md does not say what these modules are for: {missing:?}");
}

/// The command lines of ours in a line of a shell or a crontab, each as words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let words = shlex::split(line).unwrap_or_else(|| panic!("not a shell's words: {line}"));
    let is_end = |word: &String| ["&&", "||", "|", ";", ">", ">>", "2>", "2>&1"].contains(&word.as_str());
    let mut commands = Vec::new();
    for part in words.split(is_end) {
        let mut part = part;
        if part.first().is_some_and(|word| word == "docker") {
            // `docker run --rm regsweep gc`; the image is what its entry point runs.
            let is_image = |word: &String| word == "regsweep";
            let is_run = part.get(1).is_some_and(|word| word == "run");
            part = part.iter().position(is_image).filter(|_| is_run).map_or(&[], |at| &part[at..]);
        } else if let Some(begin) = part.iter().position(|word| word == "cargo") {
            // `cargo run --release -- garbage-collect`
            let is_run = part.get(begin + 1).is_some_and(|word| word == "run");
            part = part.iter().position(|word| word == "--").filter(|_| is_run).map_or(&[], |at| &part[at..]);
        } else {
            let is_ours = |word: &String| word == "regsweep" || (word.starts_with('/') && word.ends_with("/regsweep"));
            // What stands alone behind a redirection is a file.
            let begin = part.iter().position(is_ours).filter(|_| part.len() > 1);
            part = begin.map_or(&[], |begin| &part[begin..]);
        }
        if !part.is_empty() {
            commands.push(part.to_vec());
        }
    }
    commands
}

/// Why the program does not take a command line, if it does not.
fn refusal(words: &[String]) -> Option<String> {
    let digest = format!("sha256:{}", "0".repeat(64));
    // A variable that the lines before have set.
    let meant = |word: &String| word.replace("sha256:...", &digest).replace("$since", "2026-11-24T02:30:00Z");
    let words = words.iter().map(|word| OsString::from(meant(word)));
    let error = Cli::try_parse_from(cli::plain(words)).err()?;
    (!matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)).then(|| error.to_string())
}

#[test]
fn each_command_line_is_one_that_the_program_takes() {
    let mut tried = 0;
    let mut refused = Vec::new();
    for document in documents() {
        let text = read(&document);
        let lines: Vec<&str> = text.lines().collect();
        let mut given: Vec<String> = Vec::new();
        for block in blocks(&text) {
            let place = format!("{}:{}", document.display(), block.lines.start);
            assert!(LANGUAGES.contains(&&*block.language), "{place}: marked as {:?}", block.language);
            let content = lines[block.lines.clone()].join("\n").replace("\\\n", " ");
            match &*block.language {
                "sh" | "cron" => given.extend(content.lines().map(|line| line.trim().to_owned())),
                "console" => given.extend(content.lines().filter_map(|line| line.trim().strip_prefix("$ ")).map(str::to_owned)),
                "text" => {
                    let is_report = |line: &str| line.trim().starts_with("regsweep ");
                    let is_ours = document.starts_with("docs") || document.to_string_lossy().starts_with("README");
                    assert!(!(is_ours && content.lines().any(is_report)), "{place}: a sample that no test runs");
                }
                _ => {}
            }
        }
        // Also those within sentences. `quarantine` alone is the name of a command, and `RUN`s and the like are for the reader.
        let is_command =
            |span: &String| span.starts_with("regsweep ") && !span.contains(['<', '[']) && span != "regsweep quarantine";
        given.extend(spans(&text).into_iter().filter(is_command));
        for words in given.iter().flat_map(|line| commands(line)) {
            tried += 1;
            refused.extend(refusal(&words).map(|why| format!("{}: {words:?}: {why}", document.display())));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(tried > 50, "{tried}");
}

#[test]
fn each_flag_is_one_that_there_is() {
    let mut known = BTreeSet::new();
    let mut waiting = vec![Cli::command()];
    while let Some(command) = waiting.pop() {
        known.extend(command.get_arguments().filter_map(|argument| argument.get_long()).map(|long| format!("--{long}")));
        waiting.extend(command.get_subcommands().cloned());
    }
    known.extend(["--help".to_owned(), "--version".to_owned()]);
    for page in pages() {
        for span in spans(&read(&page)).iter().filter(|span| span.starts_with("--")) {
            let flag = span.split([' ', '=', '[']).next().expect("a word");
            assert!(known.contains(flag), "{}: {span}", page.display());
        }
    }
}

#[test]
fn each_sample_is_what_is_printed() {
    if !cfg!(debug_assertions) {
        skipped("only a debug build lets a test move its clock");
        return;
    }
    let is_blessed = is_blessed();
    let others: Vec<(PathBuf, Vec<String>)> = thread::scope(|scope| {
        let play = |page: PathBuf| scope.spawn(move || (page.clone(), samples_of(&page, is_blessed)));
        let playing: Vec<_> = pages().into_iter().map(play).collect();
        playing.into_iter().map(|page| page.join().expect("the samples of a page run")).collect()
    });
    let run: usize = others.iter().map(|(page, _)| read(page).matches("\n$ regsweep ").count()).sum();
    assert!(run >= 12, "{run}");
    let others: Vec<String> = others.into_iter().flat_map(|(_, others)| others).collect();
    assert!(others.is_empty(), "{}\nREGSWEEP_BLESS=1 writes what is printed now", others.join("\n"));
}

/// Runs the samples of a page; returns those that are not what is printed, or writes what is.
fn samples_of(page: &Path, is_blessed: bool) -> Vec<String> {
    let text = read(page);
    let lines: Vec<&str> = text.lines().collect();
    let mut written: Vec<String> = Vec::new();
    let mut copied = 0;
    let mut others = Vec::new();
    let mut stage: Option<Stage> = None;
    for part in parts(&text) {
        let block = match part {
            Part::SetUp(what) => {
                stage = Some(stage.take().unwrap_or_else(Stage::new).set_up(&what));
                continue;
            }
            Part::Block(block) if block.language == "console" => block,
            Part::Block(_) => continue,
        };
        let stage = stage.get_or_insert_with(Stage::new);
        written.extend(lines[copied..block.lines.start].iter().map(ToString::to_string));
        copied = block.lines.end;
        let content: Vec<&str> =
            lines[block.lines.clone()].iter().map(|line| line.get(block.indent..).unwrap_or_default()).collect();
        let begins: Vec<usize> = (0..content.len()).filter(|at| content[*at].starts_with("$ ")).collect();
        assert_eq!(begins.first(), Some(&0), "{}:{}: no command", page.display(), block.lines.start);
        for (number, begin) in begins.iter().enumerate() {
            let place = format!("{}:{}", page.display(), block.lines.start + begin + 1);
            let end = begins.get(number + 1).copied().unwrap_or(content.len());
            let command_end = (*begin..end).find(|at| !content[*at].ends_with('\\')).expect("a command ends") + 1;
            let command = content[*begin..command_end].join("\n").replace("\\\n", "");
            let command = command.trim_start_matches("$ ");
            assert!(PROGRAMS.contains(&command.split(' ').next().expect("a word")), "{place}: {command}");
            let printed = stage.run(command);
            let is_code_shown = begins.get(number + 1).is_some_and(|next| content[*next] == "$ echo $?");
            assert!(
                stage.code() == 0 || is_code_shown || command == "echo $?",
                "{place}: ended with {}\n{printed}",
                stage.code()
            );
            let sample: Vec<&str> = content[command_end..end].to_vec();
            let expected = shortened(&printed, &sample);
            if expected != sample.join("\n").trim_end() {
                others.push(format!("{place}: {command}\n--- prints\n{expected}\n--- and not\n{}", sample.join("\n").trim_end()));
            }
            let behind = sample.iter().rev().take_while(|line| line.is_empty());
            let shown = content[*begin..command_end].iter().copied().chain(expected.lines()).chain(behind.copied());
            written.extend(shown.map(|line| format!("{:indent$}{line}", "", indent = block.indent).trim_end().to_owned()));
        }
    }
    written.extend(lines[copied..].iter().map(ToString::to_string));
    if is_blessed && !others.is_empty() {
        fs::write(repository().join(page), written.join("\n") + "\n").expect("the page can be written");
        return Vec::new();
    }
    others
}

/// What was printed, with as many lines before and behind `...` as the sample has.
fn shortened(printed: &str, sample: &[&str]) -> String {
    let printed: Vec<&str> = printed.trim_end().lines().collect();
    let filled = sample.len() - sample.iter().rev().take_while(|line| line.is_empty()).count();
    let Some(first) = sample.iter().position(|line| *line == "...") else { return printed.join("\n") };
    let last = filled - first - 1;
    if first + last >= printed.len() {
        return printed.join("\n");
    }
    [&printed[..first], &["..."], &printed[printed.len() - last..]].concat().join("\n")
}
