//! Asking a registry whether it takes pushes.
//!
//! `OPTIONS /v2/<any name>/blobs/uploads/` leaves no trace and is answered with the methods that there are: a registry that is
//! read-only has taken `POST` away (source: distribution's `registry/handlers/app.go` and `blobupload.go`).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::TlsConfig;

use crate::error::Error;
use crate::escape::escaped;
use crate::registry_config::Listening;

/// Long enough for a registry of this machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// What every answer of a registry says.
const REGISTRY_HEADER: &str = "Docker-Distribution-Api-Version";

/// Where a registry may be listening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Where its configuration says: it need not run.
    Configured(String),
    /// The same for a socket of this machine.
    Socket(PathBuf),
    /// Where somebody says that there is one.
    Given(String),
}

/// What a registry says of pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nobody is there.
    Down,
    /// It takes none.
    ReadOnly,
    /// It takes them.
    Writable,
    /// It does not say. Why.
    Unknown(String),
}

impl Endpoint {
    /// Where a registry listens that is configured so; nothing if it is not told where.
    pub fn of(listening: &Listening) -> Option<Endpoint> {
        let address = listening.address.as_ref()?;
        if listening.is_unix {
            return Some(Endpoint::Socket(PathBuf::from(address)));
        }
        // All addresses of the machine, of which the loopback is one.
        let everywhere = ["", "0.0.0.0", "[::]"].iter().find_map(|host| address.strip_prefix(host)?.strip_prefix(':'));
        let address = everywhere.map_or_else(|| address.clone(), |port| format!("127.0.0.1:{port}"));
        let scheme = if listening.has_tls { "https" } else { "http" };
        Some(Endpoint::Configured(format!("{scheme}://{address}/{}", listening.prefix.trim_matches('/'))))
    }

    /// What `--registry` names.
    ///
    /// # Errors
    ///
    /// When that is no address.
    pub fn given(url: &str) -> Result<Endpoint, Error> {
        let is_url = ["http://", "https://"].iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        match is_url {
            true => Ok(Endpoint::Given(url.to_owned())),
            false => Err(Error::Usage(format!("--registry {} is no address such as http://127.0.0.1:5000", escaped(url)))),
        }
    }

    /// Asks.
    pub fn ask(&self) -> Answer {
        match self {
            Endpoint::Socket(path) => match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => Answer::Unknown("it listens on a socket".to_owned()),
                Err(_) => Answer::Down,
            },
            Endpoint::Configured(base) => match ask(base) {
                // Something else may have the port.
                Answer::Unknown(why) if why == NO_REGISTRY => Answer::Down,
                answer => answer,
            },
            Endpoint::Given(base) => ask(base),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Socket(path) => f.write_str(&escaped(path)),
            Endpoint::Configured(base) | Endpoint::Given(base) => f.write_str(escaped(base).trim_end_matches('/')),
        }
    }
}

const NO_REGISTRY: &str = "it does not answer as a registry does";

fn ask(base: &str) -> Answer {
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        // Nothing secret is sent and nothing that comes back is trusted: a certificate of a name of its own must not hide a registry.
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .build()
        .into();
    let url = format!("{}/v2/regsweep/blobs/uploads/", base.trim_end_matches('/'));
    let answer = match agent.options(&url).call() {
        Ok(answer) => answer,
        // Not a name that leads nowhere: that is a slip of the pen.
        Err(ureq::Error::ConnectionFailed) => return Answer::Down,
        Err(ureq::Error::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Answer::Down,
        Err(error) => return Answer::Unknown(error.to_string()),
    };
    if !answer.headers().contains_key(REGISTRY_HEADER) {
        return Answer::Unknown(NO_REGISTRY.to_owned());
    }
    let allow = answer.headers().get("Allow").and_then(|methods| methods.to_str().ok());
    match allow {
        Some(methods) if methods.split(',').any(|method| method.trim() == "POST") => Answer::Writable,
        Some(_) => Answer::ReadOnly,
        None => Answer::Unknown(format!("it answers {}", answer.status())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_address_is_asked_on_this_machine() {
        let at = |address: &str, has_tls| {
            let listening = Listening { address: Some(address.into()), has_tls, prefix: "/r/".into(), ..Listening::default() };
            Endpoint::of(&listening).expect("told where").to_string()
        };
        assert_eq!(at(":5000", false), "http://127.0.0.1:5000/r");
        assert_eq!(at("0.0.0.0:5000", true), "https://127.0.0.1:5000/r");
        assert_eq!(at("[::]:5000", false), "http://127.0.0.1:5000/r");
        assert_eq!(at("[::1]:5000", false), "http://[::1]:5000/r");
        assert_eq!(at("10.1.2.3:5000", false), "http://10.1.2.3:5000/r");
        assert_eq!(Endpoint::of(&Listening::default()), None);
        assert!(Endpoint::given("127.0.0.1:5000").is_err());
    }

    #[test]
    fn nobody_there_is_down() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        assert_eq!(Endpoint::Given(format!("http://{free}")).ask(), Answer::Down);
        assert_eq!(Endpoint::Socket("/nowhere/at/all.sock".into()).ask(), Answer::Down);
    }
}
