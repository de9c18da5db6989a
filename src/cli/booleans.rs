//! `--delete-untagged=true`, as the registry's own command line takes it and charts write it.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{ArgAction, CommandFactory as _};

use super::Cli;

/// Takes `=true` and `=false` off flags that are otherwise given or not: the last word on a flag counts. What is no such flag stays as it is,
/// and so does everything after `--`.
pub fn plain(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let flags = flags();
    let mut plain: Vec<OsString> = Vec::new();
    let mut arguments = arguments.into_iter();
    for argument in arguments.by_ref() {
        if argument == "--" {
            plain.push(argument);
            break;
        }
        match argument.to_str().and_then(|text| text.split_once('=')) {
            Some((flag, value @ ("true" | "false"))) if flags.contains(flag) => {
                let flag = OsString::from(flag);
                plain.retain(|given| *given != flag);
                if value == "true" {
                    plain.push(flag);
                }
            }
            _ => plain.push(argument),
        }
    }
    plain.extend(arguments);
    plain
}

/// All flags without a value, as they are typed.
fn flags() -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    let mut waiting = vec![Cli::command()];
    while let Some(command) = waiting.pop() {
        for argument in command.get_arguments().filter(|argument| matches!(argument.get_action(), ArgAction::SetTrue)) {
            flags.extend(argument.get_long().map(|long| format!("--{long}")));
            flags.extend(argument.get_short().map(|short| format!("-{short}")));
        }
        waiting.extend(command.get_subcommands().cloned());
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_a_flag_counts() {
        for (given, expected) in [
            ("gc --dry-run=true -m", "gc --dry-run -m"),
            ("gc --dry-run=false -m", "gc -m"),
            ("gc --dry-run --dry-run=false", "gc"),
            ("gc --dry-run=false --dry-run", "gc --dry-run"),
            ("gc -m=true -d=false x", "gc -m x"),
            ("gc -dm --delete-untagged=true", "gc -dm --delete-untagged"),
            ("gc --root=true --min-age=false", "gc --root=true --min-age=false"),
            ("gc --dry-run=yes --nope=true", "gc --dry-run=yes --nope=true"),
            ("gc -- --dry-run=true", "gc -- --dry-run=true"),
        ] {
            let plain = plain(given.split(' ').map(OsString::from));
            assert_eq!(plain, expected.split(' ').map(OsString::from).collect::<Vec<_>>(), "{given}");
        }
    }
}
