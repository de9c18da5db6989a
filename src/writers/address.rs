//! The address of a registry, parsed from `http.addr` as Go's `net.Listen` does.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::path::PathBuf;

use crate::registry_config::Listening;

/// Port names that Go knows without a file.
const PORTS: [(&str, u16); 15] = [
    ("domain", 53),
    ("ftp", 21),
    ("ftps", 990),
    ("gopher", 70),
    ("http", 80),
    ("https", 443),
    ("imap2", 143),
    ("imap3", 220),
    ("imaps", 993),
    ("pop3", 110),
    ("pop3s", 995),
    ("smtp", 25),
    ("ssh", 22),
    ("submissions", 465),
    ("telnet", 23),
];

/// The address in a registry's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// None, or a port that the kernel chooses.
    Unknown,
    /// A socket of this machine.
    Socket(PathBuf),
    /// Hosts to query, each if nothing listens on the previous one, and a port.
    Hosts(Vec<String>, u16),
    /// An address that no registry can listen on, with the reason.
    Unusable(String),
}

impl Place {
    pub(super) fn of(listening: &Listening) -> Place {
        let Some(address) = &listening.address else { return Place::Unknown };
        match listening.net.as_deref() {
            Some("unix") => return Place::Socket(PathBuf::from(address)),
            None | Some("tcp") => {}
            Some(other) => {
                let source = listening.net_variable.as_deref().unwrap_or("http.net");
                return Place::Unusable(format!("{source} is {other}, and the registry knows tcp and unix"));
            }
        }
        let place = split(address).and_then(|(host, port)| Ok((host, number_of(port)?)));
        match place {
            Ok((_, 0)) => Place::Unknown,
            Ok((host, port)) => Place::Hosts(hosts(host), port),
            Err(why) => Place::Unusable(why),
        }
    }
}

/// Splits host and port as Go's `SplitHostPort` does.
fn split(address: &str) -> Result<(&str, &str), String> {
    let no_port = || "it has no port".to_owned();
    let (host, port) = address.rsplit_once(':').ok_or_else(no_port)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(no_port)?,
        None if host.contains(':') => return Err("it has too many colons; an IPv6 address is written in brackets".to_owned()),
        None => host,
    };
    match host.contains(['[', ']']) || port.contains(['[', ']']) {
        true => Err("its brackets are not around the host".to_owned()),
        false => Ok((host, port)),
    }
}

/// The number of a port, which may be given by name.
fn number_of(port: &str) -> Result<u16, String> {
    if port.is_empty() {
        return Ok(0);
    }
    if port.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit()) {
        return port.parse().map_err(|_| format!("there is no port {port}"));
    }
    let name = port.to_ascii_lowercase();
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    let built_in = || PORTS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let number = services.lines().find_map(|line| of_service(line, &name)).or_else(built_in);
    number.ok_or_else(|| format!("no port is called {port}, by /etc/services"))
}

/// The port in a line of `/etc/services` such as `http-alt 8080/tcp webcache # a comment`, if it has that name.
fn of_service(line: &str, name: &str) -> Option<u16> {
    let mut words = line.split('#').next()?.split_whitespace();
    let (first, port) = (words.next()?, words.next()?);
    let is_named = first == name || words.any(|alias| alias == name);
    port.strip_suffix("/tcp").filter(|_| is_named)?.parse().ok()
}

/// Hosts at which a listener on `host` is reached from this machine.
fn hosts(host: &str) -> Vec<String> {
    let is_wildcard = host.is_empty() || host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_unspecified());
    match is_wildcard {
        true => vec!["127.0.0.1".to_owned(), "::1".to_owned()],
        false => vec![host.to_owned()],
    }
}

/// Whether a host is this machine or container itself: its loopback, a wildcard, which connects there too, or an address
/// of one of its interfaces.
pub(super) fn is_own(host: &str) -> bool {
    let mut addresses = (host, 0).to_socket_addrs().into_iter().flatten().peekable();
    addresses.peek().is_some() && addresses.all(is_own_address)
}

fn is_own_address(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    // A loopback that is not up cannot be bound. Binding a datagram socket sends nothing.
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(address: &str) -> Place {
        Place::of(&Listening { address: Some(address.into()), ..Listening::default() })
    }

    #[test]
    fn an_address_is_read_as_go_reads_it() {
        for (address, host, port) in [
            (":5000", "127.0.0.1", 5000),
            ("0.0.0.0:5000", "127.0.0.1", 5000),
            ("[::]:5000", "127.0.0.1", 5000),
            ("[::1]:5000", "::1", 5000),
            ("10.1.2.3:+80", "10.1.2.3", 80),
            ("localhost:05000", "localhost", 5000),
            (":https", "127.0.0.1", 443),
            (":HTTP", "127.0.0.1", 80),
        ] {
            let Place::Hosts(hosts, number) = place(address) else { panic!("{address}: {:?}", place(address)) };
            assert_eq!((hosts[0].as_str(), number), (host, port), "{address}");
        }
        for address in
            ["localhost", "5000", "::1:5000", "[::1]", "[::1]5000", "[::1:5000", "a]:1", ":65536", ":-1", ":no-such-port"]
        {
            assert!(matches!(place(address), Place::Unusable(_)), "{address}: {:?}", place(address));
        }
        for address in [":0", "localhost:", ":"] {
            assert_eq!(place(address), Place::Unknown, "{address}");
        }
        assert_eq!(Place::of(&Listening::default()), Place::Unknown);
        let on = |net: &str| Place::of(&Listening { address: Some("/x".into()), net: Some(net.into()), ..Listening::default() });
        assert_eq!(on("unix"), Place::Socket("/x".into()));
        assert_eq!(on("udp"), Place::Unusable("http.net is udp, and the registry knows tcp and unix".into()));
    }

    #[test]
    fn ports_are_named_by_the_file() {
        for (line, expected) in [
            ("http-alt\t8080/tcp\twebcache\t# WWW caching", Some(8080)),
            ("x 8080/tcp http-alt", Some(8080)),
            ("http-alt 8080/udp", None),
            ("# http-alt 8080/tcp", None),
            ("other 1/tcp # http-alt", None),
            ("", None),
        ] {
            assert_eq!(of_service(line, "http-alt"), expected, "{line}");
        }
    }

    #[test]
    fn this_machine_is_known_by_number_by_name_and_by_its_interfaces() {
        let mut own: Vec<String> = ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "localhost"].map(str::to_owned).into();
        own.extend(["0.0.0.0", "0", "::", "::ffff:0.0.0.0", "0:0:0:0:0:0:0:0"].map(str::to_owned));
        // The address that a packet to another machine would carry; none is sent.
        let towards = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect("192.0.2.1:9")?;
            socket.local_addr()
        });
        own.extend(towards.map(|address| address.ip().to_string()));
        for host in own {
            assert!(is_own(&host), "{host}");
        }
        for host in ["192.0.2.1", "2001:db8::1", "no-such-machine.invalid"] {
            assert!(!is_own(host), "{host}");
        }
    }
}
