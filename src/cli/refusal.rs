//! Rejected command lines: the error, and the likely correction.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser as _};

use super::command::{Cli, NAME};

/// The least similarity of a suggested name; clap uses the same for the options of one command.
const SIMILAR: f64 = 0.8;
/// More commands than these are not listed by name.
const NAMED: usize = 3;

/// Why a command line is not executed: it is wrong, or it asks for help or the version.
#[derive(Debug)]
pub struct Refusal {
    error: clap::Error,
    /// The recognised command names, outermost first.
    names: Vec<String>,
    /// Whether the output is expected to be JSON.
    pub wants_json: bool,
}

/// Reads the arguments.
///
/// # Errors
///
/// When they are wrong, or ask for help or the version.
pub fn parse(arguments: &[OsString]) -> Result<Cli, Refusal> {
    Cli::try_parse_from(arguments).map_err(|error| {
        let (mut command, names) = meant(arguments);
        Refusal { error: explained(error, &mut command), names, wants_json: wants_json(arguments) }
    })
}

impl Refusal {
    /// Whether this is requested help or version output, and not an error.
    pub fn is_answer(&self) -> bool {
        !self.error.use_stderr()
    }

    /// Prints the help, the version or the error to its stream.
    pub fn print(&self) {
        let _closed = self.error.print();
    }

    /// The full name of the recognised command.
    pub fn command(&self) -> Option<String> {
        // The same command under another name.
        let names = if self.names == ["quarantine", "restore"] { &self.names[1..] } else { &self.names[..] };
        (!names.is_empty()).then(|| names.join(" "))
    }

    /// The error in one line.
    pub fn message(&self) -> String {
        let text = self.error.render().to_string();
        let text = text.split("\n\nUsage:").next().unwrap_or_default();
        let text = text.split("\n\nFor more information").next().unwrap_or_default();
        let lines = text.trim_start_matches("error: ").lines().map(str::trim).filter(|line| !line.is_empty());
        // What follows a colon goes on in the same sentence.
        lines.collect::<Vec<_>>().join("; ").replace(":; ", ": ")
    }
}

/// Whether a command line asks for JSON, even if it is wrong otherwise, and in capitals, too.
fn wants_json(arguments: &[OsString]) -> bool {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).take_while(|word| word != "--").collect();
    let is_json = |value: &str| value.eq_ignore_ascii_case("json");
    let is_format =
        |words: &[std::borrow::Cow<'_, str>]| matches!(words, [option, value] if option == "--format" && is_json(value));
    let asks = |word: &str| word == "--json" || word.strip_prefix("--format=").is_some_and(is_json);
    words.iter().any(|word| asks(word)) || words.windows(2).any(is_format)
}

/// The recognised command of a command line, and its names.
fn meant(arguments: &[OsString]) -> (clap::Command, Vec<String>) {
    let (mut command, mut names) = (Cli::command(), Vec::new());
    // Gives each command its full name.
    command.build();
    // No option may precede a command.
    for word in arguments.iter().skip(1).map_while(|word| word.to_str().filter(|word| !word.starts_with('-'))) {
        let Some(below) = command.find_subcommand(word).cloned() else { break };
        names.push(below.get_name().to_owned());
        command = below;
    }
    (command, names)
}

/// Adds hints that clap lacks: the values of a flag, and options of other commands.
fn explained(mut error: clap::Error, command: &mut clap::Command) -> clap::Error {
    let hint = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::TooManyValues, _) => Some("a flag stands alone, or is given true or false".to_owned()),
        (ErrorKind::UnknownArgument, Some(ContextValue::String(typed))) => elsewhere(typed, command),
        _ => None,
    };
    // The library finds names alike that no slip of a finger makes one from the other.
    for (typed, meant) in
        [(ContextKind::InvalidArg, ContextKind::SuggestedArg), (ContextKind::InvalidValue, ContextKind::SuggestedValue)]
    {
        let of = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.clone()),
            Some(ContextValue::Strings(texts)) => texts.first().cloned(),
            _ => None,
        };
        if let (Some(typed), Some(meant_text)) = (of(typed), of(meant))
            && !is_slip(&typed, &meant_text)
        {
            error.remove(meant);
            error.insert(ContextKind::Usage, ContextValue::StyledStr(command.render_usage()));
        }
    }
    if let Some(hint) = hint {
        // The usage must be that of the command, not of clap's suggestion.
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Usage, ContextValue::StyledStr(command.render_usage()));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    error
}

/// Whether one word may have been typed for another: few letters differ, or one is the beginning of the other.
fn is_slip(typed: &str, meant: &str) -> bool {
    let [typed, meant] = [typed, meant].map(|word| word.split('=').next().unwrap_or_default().trim_start_matches('-'));
    let longest = typed.chars().count().max(meant.chars().count());
    let is_begun = typed.chars().count() >= 3 && (meant.starts_with(typed) || typed.starts_with(meant));
    is_begun || strsim::damerau_levenshtein(typed, meant) <= (longest / 3).max(1)
}

