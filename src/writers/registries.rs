//! Processes of this machine that are a registry: by their name and arguments, and by the store that their configuration comes to.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::listeners;
use super::reach::{Reached, changed_at, reach};
use crate::clock::wall_clock_at;
use crate::layout;
use crate::proc::started;
use crate::registry_config::{self, DescriptorCache, Listening, Problem, RedisServer, RegistryConfig};
use crate::store::Root;

/// What the programs are called: upstream's image, Debian's package, distribution's own name, Harbor's.
const PROGRAMS: [&str; 4] = ["registry", "docker-registry", "distribution", "registry_DO_NOT_USE_GC"];
/// The subcommands that write to a store.
const COMMANDS: [&str; 2] = ["serve", "garbage-collect"];

/// The variable that says which root a registry has, whatever its file says.
const ROOT_VARIABLE: &str = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY";

/// Larger than any configuration by far.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Which store a registry works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// Ours, or one inside it or around it.
    Ours(Service),
    /// Another one.
    Another,
    /// Any: its configuration, which names another one now, is younger than the process.
    Changed(PathBuf, Service),
    /// It cannot be seen.
    Untold,
}

/// What a registry that may be ours does, by its arguments and its configuration as that is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// Whether it writes whatever it answers: a collector, or a pull-through cache.
    pub(super) always_writes: bool,
    /// Where it listens, which its sockets tell better.
    pub(super) http: Listening,
    /// The cache of descriptors that it keeps; not known where its configuration is younger than the process, and names none now.
    pub(super) cache: Option<DescriptorCache>,
    /// The server of that cache, if it is a redis.
    pub(super) redis: Option<Box<RedisServer>>,
    /// Whether it may have been started with another configuration than it has now.
    pub(super) is_changed: bool,
}

/// An edit so shortly after the start of a process is none that anybody makes by hand; start times are rounded.
const AT_ONCE: Duration = Duration::from_millis(100);

/// How often, and how long apart, a registry is looked at that cannot be seen through: one that has just started, or does not start with
/// its configuration, is another matter soon.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Which store the process at `process`, a directory of `/proc`, works on; nothing if it is no registry.
pub(super) fn serves(process: &Path, root: &Root) -> Option<Serves> {
    for _ in 1..LOOKS {
        match look(process, root) {
            Some(Serves::Untold) => std::thread::sleep(PAUSE),
            seen => return seen,
        }
    }
    look(process, root)
}

fn look(process: &Path, root: &Root) -> Option<Serves> {
    let arguments = split(&fs::read(process.join("cmdline")).ok()?);
    if !is_registry(process, &arguments) {
        return None;
    }
    let serves = match configuration_of(process, &arguments) {
        Ok(theirs) => {
            let config = theirs.config.as_ref();
            let always_writes = arguments.iter().any(|argument| argument == "garbage-collect")
                || config.is_some_and(|config| config.proxy_remote.is_some());
            let cache = config.and_then(|config| config.descriptor_cache);
            let service = Service {
                always_writes,
                http: config.map(|config| config.http.clone()).unwrap_or_default(),
                cache: cache.or_else(|| (!theirs.is_old).then_some(DescriptorCache::Unknown)),
                redis: config.and_then(|config| config.redis.clone()).map(Box::new),
                is_changed: !theirs.is_old,
            };
            match config.map(|config| compare(process, &config.root, root)) {
                Some(Same::Is) => Serves::Ours(service),
                Some(Same::Untold) => Serves::Untold,
                Some(Same::IsNot) | None if theirs.is_as_it_was => Serves::Another,
                Some(Same::IsNot) | None => Serves::Changed(theirs.path, service),
            }
        }
        // A variable stands whatever became of the file.
        Err(_) => match root_variable(process).map(|theirs| compare(process, &theirs, root)) {
            Some(Same::Is) => Serves::Ours(Service {
                always_writes: true,
                http: Listening::default(),
                cache: Some(DescriptorCache::Unknown),
                redis: None,
                is_changed: true,
            }),
            Some(Same::IsNot) => Serves::Another,
            Some(Same::Untold) | None => Serves::Untold,
        },
    };
    // It may have ended while it was looked at.
    let is_there = fs::read(process.join("cmdline")).is_ok_and(|line| !line.is_empty());
    is_there.then_some(serves)
}

