//! A connection to the redis that a registry's configuration names.

use std::fs;
use std::path::Path;
use std::time::Duration;

use redis::{
    Client, ClientTlsConfig, Connection, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo, RedisError, RedisResult,
    TlsCertificates,
};

use crate::error::RedisObstacle;
use crate::escape::escaped;
use crate::registry_config::{Login, RedisServer};

/// Registries are configured to give a cache up within milliseconds. Here it is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why something cannot be done with a redis: what is in the way, and in words.
pub(super) type Refused = (RedisObstacle, String);

/// Connects, to the server that the sentinels name where the configuration names sentinels.
///
/// # Errors
///
/// Why that is not possible.
pub(super) fn connect(server: &RedisServer) -> Result<Connection, Refused> {
    let misconfigured = |why: String| Err((RedisObstacle::Unreachable, why));
    if let Some(both) = server.contradiction {
        return misconfigured(format!(
            "the configuration's redis section has {both}, and which one counts depends on the registry's version"
        ));
    }
    let address = match (&server.master, &*server.addresses) {
        (_, []) => {
            return misconfigured("the configuration names no server: redis.addr, or redis.addrs in version 3".to_owned());
        }
        (Some(master), sentinels) => {
            master_of(server, master, sentinels).map_err(|reasons| (RedisObstacle::Unreachable, reasons))?
        }
        (None, [address]) => address.clone(),
        (None, _) => {
            let why = "several redis.addrs without mastername are a Redis Cluster";
            return Err((RedisObstacle::Cluster, why.to_owned()));
        }
    };
    open(server, &address, &server.login, server.database)
}

/// Asks the sentinels, one after the other, which server they have for a name.
fn master_of(server: &RedisServer, master: &str, sentinels: &[String]) -> Result<String, String> {
    let mut reasons = Vec::new();
    for sentinel in sentinels {
        let asked = open(server, sentinel, &server.sentinel_login, 0).and_then(|mut connection| {
            let mut ask = redis::cmd("SENTINEL");
            let answer = ask.arg("get-master-addr-by-name").arg(master).query::<Option<(String, u16)>>(&mut connection);
            answer.map_err(|error| refused(sentinel, &error))
        });
        match asked {
            Ok(Some((host, port))) if host.contains(':') => return Ok(format!("[{host}]:{port}")),
            Ok(Some((host, port))) => return Ok(format!("{host}:{port}")),
            Ok(None) => reasons.push(format!("the sentinel {} knows no master {}", escaped(sentinel), escaped(master))),
            Err((_, reason)) => reasons.push(reason),
        }
    }
    Err(reasons.join("; "))
}

fn open(server: &RedisServer, address: &str, login: &Login, database: i64) -> Result<Connection, Refused> {
    let opened = || -> RedisResult<Connection> {
        let settings = RedisConnectionInfo::default().set_db(database).set_skip_set_lib_name();
        let settings = match &login.username {
            Some(name) => settings.set_username(name),
            None => settings,
        };
        let settings = match &login.password {
            Some(password) => settings.set_password(password),
            None => settings,
        };
        let info = place(address, server.has_tls)?.into_connection_info()?.set_redis_settings(settings);
        let client = match &server.identity {
            Some((certificate, key)) => Client::build_with_tls(info, identity(certificate, key)?)?,
            None => Client::open(info)?,
        };
        let timeout = server.timeout.max(TIMEOUT);
        let connection = client.get_connection_with_timeout(timeout)?;
        connection.set_read_timeout(Some(timeout))?;
        connection.set_write_timeout(Some(timeout))?;
        Ok(connection)
    };
    opened().map_err(|error| refused(address, &error))
}

/// Where the registry would connect to.
fn place(address: &str, has_tls: bool) -> RedisResult<ConnectionAddr> {
    if address.starts_with('/') {
        return Ok(ConnectionAddr::Unix(address.into()));
    }
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let (host, port) = parts.ok_or((redis::ErrorKind::InvalidClientConfig, "it is no host:port"))?;
    let host = match host.trim_start_matches('[').trim_end_matches(']') {
        // As Go has it.
        "" => "localhost".to_owned(),
        host => host.to_owned(),
    };
    Ok(match has_tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    })
}

/// The client's certificate. Servers are held against what the system trusts, as the registry does it.
fn identity(certificate: &Path, key: &Path) -> RedisResult<TlsCertificates> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| std::io::Error::new(error.kind(), format!("cannot read {}: {error}", escaped(path))))
    };
    let client_tls = Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? });
    Ok(TlsCertificates { client_tls, root_cert: None })
}

/// What went wrong at an address. Whatever the server says is printed safely.
fn refused(address: &str, error: &RedisError) -> Refused {
    (obstacle(error), format!("{}: {}", escaped(address), escaped(error.to_string())))
}

/// What is in the way, by what a server answers.
pub(super) fn obstacle(error: &RedisError) -> RedisObstacle {
    match error.code() {
        Some("NOPERM") => RedisObstacle::Forbidden,
        Some("READONLY" | "MISCONF" | "OOM" | "NOREPLICAS") => RedisObstacle::ReadOnly,
        Some("MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN") => RedisObstacle::Cluster,
        _ => RedisObstacle::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_registry() {
        let at = |host: &str, port| Some(ConnectionAddr::Tcp(host.to_owned(), port));
        for (address, expected) in [
            ("redis:6379", at("redis", 6379)),
            (":6379", at("localhost", 6379)),
            ("[::1]:1", at("::1", 1)),
            ("redis", None),
            ("redis:99999", None),
            ("", None),
            ("/run/redis.sock", Some(ConnectionAddr::Unix("/run/redis.sock".into()))),
        ] {
            assert_eq!(place(address, false).ok(), expected, "{address}");
        }
        assert!(matches!(place("r:1", true), Ok(ConnectionAddr::TcpTls { insecure: false, .. })));
    }

    #[test]
    fn what_cannot_be_asked_says_why() {
        let server = |addresses: &[&str], master: Option<&str>| RedisServer {
            addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
            master: master.map(str::to_owned),
            ..RedisServer::default()
        };
        for (server, reason) in [
            (server(&[], None), "names no server"),
            (server(&["a:1", "b:1"], None), "Redis Cluster"),
            (server(&["nonsense"], None), "nonsense"),
            (server(&["127.0.0.1:1"], None), "127.0.0.1:1"),
            (server(&["127.0.0.1:1", "127.0.0.1:2"], Some("m")), "127.0.0.1:2"),
            (RedisServer { contradiction: Some("both"), ..RedisServer::default() }, "both"),
        ] {
            let (_, said) = connect(&server).err().expect("nothing is there");
            assert!(said.contains(reason), "{said}");
        }
    }
}
