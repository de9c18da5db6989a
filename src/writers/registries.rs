//! Registry processes of this machine, by name and arguments, and by the store in their configuration.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::listeners;
use super::reach::{Reached, changed_at, reach, relinked_at};
use crate::clock::wall_clock_at;
use crate::layout;
use crate::proc::started;
use crate::registry_config::{self, DescriptorCache, Listening, Problem, RedisServer, RegistryConfig};
use crate::store::Root;

/// What the programs are called: upstream's image, Debian's package, distribution's own name, Harbor's, OpenShift's.
const PROGRAMS: [&str; 5] = ["registry", "docker-registry", "distribution", "registry_DO_NOT_USE_GC", "dockerregistry"];
/// How the names of what runs other programs begin: dynamic linkers that are started by hand, and emulators of other processors.
const LOADERS: [&str; 3] = ["ld-", "ld.so", "qemu-"];
/// The subcommands that write to a store.
const COMMANDS: [&str; 2] = ["serve", "garbage-collect"];

/// The variable that overrides the root in the configuration file.
const ROOT_VARIABLE: &str = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY";

/// Much larger than any configuration.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The store that a registry works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// Our store, or one inside or around it.
    Ours(Service),
    /// Another one.
    Another,
    /// Possibly any store: its configuration names another one now, but is younger than the process.
    Changed(PathBuf, Service),
    /// Cannot be determined.
    Untold,
}

/// The role of a registry that may use our store, from its arguments and its current configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// Whether it writes whatever it answers: a collector, or a pull-through cache.
    pub(super) always_writes: bool,
    /// The configured address; its sockets are more reliable.
    pub(super) http: Listening,
    /// The configured descriptor cache; unknown if the configuration is younger than the process and names none now.
    pub(super) cache: Option<DescriptorCache>,
    /// The server of that cache, if it is a redis.
    pub(super) redis: Option<Box<RedisServer>>,
    /// Whether it may have been started with another configuration than it has now.
    pub(super) is_changed: bool,
}

/// Start times are rounded, and no manual edit follows the start of a process this quickly.
const START_TOLERANCE: Duration = Duration::from_millis(100);

/// How many times, and at which interval, an unclear process is inspected: one that has just started, or that fails to
/// start with its configuration, is soon clear.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// The store that the process at `process`, a directory of `/proc`, works on; `None` if it is no registry.
pub(super) fn serves(process: &Path, root: &Root) -> Option<Serves> {
    for _ in 1..ATTEMPTS {
        match inspect(process, root) {
            Some(Serves::Untold) => std::thread::sleep(PAUSE),
            seen => return seen,
        }
    }
    inspect(process, root)
}

fn inspect(process: &Path, root: &Root) -> Option<Serves> {
    let arguments = split(&fs::read(process.join("cmdline")).ok()?);
    let arguments = own_arguments(process, arguments);
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
            match config.map(|config| (compare(process, &config.root, root), &config.root)) {
                Some((Same::Is, _)) => Serves::Ours(service),
                Some((Same::Unknown, _)) => Serves::Untold,
                Some((Same::IsNot, theirs)) if is_relinked(process, theirs) => Serves::Changed(theirs.clone(), service),
                Some((Same::IsNot, _)) | None if theirs.is_as_it_was => Serves::Another,
                Some((Same::IsNot, _)) | None => Serves::Changed(theirs.path, service),
            }
        }
        // The variable holds, whatever happened to the file.
        Err(_) => match root_variable(process).map(|theirs| (compare(process, &theirs, root), theirs)) {
            Some((Same::Is, _)) => Serves::Ours(Service {
                always_writes: true,
                http: Listening::default(),
                cache: Some(DescriptorCache::Unknown),
                redis: None,
                is_changed: true,
            }),
            Some((Same::IsNot, theirs)) if !is_relinked(process, &theirs) => Serves::Another,
            Some(_) | None => Serves::Untold,
        },
    };
    // The process may have ended during the inspection.
    let is_there = fs::read(process.join("cmdline")).is_ok_and(|line| !line.is_empty());
    is_there.then_some(serves)
}

