//! The listening sockets of a process and their answers, queried in its own network namespace.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::credentials::Credentials;
use super::http::{Address, Answer};
use crate::registry_config::Listening;

/// The state of a listening socket (source: `TCP_LISTEN` in Linux).
const LISTENS: &str = "0A";

/// What a process answers at its own sockets: that it takes no pushes only if one says so and none says that it does.
pub(super) fn answer(process: &Path, http: &Listening, credentials: Option<&Credentials>, users: &[u32]) -> Answer {
    let addresses = of(process);
    // A process of any user may have a registry's name.
    let user = fs::metadata(process).map(|metadata| metadata.uid());
    let credentials = credentials.filter(|_| user.is_ok_and(|user| users.contains(&user)));
    let ask = || -> Vec<Answer> {
        let by_address = addresses.iter().map(|address| {
            let hosts = hosts(address.ip());
            Address::of(hosts, address.port(), http.has_tls, &http.prefix).ask(credentials)
        });
        let by_path =
            paths(process).into_iter().map(|path| Address::of_socket(path, http.has_tls, &http.prefix).ask(credentials));
        by_address.chain(by_path).collect()
    };
    let answers = in_network_of(process, ask).unwrap_or_default();
    let is_unauthorized = |answer: &&Answer| matches!(answer, Answer::Unauthorized(_));
    match [Answer::Writable, Answer::ReadOnly].into_iter().find(|answer| answers.contains(answer)) {
        Some(answer) => answer,
        None => match answers.iter().find(is_unauthorized) {
            Some(answer) => answer.clone(),
            None => Answer::Unknown("none of its own sockets says so".to_owned()),
        },
    }
}

/// The addresses at which a process listens, if they are visible.
pub(super) fn of(process: &Path) -> Vec<SocketAddr> {
    let sockets = sockets(process);
    let tables = ["net/tcp", "net/tcp6"].map(|table| fs::read_to_string(process.join(table)).unwrap_or_default());
    let listening = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|line| {
        let (address, socket) = listener(line)?;
        sockets.contains(socket).then_some(address)
    });
    listening.collect()
}

/// The paths of the sockets at which a process listens, by way of its own root.
fn paths(process: &Path) -> Vec<PathBuf> {
    let sockets = sockets(process);
    let table = fs::read_to_string(process.join("net/unix")).unwrap_or_default();
    let listening = table.lines().skip(1).filter_map(|line| {
        let (path, socket) = listener_by_path(line)?;
        sockets.contains(socket).then(|| match path.strip_prefix('/') {
            Some(path) => process.join("root").join(path),
            None => process.join("cwd").join(path),
        })
    });
    listening.collect()
}

/// The inodes of the sockets that a process has open.
fn sockets(process: &Path) -> HashSet<String> {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let sockets = descriptors.filter_map(|descriptor| {
        let target = fs::read_link(descriptor.path()).ok()?;
        Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    });
    sockets.collect()
}

/// The path and inode of the socket in a line of `/proc/net/unix`, if it listens and has a path (source: `__SO_ACCEPTCON` in Linux).
fn listener_by_path(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(": ")?;
    let words: Vec<&str> = rest.split_whitespace().take(6).collect();
    let (flags, socket) = (words.get(2)?, words.get(5)?);
    let (_, path) = rest.split_once(&format!(" {socket} "))?;
    let listens = u32::from_str_radix(flags, 16).ok()? & 0x1_0000 != 0;
    (listens && !path.starts_with('@')).then_some((path, *socket))
}

/// The address and inode of the socket in a line of `/proc/net/tcp`, if it listens.
fn listener(line: &str) -> Option<(SocketAddr, &str)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (local, state, socket) = (words.get(1)?, words.get(3)?, words.get(9)?);
    let (host, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // The kernel prints words in native byte order.
    let parts = host.as_bytes().chunks(8).map(|part| u32::from_str_radix(std::str::from_utf8(part).ok()?, 16).ok());
    let bytes: Vec<u8> = parts.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    (*state == LISTENS).then_some((SocketAddr::new(ip.to_canonical(), port), *socket))
}

/// The hosts at which a listener is reached from its own network.
fn hosts(ip: IpAddr) -> Vec<String> {
    match ip {
        _ if !ip.is_unspecified() => vec![ip.to_string()],
        IpAddr::V4(_) => vec![Ipv4Addr::LOCALHOST.to_string()],
        IpAddr::V6(_) => vec![Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()],
    }
}

/// Runs `work` in the network namespace of a process; `None` if that is not permitted.
fn in_network_of<T: Send>(process: &Path, work: impl FnOnce() -> T + Send) -> Option<T> {
    let network = process.join("ns/net");
    let theirs = fs::read_link(&network).ok()?;
    if fs::read_link("/proc/self/ns/net").is_ok_and(|ours| ours == theirs) {
        return Some(work());
    }
    let network = fs::File::open(network).ok()?;
    // A separate thread enters the namespace and ends there.
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).ok()?;
            Some(work())
        });
        there.join().ok().flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_read_as_the_kernel_writes_it() {
        let line = |local: &str, state: &str| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0"
            )
        };
        let ipv4 = format!("{:08X}:1388", u32::from_ne_bytes([127, 0, 0, 1]));
        assert_eq!(listener(&line(&ipv4, "0A")), Some(("127.0.0.1:5000".parse().expect("an address"), "4711")));
        let wildcard = format!("{}:1388", "0".repeat(32));
        assert_eq!(listener(&line(&wildcard, "0A")), Some(("[::]:5000".parse().expect("an address"), "4711")));
        assert_eq!(listener(&line(&ipv4, "01")), None, "a connection");
        assert_eq!(listener("  sl  local_address rem_address   st"), None);
        assert_eq!(hosts("::".parse().expect("an address")), ["127.0.0.1", "::1"]);
        assert_eq!(hosts("10.1.2.3".parse().expect("an address")), ["10.1.2.3"]);
    }

    #[test]
    fn a_listening_path_is_read_as_the_kernel_writes_it() {
        let line = |flags: &str, rest: &str| format!("0000000000000000: 00000002 00000000 {flags} 0001 01 {rest}");
        assert_eq!(listener_by_path(&line("00010000", "4711 /run/a b.sock")), Some(("/run/a b.sock", "4711")));
        assert_eq!(listener_by_path(&line("00010000", "   47 s")), Some(("s", "47")));
        for other in [line("00000000", "4711 /run/x"), line("00010000", "4711 @x"), line("00010000", "4711"), String::new()] {
            assert_eq!(listener_by_path(&other), None, "{other}");
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
        let ours = Path::new("/proc/self");
        assert!(paths(ours).contains(&ours.join("root").join(path.strip_prefix("/").expect("absolute"))));
    }

    #[test]
    fn sockets_of_this_process_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let ours = Path::new("/proc/self");
        assert!(of(ours).contains(&address));
        drop(listener);
        assert!(!of(ours).contains(&address));
    }
}
