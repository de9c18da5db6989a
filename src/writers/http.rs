//! Queries whether a registry takes pushes.
//!
//! `OPTIONS /v2/<any name>/blobs/uploads/` leaves no trace and is answered with the supported methods: a read-only
//! registry has removed `POST` (source: distribution's `registry/handlers/app.go` and `blobupload.go`).
//!
//! Only a refused connection proves that no registry is there. Every other result is an answer, possibly an unclear
//! one.

use std::fmt;
use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Response;
use ureq::tls::TlsConfig;

use super::address::{self, Place};
use super::by_socket;
use super::credentials::{self, Credentials};
use crate::error::Error;
use crate::escape::escaped;
use crate::registry_config::Listening;

/// Long enough for a registry on this machine.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// A header in every answer of a registry.
const REGISTRY_HEADER: &str = "Docker-Distribution-Api-Version";

/// The address of a possible registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// From the registry's configuration; it may be down.
    Configured(Address),
    /// The same, as a socket of this machine.
    Socket(Address),
    /// From the configuration, but invalid for any registry: the setting and the reason.
    Unusable(String, String),
    /// Given by the operator.
    Given(Address),
}

/// A host that is queried by HTTP or HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The first reachable one is used.
    hosts: Vec<String>,
    port: u16,
    /// Whether HTTPS is tried first.
    has_tls: bool,
    /// The prefix of every path.
    prefix: String,
    /// The socket of this machine that leads there instead.
    socket: Option<PathBuf>,
}

/// A registry's answer about pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The connection is refused.
    Down,
    /// It takes no pushes.
    ReadOnly,
    /// It takes pushes.
    Writable,
    /// The answer is unclear, for this reason.
    Unknown(String),
    /// It requires credentials, for this reason.
    Unauthorized(String),
}

impl Endpoint {
    /// The address of a configured registry; `None` if its configuration has none.
    pub fn of(listening: &Listening) -> Option<Endpoint> {
        let prefix = listening.prefix.clone();
        match Place::of(listening) {
            Place::Unknown => None,
            Place::Socket(path) => Some(Endpoint::Socket(Address::of_socket(path, listening.has_tls, &prefix))),
            Place::Unusable(why) => {
                let source = listening.address_variable.as_deref().unwrap_or("http.addr");
                Some(Endpoint::Unusable(format!("{source} {}", listening.address.as_deref().unwrap_or_default()), why))
            }
            Place::Hosts(hosts, port) => Some(Endpoint::Configured(Address::of(hosts, port, listening.has_tls, &prefix))),
        }
    }

    /// Parses an address that was given by `source`: an option, or the variable that stands for it.
    ///
    /// # Errors
    ///
    /// When it is no address.
    pub fn given(source: &str, url: &str) -> Result<Endpoint, Error> {
        Address::of_url(url).map(Endpoint::Given).ok_or_else(|| {
            // The part before the @ may be a password.
            let (shown, hint) = match url.rsplit_once('@') {
                Some((_, host)) => (
                    format!("...@{host}"),
                    if source.starts_with('-') {
                        "; a password is given with --registry-auth"
                    } else {
                        "; a password is given with REGSWEEP_REGISTRY_AUTH"
                    },
                ),
                None => (url.to_owned(), ""),
            };
            Error::Usage(format!("{source} {} is no address such as http://127.0.0.1:5000{hint}", escaped(&shown)))
        })
    }

    /// Queries the registry.
    pub fn ask(&self, credentials: Option<&Credentials>) -> Answer {
        match self {
            Endpoint::Unusable(_, why) => Answer::Unknown(why.clone()),
            Endpoint::Configured(address) | Endpoint::Socket(address) | Endpoint::Given(address) => address.ask(credentials),
        }
    }