/// A similar option of another command, if it is more similar than all of the command's own.
fn elsewhere(typed: &str, command: &clap::Command) -> Option<String> {
    let typed = typed.split('=').next()?.strip_prefix("--")?;
    let own = options(command);
    let likeness = |option: &str| strsim::jaro(typed, option);
    let nearest_own = own.iter().map(|option| likeness(option)).fold(SIMILAR, f64::max);
    let others = leaves();
    let foreign = others.iter().flat_map(|(_, options)| options).filter(|option| !own.contains(*option));
    let nearest = foreign.max_by(|one, other| likeness(one).total_cmp(&likeness(other)).then_with(|| other.cmp(one)))?;
    if likeness(nearest) <= nearest_own || !is_slip(typed, nearest) {
        return None;
    }
    if command.has_subcommands() {
        return Some(format!("options go behind the command: `{} COMMAND --{nearest}`", whole_name(command)));
    }
    let having = others.iter().filter(|(_, options)| options.contains(nearest));
    let having: Vec<String> = having.map(|(name, _)| format!("`{name}`")).collect();
    let having = match &having[..] {
        all if all.len() > NAMED => "other commands".to_owned(),
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        all => all.concat(),
    };
    Some(match nearest == typed {
        true => format!("'--{nearest}' is an option of {having}"),
        false => format!("a similar option exists, of {having}: '--{nearest}'"),
    })
}

fn whole_name(command: &clap::Command) -> String {
    let name = command.get_name();
    if name == NAME { NAME.to_owned() } else { format!("{NAME} {name}") }
}

/// The long options of a command.
fn options(command: &clap::Command) -> BTreeSet<String> {
    command.get_arguments().filter_map(|argument| argument.get_long().map(str::to_owned)).collect()
}

/// All commands without subcommands, by full name, with their options.
fn leaves() -> Vec<(String, BTreeSet<String>)> {
    let mut leaves = Vec::new();
    let mut waiting = vec![(NAME.to_owned(), Cli::command())];
    while let Some((name, command)) = waiting.pop() {
        waiting.extend(command.get_subcommands().map(|below| (format!("{name} {}", below.get_name()), below.clone())));
        if !command.has_subcommands() {
            leaves.push((name, options(&command)));
        }
    }
    leaves.sort();
    leaves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> Refusal {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        parse(&super::super::plain(words)).expect_err(line)
    }

    #[test]
    fn names_the_command_of_a_misplaced_option() {
        for (typed, expected) in [
            (
                "regsweep audit --repository x",
                "'--repository' is an option of `regsweep expire`, `regsweep garbage-collect` and `regsweep verify`",
            ),
            ("regsweep gc --slice=1/3", "'--slice' is an option of `regsweep verify`"),
            ("regsweep gc --slise=x", "a similar option exists, of `regsweep verify`: '--slice'"),
            (
                "regsweep verify --online",
                "'--online' is an option of `regsweep expire`, `regsweep garbage-collect` and `regsweep remove`",
            ),
            ("regsweep --dry-run gc", "options go behind the command: `regsweep COMMAND --dry-run`"),
            ("regsweep quarantine --older-than 1h purge", "`regsweep quarantine COMMAND --older-than`"),
        ] {
            let message = refused(typed).message();
            assert!(message.contains(expected) && !message.contains("--registry"), "{typed}: {message}");
        }
    }

    #[test]
    fn what_the_command_itself_has_is_meant_first() {
        for (typed, expected) in [
            ("regsweep gc --registri x", "'--registry'"),
            ("regsweep gc --dryrun", "'--dry-run'"),
            ("regsweep verify --quarantne", "'--quarantine'"),
            ("regsweep garbage-colect", "'garbage-collect'"),
        ] {
            let message = refused(typed).message();
            assert!(message.contains(expected) && !message.contains(" of `regsweep"), "{typed}: {message}");
        }
        let nothing = refused("regsweep gc --colour").message();
        assert_eq!(nothing, "unexpected argument '--colour' found; tip: to pass '--colour' as a value, use '-- --colour'");
    }

    #[test]
    fn suggests_nothing_that_nobody_meant() {
        for (typed, never) in [("regsweep audit --nope --root x", "--endpoint"), ("regsweep completions tcsh", "'zsh'")] {
            let message = refused(typed).message();
            assert!(!message.contains(never), "{message}");
        }
        assert!(refused("regsweep completions bahs").message().contains("'bash'"));
        let lacking = refused("regsweep report --root x").message();
        assert!(lacking.ends_with("were not provided: --html <FILE>"), "{lacking}");
    }

    #[test]
    fn rejects_values_that_are_no_booleans() {
        for flag in ["--dry-run=maybe", "--delete-untagged="] {
            assert!(refused(&format!("regsweep garbage-collect {flag} x")).message().contains("true or false"), "{flag}");
        }
        assert!(!refused("regsweep garbage-collect --no-such").message().contains("true or false"));
    }

    #[test]
    fn says_for_which_command_and_in_which_format() {
        for (typed, command, wants_json) in [
            ("regsweep gc --json --nope", Some("garbage-collect"), true),
            ("regsweep verify --format json --nope", Some("verify"), true),
            ("regsweep quarantine restore --format=json --nope", Some("restore"), true),
            ("regsweep quarantine list --nope", Some("quarantine list"), false),
            ("regsweep quarantine --nope", Some("quarantine"), false),
            ("regsweep gc --format=JSON", Some("garbage-collect"), true),
            ("regsweep gc --format xml", Some("garbage-collect"), false),
            ("regsweep gc --nope -- --json", Some("garbage-collect"), false),
            ("regsweep nope --json", None, true),
        ] {
            let refusal = refused(typed);
            assert_eq!((refusal.command().as_deref(), refusal.wants_json), (command, wants_json), "{typed}");
            assert!(!refusal.is_answer(), "{typed}");
        }
        assert!(refused("regsweep gc --help --json").is_answer());
        assert!(refused("regsweep --version").is_answer());
    }
}