/// The root that the environment of a process names.
fn root_variable(process: &Path) -> Option<PathBuf> {
    let variables = environment(process).ok()?;
    variables.into_iter().find(|(name, value)| name == ROOT_VARIABLE && !value.is_empty()).map(|(_, value)| PathBuf::from(value))
}

/// The parts of a list that is separated by zeros.
fn split(bytes: &[u8]) -> Vec<OsString> {
    let parts = bytes.strip_suffix(&[0]).unwrap_or(bytes).split(|&byte| byte == 0);
    parts.map(|part| OsString::from_vec(part.to_owned())).collect()
}

fn is_registry(process: &Path, arguments: &[OsString]) -> bool {
    let is_program = |path: &Path| path.file_name().is_some_and(|name| PROGRAMS.iter().any(|program| name == *program));
    let program = fs::read_link(process.join("exe")).ok();
    let is_named =
        program.as_deref().is_some_and(is_program) || arguments.first().is_some_and(|name| is_program(Path::new(name)));
    // Old ones of GitLab take a configuration without a subcommand.
    let has_command = arguments.iter().skip(1).any(|argument| COMMANDS.iter().any(|command| argument == command));
    if is_named {
        return has_command || arguments.iter().skip(1).any(|argument| is_config(argument));
    }
    // By any name, what is started as a registry is and has a registry's configuration. Our own runs are begun so as well.
    let is_ours = |path: &Path| path.file_name().is_some_and(|name| name == "regsweep");
    let is_begun_so = arguments.get(1).is_some_and(|first| COMMANDS.iter().any(|command| first == command));
    let is_another = !program.as_deref().is_some_and(is_ours) && !is_ours(Path::new(&arguments[0]));
    is_begun_so
        && is_another
        && match configuration_of(process, arguments) {
            Ok(theirs) => theirs.config.is_some() || !theirs.is_as_it_was,
            Err(_) => looks_like_one(process, arguments),
        }
}

/// Whether a process that is begun as a registry, and whose configuration is not there to be read any more, serves somebody by what a
/// registry is given: many programs `serve`.
fn looks_like_one(process: &Path, arguments: &[OsString]) -> bool {
    let has_config = config_of(arguments).is_some_and(|path| is_config(path.as_os_str()));
    let is_variable = |(name, _): &(OsString, OsString)| name.as_bytes().starts_with(b"REGISTRY_");
    let has_variables = || environment(process).is_ok_and(|variables| variables.iter().any(is_variable));
    (has_config || has_variables()) && !listeners::of(process).is_empty()
}

/// Whether an argument names a file that may be a configuration.
fn is_config(argument: &OsStr) -> bool {
    Path::new(argument).extension().is_some_and(|end| end == "yml" || end == "yaml")
}

/// The configuration of a process, as it is now.
struct Theirs {
    /// Its file, as the process names it.
    path: PathBuf,
    /// What it comes to, with paths as that process names them; nothing if its storage is in no filesystem.
    config: Option<RegistryConfig>,
    /// Whether the root is the one that the process was started with.
    is_as_it_was: bool,
    /// Whether all of it is.
    is_old: bool,
}

/// What the configuration comes to that a process was started with.
fn configuration_of(process: &Path, arguments: &[OsString]) -> io::Result<Theirs> {
    environment(process).and_then(|environment| configuration(process, config_of(arguments), &environment))
}

/// The configuration among the arguments.
fn config_of(arguments: &[OsString]) -> Option<PathBuf> {
    let mut plain = arguments.iter().skip(1).filter(|argument| !argument.as_bytes().starts_with(b"-"));
    plain.find(|argument| !COMMANDS.iter().any(|command| argument == command)).map(PathBuf::from)
}

fn environment(process: &Path) -> io::Result<Vec<(OsString, OsString)>> {
    let variables = split(&fs::read(process.join("environ"))?);
    Ok(variables
        .iter()
        .filter_map(|variable| {
            let bytes = variable.as_bytes();
            let at = bytes.iter().position(|&byte| byte == b'=')?;
            Some((OsStr::from_bytes(&bytes[..at]).to_owned(), OsStr::from_bytes(&bytes[at + 1..]).to_owned()))
        })
        .collect())
}