    /// The time of a registry on another machine: one on this machine uses the clock that is to be checked.
    pub(super) fn date(&self) -> Option<SystemTime> {
        let (Endpoint::Configured(address) | Endpoint::Given(address)) = self else { return None };
        let elsewhere = address.hosts.iter().filter(|host| !address::is_own(host));
        elsewhere.into_iter().find_map(|host| {
            let url = format!("{}/v2/", address.base(address.has_tls, host).trim_end_matches('/'));
            let answer = agent(true).head(&url).call().ok()?;
            if !answer.headers().contains_key(REGISTRY_HEADER) {
                return None;
            }
            date(answer.headers().get("Date")?.to_str().ok()?)
        })
    }

    /// Whether the address is one of this machine or container itself: each container has its own loopback, interfaces and
    /// sockets.
    pub fn is_local(&self) -> bool {
        match self {
            Endpoint::Configured(address) | Endpoint::Given(address) => address.hosts.iter().all(|host| address::is_own(host)),
            Endpoint::Socket(_) => true,
            Endpoint::Unusable(..) => false,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unusable(setting, _) => f.write_str(&escaped(setting)),
            Endpoint::Socket(Address { socket: Some(path), .. }) => f.write_str(&escaped(path)),
            Endpoint::Configured(address) | Endpoint::Socket(address) | Endpoint::Given(address) => {
                f.write_str(escaped(address.base(address.has_tls, &address.hosts[0])).trim_end_matches('/'))
            }
        }
    }
}

/// An answer, and whether a registry gave it.
struct Heard {
    answer: Answer,
    from_registry: bool,
}

impl Heard {
    fn nothing(why: impl fmt::Display) -> Heard {
        Heard { answer: Answer::Unknown(why.to_string()), from_registry: false }
    }
}

impl Address {
    pub(super) fn of(hosts: Vec<String>, port: u16, has_tls: bool, prefix: &str) -> Address {
        Address { hosts, port, has_tls, prefix: prefix.to_owned(), socket: None }
    }

    pub(super) fn of_socket(path: PathBuf, has_tls: bool, prefix: &str) -> Address {
        // A name for the request; nothing connects to it.
        let hosts = vec![std::net::Ipv4Addr::LOCALHOST.to_string()];
        Address { socket: Some(path), ..Address::of(hosts, 80, has_tls, prefix) }
    }

    fn of_url(url: &str) -> Option<Address> {
        let (scheme, rest) = url.split_once("://")?;
        let has_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.is_empty() || authority.contains('@') || prefix.contains(['?', '#']) {
            return None;
        }
        let default = if has_tls { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => {
                let (host, port) = inner.split_once(']')?;
                (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("")))
            }
            None => authority.split_once(':').map_or((authority, Some("")), |(host, port)| (host, Some(port))),
        };
        let port = match port? {
            "" => default,
            port => port.parse().ok()?,
        };
        (!host.is_empty()).then(|| Address::of(vec![host.to_owned()], port, has_tls, prefix))
    }

    fn base(&self, has_tls: bool, host: &str) -> String {
        let scheme = if has_tls { "https" } else { "http" };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let port = if self.port == if has_tls { 443 } else { 80 } { String::new() } else { format!(":{}", self.port) };
        format!("{scheme}://{host}{port}/{}", self.prefix.trim_matches('/'))
    }

    pub(super) fn ask(&self, credentials: Option<&Credentials>) -> Answer {
        if let Some(path) = &self.socket {
            return match by_socket::connect(path) {
                Ok(_) => self.ask_host(&self.hosts[0], credentials),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Answer::Down,
                Err(error) => Answer::Unknown(error.to_string()),
            };
        }
        for host in &self.hosts {
            match knock(host, self.port) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                // In a container without a network, only processes of the container share the loopback.
                Err(error) if error.kind() == ErrorKind::NetworkUnreachable && address::is_own(host) => {}
                // A wildcard listens on two addresses, and a machine may lack IPv6.
                Err(_) if host != &self.hosts[0] => {}
                Err(error) => return Answer::Unknown(error.to_string()),
                Ok(()) => return self.ask_host(host, credentials),
            }
        }
        Answer::Down
    }

    /// Queries by the configured scheme, and by the other one if the answer is not from a registry.
    fn ask_host(&self, host: &str, credentials: Option<&Credentials>) -> Answer {
        let first = self.ask_by(self.has_tls, host, credentials);
        if first.from_registry {
            return first.answer;
        }
        let second = self.ask_by(!self.has_tls, host, credentials);
        if second.from_registry { second.answer } else { first.answer }
    }

    fn ask_by(&self, has_tls: bool, host: &str, credentials: Option<&Credentials>) -> Heard {
        let url = format!("{}/v2/regsweep/blobs/uploads/", self.base(has_tls, host).trim_end_matches('/'));
        let agent =
            |verifies| self.socket.as_ref().map_or_else(|| agent(verifies), |path| by_socket::agent(config(verifies), path));
        let answer = match agent(false).options(&url).call() {
            Ok(answer) => answer,
            Err(error) => return Heard::nothing(error),
        };
        let (Some(credentials), 401) = (credentials, answer.status().as_u16()) else { return heard(&answer) };
        let verifies = !address::is_own(host);
        match credentials::authorization(&answer, credentials, verifies) {
            Ok(authorization) => match agent(verifies).options(&url).header("Authorization", authorization).call() {
                Ok(answer) => heard(&answer),
                Err(error) => Heard { answer: Answer::Unknown(error.to_string()), from_registry: true },
            },
            Err(why) => Heard { answer: Answer::Unknown(why), from_registry: true },
        }
    }
}