/// The root in a process's environment.
fn root_variable(process: &Path) -> Option<PathBuf> {
    let variables = environment(process).ok()?;
    variables.into_iter().find(|(name, value)| name == ROOT_VARIABLE && !value.is_empty()).map(|(_, value)| PathBuf::from(value))
}

/// Splits a zero-separated list.
fn split(bytes: &[u8]) -> Vec<OsString> {
    let parts = bytes.strip_suffix(&[0]).unwrap_or(bytes).split(|&byte| byte == 0);
    parts.map(|part| OsString::from_vec(part.to_owned())).collect()
}

/// The arguments of a process from its program on: before that may stand a loader with options of its own.
fn own_arguments(process: &Path, arguments: Vec<OsString>) -> Vec<OsString> {
    let is_loader = |path: &Path| {
        let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
        LOADERS.iter().any(|loader| name.starts_with(loader.as_bytes()))
    };
    let program = fs::read_link(process.join("exe")).ok();
    let is_loaded = program.as_deref().is_some_and(is_loader) || arguments.first().is_some_and(|name| is_loader(Path::new(name)));
    let at = is_loaded.then(|| {
        // The last word before the subcommand that is called like a registry, or else the one right before it.
        let is_command = |argument: &OsString| COMMANDS.iter().any(|command| argument == command);
        let command = arguments.iter().position(is_command);
        let before = &arguments[..command.unwrap_or(arguments.len())];
        let named = before.iter().rposition(|argument| is_program(Path::new(argument)));
        named.or_else(|| command.map(|command| command.saturating_sub(1)))
    });
    match at.flatten() {
        Some(at) => arguments.into_iter().skip(at).collect(),
        None => arguments,
    }
}

fn is_program(path: &Path) -> bool {
    path.file_name().is_some_and(|name| PROGRAMS.iter().any(|program| name == *program))
}

fn is_registry(process: &Path, arguments: &[OsString]) -> bool {
    let program = fs::read_link(process.join("exe")).ok();
    let is_named =
        program.as_deref().is_some_and(is_program) || arguments.first().is_some_and(|name| is_program(Path::new(name)));
    // Old versions of GitLab's registry take a configuration without a subcommand.
    let has_command = arguments.iter().skip(1).any(|argument| COMMANDS.iter().any(|command| argument == command));
    if is_named {
        return has_command || arguments.iter().skip(1).any(|argument| is_config(argument));
    }
    // A process of any name is a registry if it has the arguments and the configuration of one. Runs of regsweep have
    // such arguments too.
    let is_ours = |path: &Path| path.file_name().is_some_and(|name| name == "regsweep");
    // Options may stand before the subcommand.
    let first = arguments.iter().skip(1).find(|argument| !argument.as_bytes().starts_with(b"-"));
    let is_begun_so = first.is_some_and(|first| COMMANDS.iter().any(|command| first == command));
    let is_another = !program.as_deref().is_some_and(is_ours) && !is_ours(Path::new(&arguments[0]));
    is_begun_so
        && is_another
        && match configuration_of(process, arguments) {
            Ok(theirs) => theirs.config.is_some() || !theirs.is_as_it_was,
            Err(_) => resembles_registry(process, arguments),
        }
}

/// Whether a process with a registry's arguments and an unreadable configuration listens, and has a configuration file
/// or variables like a registry: many programs have a `serve` command.
fn resembles_registry(process: &Path, arguments: &[OsString]) -> bool {
    let has_config = config_of(arguments).is_some_and(|path| is_config(path.as_os_str()));
    let is_variable = |(name, _): &(OsString, OsString)| name.as_bytes().starts_with(b"REGISTRY_");
    let has_variables = || environment(process).is_ok_and(|variables| variables.iter().any(is_variable));
    (has_config || has_variables()) && !listeners::of(process).is_empty()
}

/// Whether an argument may name a configuration file.
fn is_config(argument: &OsStr) -> bool {
    Path::new(argument).extension().is_some_and(|end| end == "yml" || end == "yaml")
}