fn configuration(process: &Path, config: Option<PathBuf>, environment: &[(OsString, OsString)]) -> io::Result<Theirs> {
    let variable = || {
        let variable = environment.iter().find(|(name, _)| name == registry_config::CONFIGURATION_PATH)?;
        Some(PathBuf::from(&variable.1))
    };
    let config = config.or_else(variable).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let (path, text, changed) = text_of(process, &config)?;
    let theirs = match registry_config::load_text(&path, &text, environment) {
        Ok(registry) => Some(registry),
        Err(error) => match error.problem {
            Problem::OtherDriver { .. } => None,
            problem => return Err(io::Error::other(problem.to_string())),
        },
    };
    let started = started(process).and_then(wall_clock_at);
    let is_old = started.is_some_and(|started| changed <= started + AT_ONCE);
    // A variable of the process stands whatever becomes of the file.
    let is_told = theirs.is_some() && environment.iter().any(|(name, _)| name == ROOT_VARIABLE);
    Ok(Theirs { path: config, config: theirs, is_as_it_was: is_old || is_told, is_old })
}

/// Reads a file that a process names, and says when it was last changed, or put in its place. It may name anything: a pipe, a device
/// without end, a disk.
fn text_of(process: &Path, config: &Path) -> io::Result<(PathBuf, Vec<u8>, SystemTime)> {
    let Reached { path, changed: put_there } = reach(process, config)?;
    let mut file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > MAX_CONFIG_BYTES {
        return Err(io::Error::other("it is no configuration of any registry"));
    }
    let mut text = Vec::new();
    file.by_ref().take(MAX_CONFIG_BYTES).read_to_end(&mut text)?;
    let metadata = file.metadata()?;
    let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH).max(changed_at(&metadata));
    Ok((path, text, written.max(put_there)))
}

/// Whether a root is ours.
enum Same {
    Is,
    IsNot,
    Untold,
}

fn compare(process: &Path, theirs: &Path, root: &Root) -> Same {
    let storage = reach(process, &theirs.join(layout::V2)).map(|there| there.path);
    let theirs = match reach(process, theirs) {
        Ok(there) => there.path,
        // Nothing has been written to it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Same::IsNot,
        Err(_) => return Same::Untold,
    };
    match (fs::metadata(&theirs), storage) {
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Same::IsNot,
        (Err(_), _) => Same::Untold,
        (Ok(_), Err(error)) if error.kind() != io::ErrorKind::NotFound => Same::Untold,
        (Ok(_), storage) => {
            let is_same = is_same(&theirs, root.path()) || storage.is_ok_and(|storage| is_same(&storage, &root.at(layout::V2)));
            let is_near = || is_around(&Root::whole(&theirs), root.path()) || is_around(root, &theirs);
            if is_same || is_near() { Same::Is } else { Same::IsNot }
        }
    }
}

fn is_same(left: &Path, right: &Path) -> bool {
    match (fs::metadata(left), fs::metadata(right)) {
        (Ok(left), Ok(right)) => (left.dev(), left.ino()) == (right.dev(), right.ino()),
        _ => false,
    }
}

