//! The environment and the clock, which nothing else reads.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cli::boolean;
use crate::clock::RunClock;
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::writers::{Credentials, Endpoint};

/// Where a password is given without anybody seeing it in the list of processes.
const REGISTRY_AUTH: &str = "REGSWEEP_REGISTRY_AUTH";

/// More registries to ask, as `--registry`: a chart that swaps the image of a job can set variables and no flags.
const REGISTRY: &str = "REGSWEEP_REGISTRY";
/// As `--online`.
pub(super) const ONLINE: &str = "REGSWEEP_ONLINE";
/// As `--assume-offline`.
const ASSUME_OFFLINE: &str = "REGSWEEP_ASSUME_OFFLINE";

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(super) fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

/// What the clock says.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Reads the clocks of a run.
pub(super) fn read_clock() -> RunClock {
    let clock = RunClock::read();
    // Not in a program that is released: who sets its environment must not be able to end a wait.
    if cfg!(debug_assertions) { clock.moved_for_tests(&test_clock().unwrap_or_default()) } else { clock }
}

/// How tests move the clocks of a debug build; see [`RunClock::moved_for_tests`].
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn test_clock() -> Option<String> {
    std::env::var("REGSWEEP_TEST_CLOCK").ok()
}

/// Whether changes to the store stop a run. Tests of a debug build do without, to change it between two steps.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(super) fn notices_changes() -> bool {
    !cfg!(debug_assertions) || std::env::var_os("REGSWEEP_TEST_UNNOTICED").is_none()
}

/// User and password: as they were typed, from the file that was named, or from the variable.
pub(super) fn registry_auth(given: Option<String>, environment: &[(OsString, OsString)]) -> Result<Option<Credentials>, Error> {
    let variable = || {
        let (_, value) = environment.iter().find(|(name, value)| name == REGISTRY_AUTH && !value.is_empty())?;
        Some((REGISTRY_AUTH, value.to_string_lossy().into_owned()))
    };
    let Some((source, given)) = given.map(|given| ("--registry-auth", given)).or_else(variable) else { return Ok(None) };
    let reading = if source == REGISTRY_AUTH { "read the file that REGSWEEP_REGISTRY_AUTH names," } else { "read" };
    let text = match given.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).context(reading, path)?,
        None => given,
    };
    let credentials = Credentials::of(&text);
    let message = || format!("{source} is neither USER:PASSWORD nor @FILE with that in its only line");
    credentials.map(Some).ok_or_else(|| Error::Usage(message()))
}

/// The registries to ask: those that were typed, and those that the variable names, with white space between them.
pub(super) fn registries(typed: &[String], environment: &[(OsString, OsString)]) -> Result<Vec<Endpoint>, Error> {
    let variable = environment.iter().find(|(name, _)| name == REGISTRY).map(|(_, value)| value.to_string_lossy());
    let typed = typed.iter().map(|url| Endpoint::given("--registry", url));
    let named = variable.iter().flat_map(|value| value.split_whitespace()).map(|url| Endpoint::given(REGISTRY, url));
    typed.chain(named).collect()
}

/// How a collection goes about registries at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beside {
    pub(super) online: bool,
    pub(super) assume_offline: bool,
}

impl Beside {
    /// As it was typed, or else as the variables say.
    pub(super) fn resolve(typed: Beside, environment: &[(OsString, OsString)]) -> Result<Beside, Error> {
        let said = Beside { online: is_set(ONLINE, environment)?, assume_offline: is_set(ASSUME_OFFLINE, environment)? };
        match (typed.online || typed.assume_offline, said) {
            (true, _) => Ok(typed),
            (false, Beside { online: true, assume_offline: true }) => {
                Err(Error::Usage(format!("{ONLINE} and {ASSUME_OFFLINE} exclude each other; set one of them")))
            }
            (false, said) => Ok(said),
        }
    }
}

/// Whether a variable says yes.
fn is_set(variable: &str, environment: &[(OsString, OsString)]) -> Result<bool, Error> {
    let value = environment.iter().find(|(name, value)| name == variable && !value.is_empty()).map(|(_, value)| value);
    let Some(value) = value else { return Ok(false) };
    let read = value.to_str().and_then(boolean);
    read.ok_or_else(|| Error::Usage(format!("{variable} is {}; set it to true or false", escaped(Path::new(value)))))
}

