//! The machine that the documents speak of: `/etc/docker/registry/config.yml`, its store in `/var/lib/registry`, and a clock.
//!
//! It is a temporary directory, and what a command prints is changed back so that it reads as on that machine, the same on each day.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use crate::writers::server;

/// Directories that the documents name.
const DIRECTORIES: [&str; 5] =
    ["/etc/docker/registry", "/var/lib/registry", "/var/lib/node_exporter", "/var/lib/regsweep", "/srv/mirror"];
const CONFIG: &str = "/etc/docker/registry/config.yml";
const ROOT: &str = "/var/lib/registry";
/// A registry that takes pushes.
const TAKES_PUSHES: &str =
    "HTTP/1.1 200 OK\r\nAllow: GET,HEAD,POST\r\nDocker-Distribution-Api-Version: registry/2.0\r\nContent-Length: 0\r\n\r\n";
/// What the samples say in place of times of day.
const TIME: &str = "2026-11-24T02:30:00Z";
/// What an archive was unpacked long ago, so that nothing in it was made just now.
const LONG_AGO: Duration = Duration::from_secs(30 * 24 * 3600);

fn unpack(name: &str, root: &Path) {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name).with_extension("tar");
    let unpacked = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(root).status();
    assert!(unpacked.expect("tar is there").success());
}

/// A machine with a store.
pub(super) struct Stage {
    home: TempDir,
    clock: Duration,
    port: u16,
    /// The times in the names of runs, in the order in which they were first printed.
    runs: Vec<String>,
    /// How the last command ended.
    code: i32,
}

impl Stage {
    /// A machine with the team's store, whose registry is down.
    pub(super) fn new() -> Stage {
        let stage =
            Stage { home: tempfile::tempdir().expect("a directory"), clock: LONG_AGO, port: 0, runs: Vec::new(), code: 0 };
        for directory in DIRECTORIES {
            fs::create_dir_all(stage.real(directory)).expect("made");
        }
        stage.with_store("team")
    }

    fn real(&self, path: &str) -> PathBuf {
        self.home.path().join(path.trim_start_matches('/'))
    }

    fn with_store(mut self, name: &str) -> Stage {
        let root = self.real(ROOT);
        fs::remove_dir_all(&root).and_then(|()| fs::create_dir_all(&root)).expect("emptied");
        unpack(name, &root);
        // A port that nothing listens at.
        self.port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        self.configure("");
        self
    }

