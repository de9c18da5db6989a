use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;
use crate::oci::{Algorithm, Digest};
use crate::store::Identity;

fn digest(number: u32) -> Digest {
    Digest::of(Algorithm::ALL[number as usize % 3], &number.to_le_bytes())
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn of(place: &str, filesystem: u64) -> Identity {
    Identity { place: place.into(), filesystem, directory: 7 }
}

fn identity() -> Identity {
    of("/srv/registry", 1)
}

fn open(path: &Path) -> State {
    State::open(path, &identity()).expect("usable")
}

/// Leaves the file as after a crash: all flushed records, and no new table.
fn flush(state: &State) {
    state.flush(&mut state.open.write().expect("free"));
}

#[test]
fn remembers_from_run_to_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state");
    for round in 1..=3_u32 {
        let state = open(&path);
        for number in 0..500 {
            let before = at(u64::from(1000 * (round - 1) + number));
            let expected = match round {
                1 => None,
                2 => Some(before),
                _ => (number % 2 == 0).then_some(before),
            };
            assert_eq!(state.last_good(&digest(number)), expected, "{number}");
            match round == 2 && number % 2 == 1 {
                true => state.note_bad(&digest(number)),
                false => state.note_good(&digest(number), at(u64::from(1000 * round + number))),
            }
        }
        assert_eq!(state.last_good(&digest(1000)), None);
        state.close(|_| true).expect("written");
    }
    let length = fs::metadata(&path).expect("there").len();
    assert!(length < 500 * 36 + 200, "{length} bytes");
    assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 1, "nothing else is left");
}

#[test]
fn what_was_flushed_survives_and_what_was_torn_does_not_count() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state");
    let state = open(&path);
    for number in 0..10 {
        state.note_good(&digest(number), at(5));
    }
    flush(&state);
    state.note_bad(&digest(3));
    flush(&state);
    state.note_good(&digest(77), at(5));
    drop(state);
    let whole = fs::read(&path).expect("there");
    for torn in 0..=48 {
        let mut bytes = whole[..whole.len() - torn].to_vec();
        bytes.extend(vec![0xff; torn % 7]);
        fs::write(&path, bytes).expect("written");
        let state = open(&path);
        let found: Vec<u32> = (0..100).filter(|number| state.last_good(&digest(*number)).is_some()).collect();
        let expected: Vec<u32> = (0..10).filter(|number| torn > 0 || *number != 3).collect();
        assert_eq!(found, expected, "{torn} bytes torn off");
    }
}

#[test]
fn blobs_that_are_not_stored_any_more_are_forgotten() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state");
    let state = open(&path);
    let [gone, stays] = [0, 3].map(digest);
    state.note_good(&gone, at(1));
    state.note_good(&stays, at(1));
    state.close(|digest| *digest == stays).expect("written");
    let state = open(&path);
    assert_eq!((state.last_good(&gone), state.last_good(&stays)), (None, Some(at(1))));
}

#[test]
fn another_stores_file_is_refused_and_so_is_one_in_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state");
    let state = open(&path);
    let refused = |identity: &Identity| State::open(&path, identity).expect_err("refused").to_string();
    assert!(refused(&identity()).contains("another run"), "{}", refused(&identity()));
    state.close(|_| true).expect("written");
    let elsewhere = refused(&of("/srv/other", 1));
    assert!(elsewhere.contains("another store, in /srv/registry"), "{elsewhere}");
    let copied = refused(&of("/srv/registry", 2));
    assert!(copied.contains("another filesystem"), "{copied}");
    open(&path);
}

#[test]
fn a_damaged_file_is_refused_wherever_it_is_damaged() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state");
    let state = open(&path);
    for number in 0..4 {
        state.note_good(&digest(number), at(1));
    }
    state.close(|_| true).expect("written");
    let whole = fs::read(&path).expect("there");
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs::write(&path, bytes).expect("written");
        let error = State::open(&path, &identity()).expect_err("damaged").to_string();
        assert!(error.contains("cannot use the state file"), "{place}: {error}");
    }
    for length in 1..whole.len() {
        fs::write(&path, &whole[..length]).expect("written");
        State::open(&path, &identity()).expect_err("cut short");
    }
    fs::write(&path, "the work of another program").expect("written");
    State::open(&path, &identity()).expect_err("no state");
    assert_eq!(fs::read(&path).expect("there"), b"the work of another program");
}
