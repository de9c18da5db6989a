//! The section `storage.s3`: which bucket, on which server, with which credentials.
//!
//! The rules are those of distribution's `registry/storage/driver/s3-aws/s3.go`. What only matters to who writes (`encrypt`, `keyid`,
//! `storageclass`, `objectacl`, sizes of parts) or to its own log (`loglevel`, `useragent`) is not looked at.

use std::ffi::OsString;

use super::problem::Problem;
use super::yaml::{Map, Node};
use crate::escape::escaped;
use crate::store::{AccessKeys, BucketSettings};

/// The names that the driver goes by.
pub(super) const DRIVERS: [&str; 2] = ["s3", "s3aws"];
/// The variable that names certificates for the tools of Amazon, and for the registry.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// The parameters of one driver.
struct Parameters<'m> {
    driver: &'m str,
    map: Option<&'m Map>,
}

impl Parameters<'_> {
    fn problem(&self, key: &str, why: &str) -> Problem {
        Problem::Bucket { key: format!("storage.{}.{key}", self.driver), why: why.to_owned() }
    }

    /// A text; nothing if there is none, or an empty one.
    fn text(&self, key: &str) -> Result<Option<String>, Problem> {
        match self.map.and_then(|map| map.get(key)) {
            None | Some(Node::Null) => Ok(None),
            Some(node) => {
                let text = node.scalar().ok_or_else(|| self.problem(key, "is no text; write one"))?;
                Ok(Some(text).filter(|text| !text.is_empty()))
            }
        }
    }

    fn needed(&self, key: &str) -> Result<String, Problem> {
        let missing = || {
            self.problem(
                key,
                "is missing, and the registry does not start without it; write it, or give --root s3://BUCKET/PREFIX",
            )
        };
        self.text(key)?.ok_or_else(missing)
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, Problem> {
        match self.map.and_then(|map| map.get(key)) {
            None | Some(Node::Null) => Ok(default),
            Some(node) => {
                let quoted = node.scalar().and_then(|text| text.parse().ok());
                node.as_bool().or(quoted).ok_or_else(|| self.problem(key, "is neither true nor false; write one of these"))
            }
        }
    }
}

/// Where the bucket is that a driver's parameters name.
pub(super) fn bucket(
    driver: &str,
    map: Option<&Map>,
    environment: &[(OsString, OsString)],
    warnings: &mut Vec<String>,
) -> Result<BucketSettings, Problem> {
    let parameters = Parameters { driver, map };
    let bucket = parameters.needed("bucket")?;
    let region = parameters.needed("region")?;
    let prefix = parameters.text("rootdirectory")?.unwrap_or_default();
    let prefix = clean_prefix(&prefix).ok_or_else(|| {
        let why = "has empty parts, parts of dots, or white space at an end, in which no key can be found; give another root";
        parameters.problem("rootdirectory", why)
    })?;
    if !parameters.flag("v4auth", true)? {
        let why = "is false: requests are signed by version 4 only; where the server takes that, set it to true";
        return Err(parameters.problem("v4auth", why));
    }
    let scheme = if parameters.flag("secure", true)? { "https" } else { "http" };
    let endpoint = parameters.text("regionendpoint")?.map(|endpoint| with_scheme(&endpoint, scheme));
    let keys = match (parameters.text("accesskey")?, parameters.text("secretkey")?) {
        (Some(access_key), Some(secret_key)) => {
            Some(AccessKeys { access_key, secret_key, session_token: parameters.text("sessiontoken")? })
        }
        _ => None,
    };
    for other in map.into_iter().flat_map(Map::keys).filter(|key| *key != "rootdirectory" && key.to_lowercase().contains("root"))
    {
        warnings.push(format!(
            "storage.{driver}.{} is not read by the registry, which reads storage.{driver}.rootdirectory, in lower case and one word",
            escaped(other)
        ));
    }
    Ok(BucketSettings {
        bucket,
        prefix,
        region,
        endpoint,
        is_path_style: parameters.flag("forcepathstyle", true)?,
        skip_verify: parameters.flag("skipverify", false)?,
        ca_bundle: ca_bundle(environment),
        keys,
    })
}

/// The file of certificates that the environment names.
pub(crate) fn ca_bundle(environment: &[(OsString, OsString)]) -> Option<std::path::PathBuf> {
    let variable = environment.iter().find(|(name, value)| name == CA_BUNDLE && !value.is_empty());
    variable.map(|(_, value)| value.into())
}

/// An address with its scheme.
pub(crate) fn with_scheme(endpoint: &str, scheme: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("{scheme}://{endpoint}") }
}

