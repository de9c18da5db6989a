//! What the registries of a store answer, and whether anything speaks for a writer.

use std::io::ErrorKind;
use std::time::SystemTime;

use super::cache_sign::CacheSign;
use super::credentials::Credentials;
use super::http::{Answer, Endpoint};
use super::{processes, view};
use crate::error::Error;
use crate::layout;
use crate::registry_config::RegistryConfig;
use crate::store::Root;

/// Which registries are asked, and what is known of them.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The root directory of the store, if it is on this machine.
    pub root: Option<&'a Root>,
    /// The configuration of its registry.
    pub registry: Option<&'a RegistryConfig>,
    /// Addresses of further ones.
    pub urls: &'a [String],
    /// What to say to those that want to know who asks.
    pub credentials: Option<&'a Credentials>,
    /// Whether `--online` is a way out.
    pub offers_online: bool,
}

/// What the registries of a store answered.
#[derive(Clone, Debug)]
pub struct Answers<'a> {
    question: Question<'a>,
    /// Answers of those that could be asked.
    heard: Vec<(Endpoint, Answer)>,
    /// Those that nothing was heard of because they may be in another container.
    unasked: Vec<Endpoint>,
}

/// Asks the registry that is configured, if its configuration says where it listens, and those that are given.
///
/// # Errors
///
/// When something is given that is no address.
pub fn ask(question: Question<'_>) -> Result<Answers<'_>, Error> {
    let given = question.urls.iter().map(|url| Endpoint::given(url)).collect::<Result<Vec<_>, _>>()?;
    let configured = question.registry.and_then(|registry| Endpoint::of(&registry.http));
    let (mut heard, mut unasked) = (Vec::new(), Vec::new());
    for endpoint in configured.into_iter().chain(given) {
        match endpoint.ask(question.credentials) {
            Answer::Down if endpoint.is_local() && question.root.is_some_and(|root| !view::has_the_registrys_loopback(root)) => {
                unasked.push(endpoint)
            }
            answer => heard.push((endpoint, answer)),
        }
    }
    Ok(Answers { question, heard, unasked })
}

/// What time it is where the registry runs, if that is another machine.
pub fn date_elsewhere(registry: Option<&RegistryConfig>, urls: &[String]) -> Option<SystemTime> {
    let given = urls.iter().filter_map(|url| Endpoint::given(url).ok());
    let configured = registry.and_then(|registry| Endpoint::of(&registry.http));
    configured.into_iter().chain(given).find_map(|endpoint| endpoint.date())
}

impl Answers<'_> {
    /// Whether no push can be under way: each registry answers that it takes none, or is down and its configuration says so.
    pub fn takes_no_pushes(&self) -> bool {
        let is_configured_so = self.question.registry.is_some_and(|registry| registry.read_only);
        let is_proxy = self.cache_sign().is_some();
        let takes_none = |answer: &Answer| match answer {
            // It writes whenever somebody pulls.
            Answer::ReadOnly => !is_proxy,
            Answer::Down => is_configured_so,
            Answer::Writable | Answer::Unknown(_) => false,
        };
        !self.heard.is_empty() && self.unasked.is_empty() && self.heard.iter().all(|(_, answer)| takes_none(answer))
    }

    /// Why no registry could be asked, and what to give; nothing if one was, or if all processes of the machine are seen.
    pub fn nobody_asked(&self) -> Option<String> {
        if !self.heard.is_empty() || view::shows_all_processes() {
            return None;
        }
        let why = match (self.unasked.first(), self.question.registry) {
            (Some(endpoint), _) => {
                format!("nothing listens at {endpoint} in this container, and the registry may run in another one")
            }
            (None, Some(_)) => "the configuration has no http.addr, and not all processes of this machine are seen".to_owned(),
            (None, None) => "--root names none, and not all processes of this machine are seen".to_owned(),
        };
        Some(format!("{why}; make sure that it takes no pushes, or give --registry URL"))
    }

    /// Makes sure that nothing writes to the store.
    ///
    /// # Errors
    ///
    /// [`Error::Brake`] when something may.
    pub fn ensure_no_writers(&self) -> Result<(), Error> {
        for (endpoint, answer) in &self.heard {
            self.ensure_no_pushes(endpoint, answer)?;
        }
        let said_read_only = self.heard.iter().any(|(_, answer)| *answer == Answer::ReadOnly);
        for sign in self.question.root.into_iter().flat_map(processes::signs) {
            // Whoever only looks may have it mounted.
            if !(said_read_only && sign.may_be_of_a_read_only_registry()) {
                return Err(self.brake(sign.to_string()));
            }
            tracing::warn!("{sign}, and is taken for the registry that is read-only");
        }
        Ok(())
    }

    fn ensure_no_pushes(&self, endpoint: &Endpoint, answer: &Answer) -> Result<(), Error> {
        if *answer == Answer::Down {
            return Ok(());
        }
        if let Some(sign) = self.cache_sign() {
            return Err(sign.brake(format!(
                "the registry at {endpoint} {sign}, which writes to its store whenever somebody pulls, read-only or not"
            )));
        }
        let reason = match answer {
            Answer::Down | Answer::ReadOnly => return Ok(()),
            Answer::Writable => format!("a registry that takes pushes answers at {endpoint}"),
            Answer::Unknown(why) => {
                let asks_who = why.contains("401") && self.question.credentials.is_none();
                let hint = if asks_who { ", and may with --registry-auth" } else { "" };
                format!("what answers at {endpoint} does not say whether it takes pushes ({why}){hint}")
            }
        };
        Err(self.brake(reason))
    }

    /// What says that the registry is a pull-through cache, if anything does: its configuration, or what such a one keeps in its root.
    fn cache_sign(&self) -> Option<CacheSign> {
        if self.question.registry.is_some_and(|registry| registry.proxy_remote.is_some()) {
            return Some(CacheSign::Configured);
        }
        let state = self.question.root?.at(layout::PROXY_STATE).symlink_metadata();
        let is_absent = state.is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory));
        (!is_absent).then_some(CacheSign::State)
    }

    fn brake(&self, reason: String) -> Error {
        if let Some(sign) = self.cache_sign() {
            return sign.brake(reason);
        }
        let online = if self.question.offers_online { ", or give --online" } else { "" };
        let lift = format!(
            "stop it, make it read-only (storage.maintenance.readonly.enabled: true, and restart it){online}; \
             --assume-offline goes on regardless"
        );
        Error::Brake { reason, lift }
    }
}