/// Connects and disconnects.
fn knock(host: &str, port: u16) -> std::io::Result<()> {
    let mut last = std::io::Error::new(ErrorKind::NotFound, "the host is not known");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(_) => return Ok(()),
            // The error of another address is more specific than a refusal.
            Err(error) if last.kind() == ErrorKind::NotFound || error.kind() != ErrorKind::ConnectionRefused => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

/// An agent that accepts any certificate: a self-signed one must not hide a registry. With a password for another
/// machine, the certificate is verified.
pub(super) fn agent(verifies: bool) -> Agent {
    config(verifies).into()
}

fn config(verifies: bool) -> Config {
    Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .tls_config(TlsConfig::builder().disable_verification(!verifies).build())
        .build()
}

/// Parses a `Date` header, which has the date format of mail.
fn date(text: &str) -> Option<SystemTime> {
    let then = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    SystemTime::try_from(then).ok()
}

fn heard<B>(answer: &Response<B>) -> Heard {
    let status = answer.status();
    let from_registry = answer.headers().contains_key(REGISTRY_HEADER);
    // The header may span several lines, and all of them count. An unreadable line may name any method.
    let lines: Option<Vec<&str>> = answer.headers().get_all("Allow").iter().map(|methods| methods.to_str().ok()).collect();
    let methods: Option<Vec<&str>> = lines.map(|lines| lines.iter().flat_map(|line| line.split(',')).map(str::trim).collect());
    let answer = match methods {
        _ if !from_registry => Answer::Unknown(format!("it answers {status}, not as a registry does")),
        None => Answer::Unknown(format!("it answers {status}, and Allow is no text")),
        Some(methods) if methods.iter().any(|method| method.eq_ignore_ascii_case("POST")) => Answer::Writable,
        // A proxy that allows only some methods answers with another status.
        Some(methods) if status == 200 && methods.contains(&"GET") => Answer::ReadOnly,
        Some(_) => Answer::Unknown(format!("it answers {status}")),
    };
    let answer = match answer {
        Answer::Unknown(why) if status == 401 => Answer::Unauthorized(why),
        answer => answer,
    };
    Heard { answer, from_registry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_this_machine_is_not_queried() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(then));
        assert_eq!(date("yesterday"), None);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        for host in ["127.0.0.1", "localhost"] {
            let endpoint = Endpoint::given("--registry", &format!("http://{host}:{port}")).expect("an address");
            assert_eq!(endpoint.date(), None);
        }
        listener.set_nonblocking(true).expect("a listener can be");
        assert!(listener.accept().is_err(), "nothing came");
    }

    #[test]
    fn a_configured_address_is_asked_on_this_machine() {
        let at = |address: &str, has_tls| {
            let listening = Listening { address: Some(address.into()), has_tls, prefix: "/r/".into(), ..Listening::default() };
            Endpoint::of(&listening).expect("said where").to_string()
        };
        assert_eq!(at(":5000", false), "http://127.0.0.1:5000/r");
        assert_eq!(at("0.0.0.0:5000", true), "https://127.0.0.1:5000/r");
        assert_eq!(at("[::1]:5000", false), "http://[::1]:5000/r");
        assert_eq!(at("10.1.2.3:5000", false), "http://10.1.2.3:5000/r");
        assert_eq!(at(":https", true), "https://127.0.0.1/r");
        assert_eq!(at("nonsense", false), "http.addr nonsense");
        let by_variable =
            Listening { address: Some("x".into()), address_variable: Some("REGISTRY_HTTP_ADDR".into()), ..Listening::default() };
        assert_eq!(Endpoint::of(&by_variable).expect("said where").to_string(), "REGISTRY_HTTP_ADDR x");
        assert_eq!(Endpoint::of(&Listening::default()), None);
    }

    #[test]
    fn what_is_given_is_an_address() {
        for url in [
            "127.0.0.1:5000",
            "http://",
            "http://u:p@h:1",
            "ftp://h",
            "http://h:x",
            "http://:5000",
            "http://[::1",
            "http://h:1/?x",
        ] {
            assert!(Endpoint::given("--registry", url).is_err(), "{url}");
        }
        for (url, shown) in [
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
            ("https://registry.example/v/", "https://registry.example/v"),
            ("http://registry.example", "http://registry.example"),
            ("https://[::1]:5000", "https://[::1]:5000"),
            ("http://[::1]", "http://[::1]"),
        ] {
            assert_eq!(Endpoint::given("--registry", url).expect(url).to_string(), shown);
        }
    }

    #[test]
    fn all_methods_count_in_however_many_lines_they_come() {
        let answer = |status: u16, lines: &[&[u8]]| {
            let mut answer = Response::builder().status(status).header(REGISTRY_HEADER, "registry/2.0");
            for line in lines {
                answer = answer.header("Allow", *line);
            }
            heard(&answer.body(()).expect("headers")).answer
        };
        for lines in [&[&b"GET, POST"[..]][..], &[b"GET,POST"], &[b"GET", b"POST"], &[b"POST", b"GET"], &[b"GET", b"PUT, post"]] {
            assert_eq!(answer(200, lines), Answer::Writable, "{lines:?}");
        }
        for lines in [&[&b"GET"[..]][..], &[b"GET", b"HEAD"], &[b"HEAD, GET", b"OPTIONS"]] {
            assert_eq!(answer(200, lines), Answer::ReadOnly, "{lines:?}");
            assert!(matches!(answer(405, lines), Answer::Unknown(_)), "{lines:?}");
        }
        for lines in [&[][..], &[&b""[..]], &[b"HEAD"], &[b"GET", b"P\xf6ST"], &[b"FORGET"]] {
            assert!(matches!(answer(200, lines), Answer::Unknown(_)), "{lines:?}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        for url in ["http://u:secret@h:1", "https://u:secret@h/@/x", "u:secret@h"] {
            let message = Endpoint::given("--registry", url).expect_err("no address").to_string();
            assert!(!message.contains("secret") && message.contains("--registry-auth"), "{message}");
        }
    }

    #[test]
    fn nothing_there_is_down() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        assert_eq!(Endpoint::given("--registry", &format!("http://{free}")).expect("an address").ask(None), Answer::Down);
        assert_eq!(Endpoint::Socket(Address::of_socket("/nowhere/at/all.sock".into(), false, "")).ask(None), Answer::Down);
    }
}