    fn configure(&self, storage: &str) {
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n{storage}http:\n  addr: 127.0.0.1:{}\n",
            self.real(ROOT).display(),
            self.port
        );
        fs::write(self.real(CONFIG), text).expect("written");
    }

    /// Does what a comment before a sample asks for.
    pub(super) fn set_up(mut self, what: &str) -> Stage {
        if let Some(later) = what.strip_suffix(" later") {
            let later: SignedDuration = later.parse().expect("a duration");
            self.clock += Duration::try_from(later).expect("forward");
            return self;
        }
        match what {
            "a fresh copy of team" => return self.with_store("team"),
            "a fresh copy of legacy" => return self.with_store("legacy"),
            "the registry is read-only" => self.configure("  maintenance:\n    readonly:\n      enabled: true\n"),
            "the registry has a descriptor cache" => self.configure("  cache:\n    blobdescriptor: inmemory\n"),
            "the registry takes pushes" => {
                self.port = server(Some(TAKES_PUSHES)).port();
                self.configure("");
            }
            "the repositories are not mounted" => {
                let repositories = self.v2("repositories");
                fs::remove_dir_all(&repositories).and_then(|()| fs::create_dir(&repositories)).expect("emptied");
            }
            // As the registry does it: the tag and the revision go, the blobs stay.
            "team/api:1.0 was deleted" => {
                let tag = self.v2("repositories/team/api/_manifests/tags/1.0");
                let digest = fs::read_to_string(tag.join("current/link")).expect("a tag");
                let revision = digest.trim().replace(':', "/");
                fs::remove_dir_all(&tag).expect("removed");
                fs::remove_dir_all(self.v2(&format!("repositories/team/api/_manifests/revisions/{revision}"))).expect("removed");
            }
            "two blobs are damaged" => {
                let cut = self.blob("a9e8137b53dfdbc1e7941546b38c7b00efc205bebb0f4df2f586d5e0df6d95bb");
                fs::File::options().write(true).open(cut).and_then(|file| file.set_len(100)).expect("cut");
                let changed = self.blob("b5ca54317e462a753f8801cb7e80b1a29893683e0c3f3d5a009ba192179a34d1");
                let mut bytes = fs::read(&changed).expect("there");
                bytes[100] ^= 1;
                fs::write(changed, bytes).expect("written");
            }
            "a blob and two links are lost" => {
                let blob = self.blob("a9e8137b53dfdbc1e7941546b38c7b00efc205bebb0f4df2f586d5e0df6d95bb");
                fs::remove_dir_all(blob.parent().expect("a directory")).expect("removed");
                let revision = "repositories/team/api/_manifests/revisions/sha256/393bec279e61deed249c2d71abe47b5e249584b3658382fcd60db73d0321224f";
                fs::remove_dir_all(self.v2(revision)).expect("removed");
                let link = "repositories/team/web/frontend/_layers/sha256/106bf8b47560657ba659bcee22faf75c97f80ec8ca0a0377971d0f65eb1df41b/link";
                fs::write(self.v2(link), "").expect("emptied");
                // Some days ago: what is young is work under way.
                let then = SystemTime::now() - Duration::from_secs(3 * 86400);
                fs::File::open(self.v2(link)).and_then(|file| file.set_modified(then)).expect("ours");
            }
            "there is a mirror" => {
                unpack("team", &self.real("/srv/mirror"));
            }
            _ => panic!("no such set-up: {what}"),
        }
        self
    }

    fn v2(&self, path: &str) -> PathBuf {
        self.real(ROOT).join("docker/registry/v2").join(path)
    }

    fn blob(&self, hex: &str) -> PathBuf {
        self.v2(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    /// What a shell on that machine prints for a command line.
    pub(super) fn run(&mut self, line: &str) -> String {
        if line == "echo $?" {
            return format!("{}\n", self.code);
        }
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec 2>&1; {}", self.as_it_is(line))).current_dir(self.home.path());
        for (name, _) in std::env::vars_os() {
            if ["REGISTRY_", "REGSWEEP_", "RUST_LOG", "COLUMNS", "CLICOLOR"].iter().any(|p| name.to_string_lossy().starts_with(p))
            {
                command.env_remove(name);
            }
        }
        let program = Path::new(env!("CARGO_BIN_EXE_regsweep")).parent().expect("in a directory");
        command.env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").expect("there is one")));
        command.env("REGSWEEP_TEST_CLOCK", format!("shift={},trusted=yes", self.clock.as_secs()));
        command.env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8").stdin(std::process::Stdio::null());
        let output = command.output().expect("there is a shell");
        self.code = output.status.code().expect("it ended by itself");
        self.as_told(&String::from_utf8(output.stdout).expect("output is UTF-8"))
    }

    /// How the last command ended.
    pub(super) fn code(&self) -> i32 {
        self.code
    }

    /// A command line of the documents as it is run here.
    fn as_it_is(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for directory in DIRECTORIES {
            line = line.replace(directory, &self.real(directory).to_string_lossy());
        }
        for (number, run) in self.runs.iter().enumerate() {
            line = line.replace(&run_name(number), run);
        }
        // Only those commands that count waits have a clock that can be moved.
        let line = line.replace("regsweep audit", "regsweep audit --ignore-birth-time");
        // A sample does not watch for pushes: none come.
        match line.contains("--rescue-for") {
            true => line,
            false => line.replace(" --online", " --online --rescue-for 0s"),
        }
    }

    /// What was printed here, as it reads on that machine on the day of the documents.
    fn as_told(&mut self, text: &str) -> String {
        let text = text.replace(&*self.home.path().to_string_lossy(), "");
        let text = text.replace(&format!("127.0.0.1:{}", self.port), "127.0.0.1:5000");
        let lines: Vec<String> = text.lines().map(|line| self.line_as_told(line)).collect();
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn line_as_told(&mut self, line: &str) -> String {
        let is_about_the_disk = line.contains("free") && line.contains("disk");
        let told: String = pieces(line)
            .map(|piece| match piece {
                _ if is_run(piece) => self.run_as_told(piece),
                _ if is_time(piece) => TIME.to_owned(),
                _ if is_about_the_disk && is_decimal(piece) => "74.29".to_owned(),
                _ => piece.to_owned(),
            })
            .collect();
        durations_as_told(&told)
    }

    fn run_as_told(&mut self, run: &str) -> String {
        let number = self.runs.iter().position(|known| known == run).unwrap_or_else(|| {
            self.runs.push(run.to_owned());
            self.runs.len() - 1
        });
        run_name(number)
    }
}

/// The time in the name of a run in the documents: one night after the other.
fn run_name(number: usize) -> String {
    format!("202611{:02}T023000Z", 24 + number)
}

/// The line in pieces that are words of letters, digits and what numbers and times hold beside, or anything else.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let is_word = |character: char| character.is_ascii_alphanumeric() || ".:-_".contains(character);
    let mut rest = line;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = rest.find(|character: char| is_word(character) != is_word(first)).unwrap_or(rest.len());
        let (mut piece, _) = rest.split_at(end);
        // The name of a run ends in what made it.
        if piece.len() > 16 && is_run(&piece[..16]) {
            piece = &piece[..16];
        }
        // Nor does a time end in the full stop of its sentence.
        piece = match piece.trim_end_matches(['.', ':']) {
            "" => piece,
            trimmed => trimmed,
        };
        rest = &rest[piece.len()..];
        Some(piece)
    })
}

