//! Authentication at registries: basic, and the tokens of other vendors' registries.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ureq::http::Response;

use super::address;
use super::http::agent;

/// The greatest size of a token server's answer.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// A user and a password, which no message and no debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl Credentials {
    /// Parses `USER:PASSWORD`. A trailing line break comes from a file and is dropped.
    pub fn of(text: &str) -> Option<Credentials> {
        let (user, password) = text.trim_end_matches(['\r', '\n']).split_once(':')?;
        let is_valid = !user.is_empty() && !text.trim_end_matches(['\r', '\n']).contains(['\r', '\n']);
        is_valid.then(|| Credentials { user: user.to_owned(), password: password.to_owned() })
    }

    fn basic(&self) -> String {
        format!("Basic {}", BASE64.encode(format!("{}:{}", self.user, self.password)))
    }
}

/// The credentials to send to a registry that answered 401.
///
/// # Errors
///
/// A description of the required credentials that are not available.
pub(super) fn authorization<B>(refusal: &Response<B>, credentials: &Credentials, verifies: bool) -> Result<String, String> {
    let challenges: Vec<&str> =
        refusal.headers().get_all("WWW-Authenticate").iter().filter_map(|value| value.to_str().ok()).collect();
    let by = |scheme: &str| {
        challenges.iter().find_map(|challenge| {
            let (name, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
            name.eq_ignore_ascii_case(scheme).then_some(parameters)
        })
    };
    if by("Basic").is_some() {
        return Ok(credentials.basic());
    }
    match by("Bearer") {
        Some(parameters) => token(parameters, credentials, verifies).map(|token| format!("Bearer {token}")),
        None => Err(format!("it answers {} and wants neither a password nor a token", refusal.status())),
    }
}

/// Fetches a token from the server that the registry names.
fn token(parameters: &str, credentials: &Credentials, verifies: bool) -> Result<String, String> {
    let realm = parameter(parameters, "realm").ok_or("it wants a token and does not say from where")?;
    let (scheme, rest) = realm.split_once("://").unwrap_or(("", realm));
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    // The answering host is not authenticated, so a password for another machine is only sent encrypted.
    if verifies && scheme != "https" && !address::is_own(name) {
        return Err(format!("it wants a token from {realm}, to which no password is sent without TLS"));
    }
    let mut request = agent(!address::is_own(name)).get(realm).header("Authorization", credentials.basic());
    if let Some(service) = parameter(parameters, "service") {
        request = request.query("service", service);
    }
    let failed = |why: &dyn fmt::Display| format!("no token is to be had from {realm}: {why}");
    let mut answer = request.query("account", &credentials.user).call().map_err(|error| failed(&error))?;
    if answer.status() != 200 {
        return Err(failed(&answer.status()));
    }
    let body = answer.body_mut().with_config().limit(MAX_TOKEN_BYTES).read_to_string().map_err(|error| failed(&error))?;
    let body: serde_json::Value = serde_json::from_str(&body).map_err(|error| failed(&error))?;
    let token = ["token", "access_token"].iter().find_map(|key| body[*key].as_str());
    token.map(str::to_owned).ok_or_else(|| failed(&"there is none in the answer"))
}

/// A parameter of a challenge such as `realm="https://auth.example/token",service="registry"`.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = parameters;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim().trim_start_matches(',').trim();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_and_a_password_are_read_and_not_shown() {
        let read = Credentials::of("user:a:b\n").expect("both");
        assert_eq!((read.user.as_str(), read.password.as_str()), ("user", "a:b"));
        assert_eq!(read.basic(), "Basic dXNlcjphOmI=");
        assert!(!format!("{read:?}").contains("user"));
        for text in ["", "user", ":password", "user:pass\nword"] {
            assert_eq!(Credentials::of(text), None, "{text}");
        }
    }

    #[test]
    fn the_parameters_of_a_challenge_are_found() {
        let challenge = r#"realm="https://a.example/token?x=1,2",service="registry", scope=x"#;
        assert_eq!(parameter(challenge, "realm"), Some("https://a.example/token?x=1,2"));
        assert_eq!(parameter(challenge, "Service"), Some("registry"));
        assert_eq!(parameter(challenge, "scope"), Some("x"));
        assert_eq!(parameter(challenge, "error"), None);
        assert_eq!(parameter("realm=\"open", "realm"), None);
    }
}
