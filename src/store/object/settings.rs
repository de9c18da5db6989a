//! Where a bucket is, and how to speak to it.

use std::fmt;
use std::path::PathBuf;

/// Where a bucket is, and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    /// The name of the bucket.
    pub bucket: String,
    /// What all keys of the registry begin with; no slash at either end, and mostly empty.
    pub prefix: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Where the server is, with its scheme; Amazon's for the region if that is not said.
    pub endpoint: Option<String>,
    /// Whether the bucket is named by the path; otherwise by the host.
    pub is_path_style: bool,
    /// Whether to believe a certificate that nothing vouches for.
    pub skip_verify: bool,
    /// Certificates to believe in place of those that are built in, in a file of PEM.
    pub ca_bundle: Option<PathBuf>,
    /// With what requests are signed. Without them: variables, profile, web identity, metadata of the machine, in this order.
    pub keys: Option<AccessKeys>,
}

/// What requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKeys {
    /// The name of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: String,
    /// What makes a temporary one valid.
    pub session_token: Option<String>,
}

/// Shows nothing of them.
impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKeys(..)")
    }
}

impl BucketSettings {
    /// Where it is, for people.
    pub fn place(&self) -> PathBuf {
        match self.prefix.is_empty() {
            true => PathBuf::from(format!("s3://{}", self.bucket)),
            false => PathBuf::from(format!("s3://{}/{}", self.bucket, self.prefix)),
        }
    }

    /// The address of the server.
    pub(super) fn endpoint(&self) -> String {
        let domain = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        self.endpoint.clone().unwrap_or_else(|| format!("https://s3.{}.{domain}", self.region))
    }

    /// What must not be in anything that is printed.
    pub(super) fn secrets(&self) -> Vec<String> {
        let keys =
            self.keys.iter().flat_map(|keys| [Some(&keys.secret_key), keys.session_token.as_ref(), Some(&keys.access_key)]);
        keys.flatten().filter(|secret| !secret.is_empty()).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_key() {
        let keys = AccessKeys {
            access_key: "AKIAEXAMPLE".to_owned(),
            secret_key: "very-secret".to_owned(),
            session_token: Some("a-token".to_owned()),
        };
        let settings = BucketSettings {
            bucket: "images".to_owned(),
            prefix: "a/b".to_owned(),
            region: "cn-north-1".to_owned(),
            endpoint: None,
            is_path_style: true,
            skip_verify: false,
            ca_bundle: None,
            keys: Some(keys),
        };
        let shown = format!("{settings:?} {} {}", settings.place().display(), settings.endpoint());
        assert!(settings.secrets().iter().all(|secret| !shown.contains(secret.as_str())), "{shown}");
        assert_eq!(settings.secrets().len(), 3);
        assert!(shown.ends_with("s3://images/a/b https://s3.cn-north-1.amazonaws.com.cn"), "{shown}");
    }
}
