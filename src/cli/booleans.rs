//! Boolean values of flags, such as `--delete-untagged=true`: the registry's own command line accepts them, and charts
//! write them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use clap::{ArgAction, CommandFactory as _};

use super::command::Cli;

/// Removes boolean values from flags, and passes each flag once. The last mention of a flag wins, whether `-d` or
/// `--dry-run`. Combined short flags are split. Other arguments stay as they are, and so does everything after `--`.
pub fn plain(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let flags = flags();
    let mut plain: Vec<OsString> = Vec::new();
    let mut arguments = arguments.into_iter();
    for argument in arguments.by_ref() {
        if argument == "--" {
            plain.push(argument);
            break;
        }
        let Some((given, is_set)) = argument.to_str().and_then(|text| read(text, &flags)) else {
            let long = argument.to_str().and_then(|text| by_long_name(text, &flags));
            plain.push(long.map_or(argument, OsString::from));
            continue;
        };
        for (place, flag) in given.iter().enumerate() {
            let names = &flags[flag];
            plain.retain(|earlier| !earlier.to_str().is_some_and(|earlier| names.contains(earlier)));
            // The value of combined flags belongs to the last one.
            if is_set || place + 1 < given.len() {
                plain.push(OsString::from(flag));
            }
        }
    }
    plain.extend(arguments);
    plain
}

/// The flags in one argument, and the value of the last.
fn read(text: &str, flags: &BTreeMap<String, BTreeSet<String>>) -> Option<(Vec<String>, bool)> {
    let (name, is_set) = match text.split_once('=') {
        Some((name, value)) => (name, boolean(value)?),
        None => (text, true),
    };
    let given: Vec<String> = match name.strip_prefix('-') {
        Some(letters) if !letters.starts_with('-') => letters.chars().map(|letter| format!("-{letter}")).collect(),
        _ => vec![name.to_owned()],
    };
    (!given.is_empty() && given.iter().all(|flag| flags.contains_key(flag))).then_some((given, is_set))
}

/// A short flag with a value that is no boolean, by its long name: clap refuses both, and names the value and the flag only of this one.
fn by_long_name(text: &str, flags: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let (short, value) = text.split_once('=')?;
    let long = flags.get(short)?.iter().find(|name| name.starts_with("--"))?;
    Some(format!("{long}={value}"))
}

/// A boolean as Go's `strconv.ParseBool` reads it.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// All flags without a value, as they are typed, each with all its names.
fn flags() -> BTreeMap<String, BTreeSet<String>> {
    let mut flags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut waiting = vec![Cli::command()];
    while let Some(command) = waiting.pop() {
        for argument in command.get_arguments().filter(|argument| matches!(argument.get_action(), ArgAction::SetTrue)) {
            let long = argument.get_long().map(|long| format!("--{long}"));
            let names: BTreeSet<String> = long.into_iter().chain(argument.get_short().map(|short| format!("-{short}"))).collect();
            for name in &names {
                flags.entry(name.clone()).or_default().extend(names.iter().cloned());
            }
        }
        waiting.extend(command.get_subcommands().cloned());
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &str) -> Vec<OsString> {
        given.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_last_word_on_a_flag_counts() {
        for (given, expected) in [
            ("gc --dry-run=true -m", "gc --dry-run -m"),
            ("gc --dry-run=false -m", "gc -m"),
            ("gc --dry-run --dry-run=false", "gc"),
            ("gc --dry-run=false --dry-run", "gc --dry-run"),
            ("gc -m=true -d=false x", "gc -m x"),
            ("gc -d --dry-run=false x", "gc x"),
            ("gc --delete-untagged -m=false", "gc"),
            ("gc -d -d", "gc -d"),
            ("gc -dd", "gc -d"),
            ("gc -d --dry-run", "gc --dry-run"),
            ("gc -dm --delete-untagged=true", "gc -d --delete-untagged"),
            ("gc -dm=true", "gc -d -m"),
            ("gc -dm=false", "gc -d"),
            ("gc -m -dm=0", "gc -d"),
            ("gc --root=true --min-age=false", "gc --root=true --min-age=false"),
            ("gc --dry-run=yes --nope=true -x=true -dx", "gc --dry-run=yes --nope=true -x=true -dx"),
            ("gc -d=maybe -dm=maybe", "gc --dry-run=maybe -dm=maybe"),
            ("gc - --", "gc - --"),
            ("gc -- --dry-run=true -d -d", "gc -- --dry-run=true -d -d"),
        ] {
            assert_eq!(plain(of(given)), of(expected), "{given}");
        }
    }

    #[test]
    fn a_value_is_read_as_go_reads_it() {
        for value in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(plain(of(&format!("gc --dry-run={value}"))), of("gc --dry-run"), "{value}");
        }
        for value in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(plain(of(&format!("gc -d -m=1 --dry-run={value}"))), of("gc -m"), "{value}");
        }
        for value in ["", "yes", "no", "tRUE", "2", "on", "true "] {
            let given = vec![OsString::from("gc"), OsString::from(format!("--dry-run={value}"))];
            assert_eq!(plain(given.clone()), given, "{value}");
        }
    }
}
