//! Every command that keeps records, with each of its requests failing in turn: a run that ends with 2 leaves every record as it found it.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::cli::{self, Command};
use crate::clock::RunClock;
use crate::commands::{garbage_collect, quarantine};
use crate::config::{CollectSettings, QuarantineSettings};
use crate::error::Error;
use crate::exit::Exit;
use crate::layout::{self, LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::progress::Silent;
use crate::records::{BegunBy, BegunName, BegunWith, Records};
use crate::report::Report as _;
use crate::store::{Access, Backend as _, Etags, Fails, ObjectStore, Request};
use crate::testing::{Built, THEN, sha256};

const RECORDS: [&str; 5] = ["summary.json", "restored.json", "sweep", "begun.json", "restarts.json"];

/// Something in quarantine that is needed again, garbage, tags, and records of earlier runs of all kinds.
struct Shelf {
    store: ObjectStore,
    root: tempfile::TempDir,
}

impl Shelf {
    fn new() -> Shelf {
        let built = Built::default();
        let [config, shared, own, unneeded] = ["1", "share", "alone", "spare"].map(|text| built.blob(text.as_bytes()));
        let [tagged, untagged] = [vec![shared], vec![shared, own]].map(|layers| built.image(&config, &layers));
        [tagged, untagged].iter().for_each(|digest| built.revision("team/app", digest));
        [config, shared, own, unneeded].iter().for_each(|layer| built.layer("team/app", layer));
        ["v1", "v2"].iter().for_each(|tag| built.tag("team/app", tag, &tagged));
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(root.path().join(layout::V2)).expect("made");
        let shelf = Shelf { store: ObjectStore::new(built.0, Etags::Md5, 0), root };
        assert_eq!(shelf.run("garbage-collect -m --quarantine --assume-offline"), Exit::Clean);
        shelf.push(untagged);
        shelf.write_records(own);
        shelf
    }

    /// Something needs one of what is in quarantine, and something else is needed by nothing.
    fn push(&self, untagged: Digest) {
        let (files, name, more) = (self.store.memory(), RepositoryName::new("team/app"), sha256(b"other"));
        files.add_file(layout::current_link(&name, &TagName::new("again")), untagged.to_string(), THEN);
        files.add_file(layout::blob_data(&more), "other", THEN);
        files.add_file(LinkDirectory::Layers(name).link(&more), more.to_string(), THEN);
    }

    /// As runs that were cut off leave them.
    fn write_records(&self, own: Digest) {
        let clock = RunClock::read();
        let stop = AtomicBool::new(false);
        let _lock = self.store.lock(Access::Change, Duration::ZERO, clock.timestamp(), &stop).expect("free");
        let mut records = Records::open(self.store.notes()).expect("readable");
        let name = RepositoryName::new("team/app");
        let revisions = vec![sha256(b"gone")];
        let begun = BegunWith { name: BegunName::Tag(TagName::new("gone")), goes_on: true, revisions };
        records.begin_with([(&name, &begun)].into_iter(), (BegunBy::Remove, clock.timestamp())).expect("written");
        records.add_restored([Target::Blob(sha256(b"back"))].iter(), &clock).expect("written");
        let unlinked = [sha256(b"other"), own];
        records.begin_sweep(unlinked.iter().map(|digest| (&name, *digest)), |_| true).expect("written");
    }

    fn run(&self, line: &str) -> Exit {
        let stop = AtomicBool::new(false);
        let collect = |settings: Result<CollectSettings, Error>| {
            Ok(garbage_collect::run_on(&self.store, settings?, &Silent, &stop)?.exit())
        };
        let of_quarantine =
            |wanted| Ok(quarantine::run_on(&self.store, QuarantineSettings::resolve(wanted)?, &Silent, &stop)?.exit());
        let ended: Result<Exit, Error> = match super::command(self.root.path(), line) {
            Command::GarbageCollect(arguments) => collect(CollectSettings::resolve(arguments, line.to_owned())),
            Command::Expire(arguments) => collect(CollectSettings::resolve_expire(arguments, line.to_owned())),
            Command::Remove(arguments) => collect(CollectSettings::resolve_remove(arguments, line.to_owned())),
            Command::Restore(arguments) => of_quarantine(cli::Quarantine::Restore(arguments)),
            Command::Quarantine(wanted) => of_quarantine(wanted),
            _ => panic!("another command"),
        };
        ended.unwrap_or_else(|error| Exit::of_error(&error))
    }

    fn records(&self) -> Vec<Option<Vec<u8>>> {
        self.store.begin(None);
        RECORDS.iter().map(|name| self.store.notes().read(name).expect("readable")).collect()
    }
}

#[test]
fn a_run_that_ends_with_2_leaves_every_record_as_it_found_it() {
    for line in [
        "garbage-collect --assume-offline",
        "garbage-collect -m --assume-offline",
        "garbage-collect -m --quarantine --quarantine-for 0s --assume-offline",
        "expire --keep-last 1 --assume-offline",
        "expire --keep-last 1 --quarantine --assume-offline",
        "remove team/app:v1 --assume-offline",
        "remove team/app:v1 --quarantine --assume-offline",
        "restore --all",
        "quarantine restore --all",
        "quarantine purge --assume-offline",
        "quarantine restarted --since 10m",
    ] {
        let shelf = Shelf::new();
        shelf.store.begin(None);
        let whole = shelf.run(line);
        assert!(matches!(whole, Exit::Clean | Exit::Findings), "{line}: {whole:?}");
        // What fails before the first record is written leaves all as it was, and what fails after the first change of the store is no 2.
        let log = shelf.store.log();
        let first = |is_meant: &dyn Fn(&Asked) -> bool| {
            log.iter().position(|asked| is_change(asked) && is_meant(asked)).map_or(log.len(), |place| place + 1)
        };
        let changed = first(&|asked| !is_of_records(asked) && !asked.1.ends_with("lock"));
        let noted = first(&is_of_records);
        let faults = (noted..=changed).flat_map(|number| [(number, Fails::Refused), (number, Fails::AnswerLost)]);
        let mut taken_back = 0;
        for fault in faults.chain([(1, Fails::Unchangeable), (noted, Fails::Unchangeable)]) {
            let shelf = Shelf::new();
            let before = shelf.records();
            shelf.store.begin(Some(fault));
            let ended = shelf.run(line);
            let log = shelf.store.log();
            if ended == Exit::Stopped {
                taken_back += u32::from(log.iter().any(|asked| is_change(asked) && is_of_records(asked)));
                let after = shelf.records();
                let differs: Vec<&str> = (0..RECORDS.len()).filter(|n| after[*n] != before[*n]).map(|n| RECORDS[n]).collect();
                assert_eq!(differs, [""; 0], "{line}: {fault:?}: {log:#?}");
            }
        }
        assert!(taken_back > 0, "{line}: no run that ended with 2 had written a record");
    }
}

type Asked = (Request, PathBuf);

fn is_change(asked: &Asked) -> bool {
    matches!(asked.0, Request::Put | Request::Delete)
}

fn is_of_records(asked: &Asked) -> bool {
    RECORDS.iter().any(|name| asked.1.ends_with(name))
}