/// Not `/tmp` unless somebody says so: where that is kept in memory, nothing would be won.
pub(super) fn spill_directory(environment: &[(OsString, OsString)]) -> PathBuf {
    let given = environment.iter().find(|(name, value)| name == "TMPDIR" && !value.is_empty());
    given.map_or_else(|| PathBuf::from("/var/tmp"), |(_, value)| PathBuf::from(value))
}

/// Where programs keep what they can do without. Nothing where the environment has no home.
pub(super) fn cache_directory(environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    // What is not absolute is to be ignored, says the specification of these directories.
    let variable = |name: &str| {
        let value = environment.iter().find(|(known, _)| known == name).map(|(_, value)| PathBuf::from(value));
        value.filter(|path| path.is_absolute())
    };
    let directory = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
    Some(directory.join("regsweep"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn a_chart_says_by_variables_what_others_type() {
        let beside = |online, assume_offline| Beside { online, assume_offline };
        let (none, online, offline) = (beside(false, false), beside(true, false), beside(false, true));
        for (typed, variables, expected) in [
            (none, &[][..], Some(none)),
            (none, &[("REGSWEEP_ONLINE", "true")], Some(online)),
            (none, &[("REGSWEEP_ASSUME_OFFLINE", "1")], Some(offline)),
            (none, &[("REGSWEEP_ONLINE", ""), ("REGSWEEP_ASSUME_OFFLINE", "false")], Some(none)),
            (offline, &[("REGSWEEP_ONLINE", "true")], Some(offline)),
            (online, &[("REGSWEEP_ASSUME_OFFLINE", "true")], Some(online)),
            (none, &[("REGSWEEP_ONLINE", "true"), ("REGSWEEP_ASSUME_OFFLINE", "true")], None),
            (none, &[("REGSWEEP_ONLINE", "yes")], None),
        ] {
            assert_eq!(Beside::resolve(typed, &of(variables)).ok(), expected, "{typed:?} {variables:?}");
        }
        let asked = registries(&["http://a".to_owned()], &of(&[("REGSWEEP_REGISTRY", " http://b\nhttp://c ")]));
        let shown: Vec<String> = asked.expect("addresses").iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["http://a", "http://b", "http://c"]);
        assert_eq!(registries(&[], &of(&[("REGSWEEP_REGISTRY_AUTH", "u:p")])).ok(), Some(Vec::new()));
    }

    #[test]
    fn what_can_be_done_without_lies_where_the_environment_says() {
        for (variables, expected) in [
            (&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")][..], Some("/c/regsweep")),
            (&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")], Some("/h/.cache/regsweep")),
            (&[("HOME", "")], None),
            (&[], None),
        ] {
            assert_eq!(cache_directory(&of(variables)), expected.map(PathBuf::from), "{variables:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_variable_names_it() {
        let typed = registries(&["b:5000".to_owned()], &[]).expect_err("no address").to_string();
        assert!(typed.starts_with("--registry b:5000 is no address"), "{typed}");
        let good = ["http://a".to_owned()];
        let named = registries(&good, &of(&[("REGSWEEP_REGISTRY", "http://b c:5000")])).expect_err("no address").to_string();
        assert!(named.starts_with("REGSWEEP_REGISTRY c:5000 is no address"), "{named}");
        let secret = registries(&[], &of(&[("REGSWEEP_REGISTRY", "http://u:secret@h")])).expect_err("no address").to_string();
        assert!(secret.contains("REGSWEEP_REGISTRY_AUTH") && !secret.contains("secret"), "{secret}");
        for value in ["nonsense", "@/no/such/file"] {
            let message = registry_auth(None, &of(&[("REGSWEEP_REGISTRY_AUTH", value)])).expect_err(value).to_string();
            assert!(message.contains("REGSWEEP_REGISTRY_AUTH"), "{message}");
            let message = registry_auth(Some(value.to_owned()), &[]).expect_err(value).to_string();
            assert!(!message.contains("REGSWEEP"), "{message}");
        }
    }
}