/// `20261124T023000Z`
fn is_run(piece: &str) -> bool {
    let shape: String = piece.chars().map(|character| if character.is_ascii_digit() { '0' } else { character }).collect();
    shape == "00000000T000000Z"
}

/// A time of now or, as clocks are moved forward, later. Those of the archives are older, and stay.
fn is_time(piece: &str) -> bool {
    let time: Option<Timestamp> = piece.parse().ok();
    time.is_some_and(|time| time > Timestamp::now() - SignedDuration::from_hours(1))
}

/// `74.29`
fn is_decimal(piece: &str) -> bool {
    piece.contains('.') && piece.parse::<f64>().is_ok()
}

/// Takes out how fast this machine is, and what else differs from one run to the next.
fn durations_as_told(line: &str) -> String {
    // Figures and fields of which nothing but the name is the same twice.
    for (name, value) in [
        ("regsweep_start_time_seconds", "1795487400"),
        ("regsweep_duration_seconds", "0.021"),
        ("\"elapsed_seconds\": ", "0.021"),
        ("\"reading_seconds\": ", "0.021"),
        ("\"bytes_per_second\": ", "432013312"),
        ("\"waited_seconds\": ", "11520.021"),
        ("\"before\": ", "79766523904"),
        ("\"after\": ", "79766523904"),
    ] {
        if line.trim_start().starts_with(name) && !line.trim_start().starts_with("# ") {
            let end = line.rfind(|character: char| character.is_ascii_digit()).map_or(line.len(), |at| at + 1);
            let begin = line[..end].rfind(|character: char| !(character.is_ascii_digit() || "-+e.".contains(character)));
            let begin = begin.map_or(0, |at| at + 1);
            return format!("{}{value}{}", &line[..begin], &line[end..]);
        }
    }
    let words: Vec<&str> = line.split(' ').collect();
    let mut told: Vec<String> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1).copied().unwrap_or_default();
        let previous = at.checked_sub(1).map_or("", |before| words[before]);
        // `3h 12m 1s` on a machine that is slow.
        let bare = word.trim_end_matches([',', ';', '.', ')']);
        if is_short(bare) && previous.strip_suffix('m').is_some_and(|minutes| minutes.parse::<u64>().is_ok()) {
            told.last_mut().expect("there is a word before").push_str(&word[bare.len()..]);
            continue;
        }
        let is_unit = next.trim_end_matches([',', ';', '.', ')']) == "s";
        told.push(match word {
            _ if is_decimal(word) && is_unit => "0.1".to_owned(),
            _ if next.contains("B/s") && word.parse::<f64>().is_ok() => "412.00".to_owned(),
            _ if word.ends_with("B/s") && previous.parse::<f64>().is_ok() => "MiB/s".to_owned(),
            _ if is_short(word) && ["in", "after", "took"].contains(&previous) => "0.1s".to_owned(),
            _ => (*word).to_owned(),
        });
    }
    told.join(" ")
}

/// `12ms`, `0.1s`
fn is_short(word: &str) -> bool {
    let number = word.strip_suffix("ms").or(word.strip_suffix('s'));
    number.is_some_and(|number| number.parse::<f64>().is_ok())
}
