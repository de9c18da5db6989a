//! The sections `http` and `proxy`: where the registry listens, and what it is a cache of.

use std::ffi::OsString;

use super::blame::{Blame, Reach};
use super::yaml::{Map, Node};

/// Where a registry listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// `host:port`, or the path of a socket.
    pub address: Option<String>,
    /// The variable that says so, if one does.
    pub address_variable: Option<String>,
    /// What kind of address that is, `http.net`: `tcp` if it is not said.
    pub net: Option<String>,
    /// The variable that says so, if one does.
    pub net_variable: Option<String>,
    /// Whether it speaks TLS.
    pub has_tls: bool,
    /// What every path begins with.
    pub prefix: String,
}

pub(super) fn listening(settings: &Map, environment: &[(OsString, OsString)]) -> Listening {
    let Some(http) = settings.get("http") else { return Listening::default() };
    let given = |node: &Node| node.scalar().filter(|text| !text.is_empty());
    let variable = |key: &str| {
        let blame = Blame::of(&[key.to_owned()], Reach::Key, environment);
        blame.names().last().map(|name| (*name).to_owned())
    };
    let tls = http.get("tls");
    let (address, net) = (http.get("addr").and_then(given), http.get("net").and_then(given));
    Listening {
        address_variable: address.as_ref().and_then(|_| variable("http.addr")),
        address,
        net_variable: net.as_ref().and_then(|_| variable("http.net")),
        net,
        has_tls: tls.is_some_and(has_tls),
        prefix: http.get("prefix").and_then(given).unwrap_or_default(),
    }
}

/// Whether the server speaks TLS: with a certificate, or with a file for those that it is given.
fn has_tls(tls: &Node) -> bool {
    let is_given = |node: Option<&Node>| node.and_then(Node::scalar).is_some_and(|text| !text.is_empty());
    is_given(tls.get("certificate")) || is_given(tls.get("letsencrypt").and_then(|letsencrypt| letsencrypt.get("cachefile")))
}

pub(super) fn proxy_remote(settings: &Map) -> Option<String> {
    settings.get("proxy")?.get("remoteurl")?.scalar().filter(|remote| !remote.is_empty())
}