/// What keys begin with below a root directory, without the slashes at its ends; nothing where that could be another's as well.
pub(crate) fn clean_prefix(root: &str) -> Option<String> {
    let prefix = root.trim_matches('/');
    let is_clean = prefix.is_empty() || prefix.split('/').all(|part| !matches!(part, "" | "." | ".."));
    (is_clean && prefix.trim() == prefix).then(|| prefix.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::load::parse;
    use super::*;

    fn with(s3: &str, variables: &[(&str, &str)]) -> Result<(BucketSettings, Vec<String>), String> {
        let environment: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let config = parse(format!("version: 0.1\nstorage: {{s3: {s3}}}\n").as_bytes(), &environment);
        let config = config.map_err(|problem| problem.to_string())?;
        Ok((config.bucket.expect("a bucket"), config.warnings))
    }

    fn settings(s3: &str) -> BucketSettings {
        with(s3, &[]).expect("settings").0
    }

    #[test]
    fn each_key_is_read_as_the_driver_reads_it() {
        let least = settings("{bucket: b, region: eu-west-1}");
        let expected = BucketSettings {
            bucket: "b".into(),
            prefix: String::new(),
            region: "eu-west-1".into(),
            endpoint: None,
            is_path_style: true,
            skip_verify: false,
            ca_bundle: None,
            keys: None,
        };
        assert_eq!(least, expected);
        let all = settings(
            "{bucket: b, region: r, accesskey: AK, secretkey: SK, sessiontoken: T, regionendpoint: 'localhost:9000/', secure: false, \
             skipverify: true, v4auth: true, forcepathstyle: 'false', rootdirectory: /a/b/, encrypt: true, keyid: k, loglevel: debug, \
             chunksize: 5242880, storageclass: STANDARD, nonsense: 1}",
        );
        let keys = AccessKeys { access_key: "AK".into(), secret_key: "SK".into(), session_token: Some("T".into()) };
        let expected = BucketSettings {
            prefix: "a/b".into(),
            region: "r".into(),
            endpoint: Some("http://localhost:9000".into()),
            is_path_style: false,
            skip_verify: true,
            keys: Some(keys),
            ..expected
        };
        assert_eq!(all, expected);
        // A scheme in the address counts for more.
        let secure = settings("{bucket: b, region: r, regionendpoint: 'https://s', secure: false}");
        assert_eq!(secure.endpoint.as_deref(), Some("https://s"));
        // Half a pair is none.
        assert_eq!(settings("{bucket: b, region: r, accesskey: AK}").keys, None);
    }

    #[test]
    fn variables_are_laid_over_it() {
        let variables = [
            ("REGISTRY_STORAGE_S3_BUCKET", "other"),
            ("REGISTRY_STORAGE_S3_SECRETKEY", "SK"),
            ("REGISTRY_STORAGE_S3_ACCESSKEY", "AK"),
            ("REGISTRY_STORAGE_S3_SECURE", "false"),
            ("REGISTRY_STORAGE_S3_REGIONENDPOINT", "s:1"),
            ("AWS_CA_BUNDLE", "/certs.pem"),
        ];
        let (settings, _) = with("{bucket: b, region: r}", &variables).expect("settings");
        assert_eq!((&*settings.bucket, settings.endpoint.as_deref()), ("other", Some("http://s:1")));
        assert_eq!(settings.keys.map(|keys| keys.secret_key).as_deref(), Some("SK"));
        assert_eq!(settings.ca_bundle.as_deref(), Some(std::path::Path::new("/certs.pem")));
    }

    #[test]
    fn what_no_registry_starts_with_is_refused_by_key() {
        for (s3, words) in [
            ("{region: r}", "storage.s3.bucket is missing"),
            ("{bucket: b}", "storage.s3.region is missing"),
            ("{bucket: [b], region: r}", "storage.s3.bucket is no text"),
            ("{bucket: b, region: r, secure: maybe}", "storage.s3.secure is neither true nor false"),
            ("{bucket: b, region: r, v4auth: false}", "storage.s3.v4auth is false"),
            ("{bucket: b, region: r, rootdirectory: a//b}", "storage.s3.rootdirectory has empty parts"),
            ("{bucket: b, region: r, rootdirectory: ../b}", "storage.s3.rootdirectory has"),
        ] {
            let problem = with(s3, &[]).expect_err(s3);
            assert!(problem.contains(words), "{problem}");
        }
        let (_, warnings) = with("{bucket: b, region: r, rootDirectory: /x}", &[]).expect("settings");
        assert!(warnings[0].starts_with("storage.s3.rootDirectory is not read by the registry"), "{warnings:?}");
    }
}