/// Whether `inner` lies in the storage of `outer`, as far as both are mounted in the same places.
fn is_around(outer: &Root, inner: &Path) -> bool {
    match (fs::canonicalize(outer.at(layout::V2)), fs::canonicalize(inner)) {
        (Ok(outer), Ok(inner)) => inner.ancestors().any(|directory| is_same(directory, &outer)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process as `/proc` shows it, with a configuration of its own or without one, which is older.
    fn process(line: &str, config: Option<&str>) -> tempfile::TempDir {
        process_of(line, config, u32::MAX, "")
    }

    /// The same, started so many ticks after the machine, and with more in its environment.
    fn process_of(line: &str, config: Option<&str>, started: u32, more: &str) -> tempfile::TempDir {
        let process = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(process.path().join(name), text).expect("written");
        write("config.yml", config.unwrap_or_default());
        write("cmdline", &line.replace(' ', "\0"));
        write("environ", &format!("PATH=/bin\0REGISTRY_LOG_LEVEL=info\0{more}"));
        write("stat", &format!("7 (a (name) S 1{} {started} 0 0", " 0".repeat(17)));
        std::os::unix::fs::symlink("/", process.path().join("root")).expect("made");
        std::os::unix::fs::symlink(".", process.path().join("cwd")).expect("made");
        process
    }

    #[test]
    fn a_registry_works_on_the_store_that_its_configuration_comes_to() {
        let ours = tempfile::tempdir().expect("a directory");
        let other = tempfile::tempdir().expect("a directory");
        let inner = ours.path().join(layout::V2).join("repositories/inner");
        fs::create_dir_all(&inner).expect("made");
        let serve = "registry serve config.yml";
        let with = |root: &Path, more: &str| {
            format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, maintenance: {{{more}}}}}\n", root.display())
        };
        let seen = |line: &str, config: &str| look(process(line, Some(config)).path(), &Root::whole(ours.path()));
        let is_ours = |always_writes| {
            let http = Listening::default();
            Some(Serves::Ours(Service { always_writes, http, cache: None, redis: None, is_changed: false }))
        };
        assert_eq!(seen(serve, &with(ours.path(), "")), is_ours(false));
        let read_only = with(ours.path(), "readonly: {enabled: true}");
        assert_eq!(seen(serve, &read_only), is_ours(false));
        assert_eq!(seen(serve, &(read_only.clone() + "proxy: {remoteurl: x}\n")), is_ours(true));
        let collector = "registry garbage-collect config.yml";
        assert_eq!(seen(collector, &read_only), is_ours(true), "it removes things all the same");
        assert_eq!(seen(serve, &with(&inner, "")), is_ours(false));
        for config in [with(other.path(), ""), with(Path::new("/no/such/root"), ""), "version: 0.1\nstorage: {s3: {}}\n".into()] {
            assert_eq!(seen(serve, &config), Some(Serves::Another), "{config}");
        }
        for (line, config) in [(serve, "nonsense"), ("registry serve", ""), ("registry serve no-such.yml", "")] {
            assert_eq!(seen(line, config), Some(Serves::Untold), "{line} {config}");
        }
        assert_eq!(seen("", ""), None, "it has ended");
        assert_eq!(seen("sh -c x", ""), None);
    }

    #[test]
    fn a_file_that_is_younger_than_the_process_says_nothing_of_it() {
        let (ours, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let config = |root: &Path| format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", root.display());
        let seen = |text: &str, more: &str| {
            let process = process_of("registry serve config.yml", Some(text), 0, more);
            look(process.path(), &Root::whole(ours.path())).expect("a registry")
        };
        assert!(matches!(seen(&config(ours.path()), ""), Serves::Ours(Service { cache: Some(DescriptorCache::Unknown), .. })));
        for text in [config(other.path()), config(Path::new("/no/such/root")), "version: 0.1\nstorage: {s3: {}}\n".into()] {
            assert!(matches!(seen(&text, ""), Serves::Changed(path, _) if path == Path::new("config.yml")), "{text}");
        }
        let told = format!("{ROOT_VARIABLE}={}\0", other.path().display());
        assert_eq!(seen(&config(ours.path()), &told), Serves::Another, "whatever the file says");
    }

    fn arguments(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_registry_is_known_by_its_name_and_its_arguments() {
        let nowhere = Path::new("/nowhere");
        for line in [
            "registry serve /etc/docker/registry/config.yml",
            "/bin/registry serve",
            "docker-registry serve x",
            "/usr/bin/registry_DO_NOT_USE_GC serve /etc/registry/config.yml",
            "registry garbage-collect -m x.yml",
            "/opt/gitlab/embedded/bin/registry /var/opt/gitlab/registry/config.yml",
        ] {
            assert!(is_registry(nowhere, &arguments(line)), "{line}");
        }
        for line in
            ["registry --version", "sh -c registry serve", "registry", "registry-cli serve x", "regsweep garbage-collect x.yml"]
        {
            assert!(!is_registry(nowhere, &arguments(line)), "{line}");
        }
        assert_eq!(config_of(&arguments("registry garbage-collect -m x.yml")), Some("x.yml".into()));
        assert_eq!(config_of(&arguments("registry serve")), None);
        assert_eq!(look(process("sh serve /dev/zero", None).path(), &Root::whole(Path::new("/nowhere"))), None);
        let named = look(process("registry serve /dev/zero", None).path(), &Root::whole(Path::new("/nowhere")));
        assert_eq!(named, Some(Serves::Untold), "and what is no file is not read");
        let text = "version: 0.1\nstorage: {filesystem: {rootdirectory: /elsewhere}}\n";
        for (line, is_one) in
            [("other serve config.yml", true), ("regsweep garbage-collect config.yml", false), ("cat config.yml", false)]
        {
            assert_eq!(is_registry(process(line, Some(text)).path(), &arguments(line)), is_one, "{line}");
        }
    }
}
