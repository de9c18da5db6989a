//! The section `redis`: the server in which registries remember blobs when `storage.cache.blobdescriptor` is `redis`.
//!
//! | Registry | What it reads |
//! | --- | --- |
//! | 2.x | `addr`, `username`, `password`, `db`, `tls.enabled` |
//! | 3.x | `addrs`, or the sentinels of `mastername` with `sentinelusername` and `sentinelpassword`; `tls.certificate` and `tls.key` |
//! | both | `dialtimeout`, `readtimeout`, `writetimeout` |
//!
//! Several `addrs` without `mastername` are a Redis Cluster.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::yaml::{Map, Node};

/// A redis server, or the sentinels that know which server it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedisServer {
    /// `host:port` each, as the configuration has them.
    pub addresses: Vec<String>,
    /// The name that the sentinels at the addresses know the server by.
    pub master: Option<String>,
    /// Who to log in as.
    pub login: Login,
    /// The same at the sentinels.
    pub sentinel_login: Login,
    /// The number of the database.
    pub database: i64,
    /// Whether the connection is encrypted.
    pub has_tls: bool,
    /// The client's certificate and its key, two files in PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The longest of the timeouts that are configured.
    pub timeout: Duration,
    /// Two settings of which only one can be meant: the registry's version decides, which is not known here.
    pub contradiction: Option<&'static str>,
}

/// A user's name and password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The name; without one the server's default user is meant.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
}

impl fmt::Debug for Login {
    /// Passwords are printed nowhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?}, {})", self.username, if self.password.is_some() { "with a password" } else { "no password" })
    }
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisServer({self}, {:?})", self.login)
    }
}

impl fmt::Display for RedisServer {
    /// What tells one from another; passwords and certificates are no part of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", if self.has_tls { "rediss" } else { "redis" })?;
        if let Some(master) = &self.master {
            write!(f, "{master}@")?;
        }
        write!(f, "{}/{}", self.addresses.join(","), self.database)
    }
}

impl RedisServer {
    pub(super) fn of(settings: &Map) -> RedisServer {
        let Some(redis) = settings.get("redis") else { return RedisServer::default() };
        let text = |key: &str| redis.get(key).and_then(Node::scalar).filter(|text| !text.is_empty());
        let login = |username: &str, password: &str| Login { username: text(username), password: text(password) };
        let (address, addresses) = (text("addr"), list(redis.get("addrs")));
        let contradiction = match &address {
            Some(address) if !addresses.is_empty() && addresses != [address.clone()] => Some("addr and addrs"),
            _ => None,
        };
        let tls = redis.get("tls");
        let file = |key: &str| tls?.get(key)?.scalar().filter(|path| !path.is_empty()).map(PathBuf::from);
        let is_enabled = tls.and_then(|tls| tls.get("enabled")).and_then(Node::as_bool) == Some(true);
        let (certificate, key) = (file("certificate"), file("key"));
        let timeouts = ["dialtimeout", "readtimeout", "writetimeout"].into_iter().filter_map(|key| span(&text(key)?));
        RedisServer {
            addresses: if addresses.is_empty() { address.into_iter().collect() } else { addresses },
            master: text("mastername"),
            login: login("username", "password"),
            sentinel_login: login("sentinelusername", "sentinelpassword"),
            database: text("db").and_then(|number| number.parse().ok()).unwrap_or_default(),
            has_tls: is_enabled || certificate.is_some() || key.is_some(),
            identity: certificate.zip(key),
            timeout: timeouts.max().unwrap_or_default(),
            contradiction,
        }
    }
}

/// A list of texts. A variable for one of them makes a map with its place as the key.
fn list(node: Option<&Node>) -> Vec<String> {
    match node {
        Some(Node::List(all)) => all.iter().filter_map(Node::scalar).collect(),
        Some(Node::Map(all) | Node::Made(all)) => all.values().filter_map(Node::scalar).collect(),
        Some(one) => one.scalar().into_iter().collect(),
        None => Vec::new(),
    }
}

/// A span as Go writes it, such as `500ms` or `1m30s`.
fn span(text: &str) -> Option<Duration> {
    text.parse::<jiff::SignedDuration>().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::super::load_text;
    use super::*;

    fn of(section: &str, variables: &[(&str, &str)]) -> RedisServer {
        let text = format!("version: 0.1\nstorage: {{filesystem: {{}}, cache: {{blobdescriptor: redis}}}}\n{section}\n");
        let variables: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let config = load_text("config.yml".as_ref(), text.as_bytes(), &variables).expect("a configuration");
        config.redis.expect("it caches in a redis")
    }

    #[test]
    fn both_versions_of_the_section_are_read() {
        let second = of(
            "redis: {addr: 'r:6379', username: u, password: 12345, db: 3, tls: {enabled: true}, dialtimeout: 10ms, readtimeout: 1m30s}",
            &[],
        );
        assert_eq!((&*second.to_string(), second.timeout.as_secs()), ("rediss://r:6379/3", 90));
        assert_eq!(second.login, Login { username: Some("u".into()), password: Some("12345".into()) });
        let third =
            of("redis: {addrs: ['a:1', 'b:2'], mastername: m, sentinelpassword: s, tls: {certificate: /c, key: /k}}", &[]);
        assert_eq!(third.to_string(), "rediss://m@a:1,b:2/0");
        assert_eq!(third.identity, Some(("/c".into(), "/k".into())));
        assert_eq!(third.sentinel_login.password.as_deref(), Some("s"));
        assert_eq!(of("", &[]), RedisServer::default());
        assert_eq!(of("redis: {addr: 'a:1', addrs: ['b:1']}", &[]).contradiction, Some("addr and addrs"));
        assert_eq!(of("redis: {addr: 'a:1', addrs: ['a:1']}", &[]).contradiction, None);
    }

    #[test]
    fn variables_count() {
        assert_eq!(of("", &[("REGISTRY_REDIS_ADDR", "r:1"), ("REGISTRY_REDIS_DB", "7")]).to_string(), "redis://r:1/7");
        assert_eq!(of("redis: {addr: 'x:1'}", &[("REGISTRY_REDIS_ADDR", "r:1")]).to_string(), "redis://r:1/0");
        assert_eq!(of("", &[("REGISTRY_REDIS", "{addrs: ['r:1']}")]).to_string(), "redis://r:1/0");
        assert_eq!(of("", &[("REGISTRY_REDIS_ADDRS", "['r:1']")]).to_string(), "redis://r:1/0");
        assert_eq!(of("", &[("REGISTRY_REDIS_ADDRS_0", "r:1"), ("REGISTRY_REDIS_ADDRS_1", "s:1")]).addresses, ["r:1", "s:1"]);
        assert!(of("", &[("REGISTRY_REDIS_TLS_ENABLED", "true"), ("REGISTRY_REDIS_ADDR", "r:1")]).has_tls);
        // A service that is called `registry-redis`.
        let links = [("REGISTRY_REDIS_PORT", "tcp://10.0.0.1:6379"), ("REGISTRY_REDIS_SERVICE_HOST", "10.0.0.1")];
        assert_eq!(of("redis: {addr: 'r:1'}", &links).to_string(), "redis://r:1/0");
    }

    #[test]
    fn passwords_are_not_printed() {
        let server = of("redis: {addr: 'r:1', password: secret, sentinelpassword: secret}", &[]);
        assert!(!format!("{server:?} {server}").contains("secret"));
    }
}