/// The current configuration of a process.
struct Theirs {
    /// The file, as the process names it.
    path: PathBuf,
    /// The parsed configuration, with paths as the process names them; `None` if its storage is not a filesystem.
    config: Option<RegistryConfig>,
    /// Whether the root is the one that the process started with.
    is_as_it_was: bool,
    /// Whether the whole configuration is.
    is_old: bool,
}

/// The configuration of a process.
fn configuration_of(process: &Path, arguments: &[OsString]) -> io::Result<Theirs> {
    environment(process).and_then(|environment| configuration(process, config_of(arguments), &environment))
}

/// The configuration file among the arguments.
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
        Ok(registry) => Some(registry).filter(|registry| registry.bucket.is_none()),
        Err(error) => match error.problem {
            Problem::OtherDriver { .. } | Problem::Bucket { .. } => None,
            problem => return Err(io::Error::other(format!("{problem}{}", error.blame))),
        },
    };
    let is_old = !is_younger(changed, process);
    // A variable of the process holds, whatever happens to the file.
    let is_pinned = theirs.is_some() && environment.iter().any(|(name, _)| name == ROOT_VARIABLE);
    Ok(Theirs { path: config, config: theirs, is_as_it_was: is_old || is_pinned, is_old })
}

/// Whether something was made after a process was started, as far as is known.
fn is_younger(made: SystemTime, process: &Path) -> bool {
    let started = started(process).and_then(wall_clock_at);
    started.is_none_or(|started| made > started + START_TOLERANCE)
}

/// Whether the root of a registry leads elsewhere by a symbolic link that was created after the process was started.
fn is_relinked(process: &Path, theirs: &Path) -> bool {
    relinked_at(process, theirs).is_some_and(|made| is_younger(made, process))
}

/// Reads a file that a process names, and returns when it was last changed or put in its place. The name may lead to
/// anything: a pipe, an endless device, a disk.
fn text_of(process: &Path, config: &Path) -> io::Result<(PathBuf, Vec<u8>, SystemTime)> {
    let Reached { path, changed: placed } = reach(process, config)?;
    let mut file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > MAX_CONFIG_BYTES {
        return Err(io::Error::other("it is no configuration of any registry"));
    }
    let mut text = Vec::new();
    file.by_ref().take(MAX_CONFIG_BYTES).read_to_end(&mut text)?;
    let metadata = file.metadata()?;
    let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH).max(changed_at(&metadata));
    Ok((path, text, written.max(placed)))
}

/// Whether a root is ours.
enum Same {
    Is,
    IsNot,
    Unknown,
}

