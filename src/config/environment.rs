//! The environment and the clock, which nothing else reads.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::clock::RunClock;
use crate::error::{Context as _, Error};
use crate::writers::Credentials;

/// Where a password is given without anybody seeing it in the list of processes.
const REGISTRY_AUTH: &str = "REGSWEEP_REGISTRY_AUTH";

/// Addresses of registries, as charts give them: separated by spaces or commas.
const REGISTRIES: &str = "REGSWEEP_REGISTRY";

/// That no registry takes pushes.
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

/// Addresses of registries: as they were typed, or from the variable.
pub(super) fn registries(given: Vec<String>, environment: &[(OsString, OsString)]) -> Vec<String> {
    if !given.is_empty() {
        return given;
    }
    let variable = environment.iter().find(|(name, _)| name == REGISTRIES);
    let text = variable.map(|(_, value)| value.to_string_lossy().into_owned()).unwrap_or_default();
    text.split([' ', ',']).filter(|address| !address.is_empty()).map(str::to_owned).collect()
}

/// Whether no registry takes pushes: as it was typed, or from the variable.
pub(super) fn assume_offline(given: bool, environment: &[(OsString, OsString)]) -> Result<bool, Error> {
    let variable = environment.iter().find(|(name, value)| name == ASSUME_OFFLINE && !value.is_empty());
    match variable.map(|(_, value)| value.to_string_lossy().to_ascii_lowercase()) {
        _ if given => Ok(true),
        None => Ok(false),
        Some(value) => match &*value {
            "1" | "true" | "yes" => Ok(true),
            "0" | "false" | "no" => Ok(false),
            _ => Err(Error::Usage(format!("{ASSUME_OFFLINE} is {}, and neither true nor false", crate::escape::escaped(&value)))),
        },
    }
}

/// User and password: as they were typed, from the file that was named, or from the variable.
pub(super) fn registry_auth(given: Option<String>, environment: &[(OsString, OsString)]) -> Result<Option<Credentials>, Error> {
    let variable = || {
        let (_, value) = environment.iter().find(|(name, value)| name == REGISTRY_AUTH && !value.is_empty())?;
        Some((REGISTRY_AUTH, value.to_string_lossy().into_owned()))
    };
    let Some((source, given)) = given.map(|given| ("--registry-auth", given)).or_else(variable) else { return Ok(None) };
    let text = match given.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).context("read", path)?,
        None => given,
    };
    let credentials = Credentials::of(&text);
    let message = || format!("{source} is neither USER:PASSWORD nor @FILE with that in its only line");
    credentials.map(Some).ok_or_else(|| Error::Usage(message()))
}

/// Not `/tmp` unless somebody says so: where that is kept in memory, nothing would be won.
pub(super) fn spill_directory(environment: &[(OsString, OsString)]) -> PathBuf {
    let given = environment.iter().find(|(name, value)| name == "TMPDIR" && !value.is_empty());
    given.map_or_else(|| PathBuf::from("/var/tmp"), |(_, value)| PathBuf::from(value))
}