fn compare(process: &Path, theirs: &Path, root: &Root) -> Same {
    let parts = [layout::V2, layout::BLOBS, layout::REPOSITORIES].map(|part| (reach(process, &theirs.join(part)), root.at(part)));
    let theirs = match reach(process, theirs) {
        Ok(there) => there.path,
        // A missing root has never been written to.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Same::IsNot,
        Err(_) => return Same::Unknown,
    };
    let is_unknown = |part: &io::Result<_>| part.as_ref().is_err_and(|error: &io::Error| error.kind() != io::ErrorKind::NotFound);
    match fs::metadata(&theirs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Same::IsNot,
        Err(_) => Same::Unknown,
        Ok(_) if parts.iter().any(|(part, _)| is_unknown(part)) => Same::Unknown,
        Ok(_) => {
            // Of a store in two places, each of them may be in another store too.
            let shares =
                |(part, ours): &(io::Result<Reached>, PathBuf)| part.as_ref().is_ok_and(|part| is_same(&part.path, ours));
            let is_same = is_same(&theirs, root.path()) || parts.iter().any(shares);
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

/// Whether `inner` lies in the storage of `outer`, if both are mounted in the same places.
fn is_around(outer: &Root, inner: &Path) -> bool {
    match (fs::canonicalize(outer.at(layout::V2)), fs::canonicalize(inner)) {
        (Ok(outer), Ok(inner)) => inner.ancestors().any(|directory| is_same(directory, &outer)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process as `/proc` shows it, with an older configuration, or without one.
    fn process(line: &str, config: Option<&str>) -> tempfile::TempDir {
        process_of(line, config, u32::MAX, "")
    }

    /// The same, started `started` ticks after the boot, and with `more` in its environment.
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
        let seen = |line: &str, config: &str| inspect(process(line, Some(config)).path(), &Root::whole(ours.path()));
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
        for config in
            [with(other.path(), ""), with(Path::new("/no/such/root"), ""), "version: 0.1\nstorage: {s3: {}}\n".into(), S3.into()]
        {
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
            inspect(process.path(), &Root::whole(ours.path())).expect("a registry")
        };
        assert!(matches!(seen(&config(ours.path()), ""), Serves::Ours(Service { cache: Some(DescriptorCache::Unknown), .. })));
        for text in
            [config(other.path()), config(Path::new("/no/such/root")), "version: 0.1\nstorage: {s3: {}}\n".into(), S3.into()]
        {
            assert!(matches!(seen(&text, ""), Serves::Changed(path, _) if path == Path::new("config.yml")), "{text}");
        }
        let variable = format!("{ROOT_VARIABLE}={}\0", other.path().display());
        assert_eq!(seen(&config(ours.path()), &variable), Serves::Another, "the variable overrides the file");
    }

    #[test]
    fn a_link_to_another_store_that_is_younger_than_the_process_says_nothing_of_it() {
        let (ours, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        for leads in [other.path(), Path::new("/no/such/place")] {
            let link = other.path().join(if leads.exists() { "link" } else { "dangling" });
            std::os::unix::fs::symlink(leads, &link).expect("made");
            let config = format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", link.display());
            let variable = format!("{ROOT_VARIABLE}={}\0", link.display());
            let seen = |line: &str, started: u32| {
                let process = process_of(line, Some(&config), started, &variable);
                inspect(process.path(), &Root::whole(ours.path())).expect("a registry")
            };
            assert_eq!(seen("registry serve config.yml", u32::MAX), Serves::Another, "{leads:?}");
            let young = seen("registry serve config.yml", 0);
            assert!(matches!(&young, Serves::Changed(path, _) if *path == link), "the link, not the file: {young:?}");
            assert_eq!(seen("registry serve no-such.yml", 0), Serves::Untold, "{leads:?}");
        }
    }

    const S3: &str = "version: 0.1\nstorage: {s3: {bucket: b, region: r, accesskey: a, secretkey: s}}\n";

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
            "/usr/bin/dockerregistry /config.yml",
            "/lib64/ld-linux-x86-64.so.2 /usr/bin/docker-registry serve x.yml",
            "/lib/ld-musl-x86_64.so.1 --library-path /lib /bin/registry serve x.yml",
            "/usr/bin/qemu-x86_64-static -0 registry /usr/bin/registry serve x.yml",
        ] {
            let line = own_arguments(nowhere, arguments(line));
            assert!(is_registry(nowhere, &line), "{line:?}");
        }
        for line in
            ["registry --version", "sh -c registry serve", "registry", "registry-cli serve x", "regsweep garbage-collect x.yml"]
        {
            assert!(!is_registry(nowhere, &arguments(line)), "{line}");
        }
        assert_eq!(config_of(&arguments("registry garbage-collect -m x.yml")), Some("x.yml".into()));
        assert_eq!(config_of(&arguments("registry serve")), None);
        assert_eq!(inspect(process("sh serve /dev/zero", None).path(), &Root::whole(Path::new("/nowhere"))), None);
        let named = inspect(process("registry serve /dev/zero", None).path(), &Root::whole(Path::new("/nowhere")));
        assert_eq!(named, Some(Serves::Untold), "and what is no file is not read");
        let text = "version: 0.1\nstorage: {filesystem: {rootdirectory: /elsewhere}}\n";
        for (line, is_one) in [
            ("other serve config.yml", true),
            ("other --help=false serve config.yml", true),
            ("ld.so ./other serve config.yml", true),
            ("regsweep garbage-collect config.yml", false),
            ("ld.so regsweep garbage-collect config.yml", false),
            ("cat config.yml", false),
        ] {
            let process = process(line, Some(text));
            let line = own_arguments(process.path(), arguments(line));
            assert_eq!(is_registry(process.path(), &line), is_one, "{line:?}");
        }
    }
}
