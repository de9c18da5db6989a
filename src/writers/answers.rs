//! The answers of a store's registries, and other signs of a writer.

use std::cell::OnceCell;
use std::os::unix::fs::MetadataExt as _;

use super::cache_sign::brake_of;
use super::credentials::Credentials;
use super::http::{Answer, Endpoint};
use super::processes::Sign;
use super::registries::{Serves, Service};
use super::{listeners, processes, view};
use crate::clock::RunClock;
use crate::error::Error;
use crate::layout;
use crate::registry_config::{CacheSign, Listening, RegistryConfig};
use crate::store::Root;

/// The registries to query, and the known facts about them.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The root directory of the store, if it is on this machine.
    pub root: Option<&'a Root>,
    /// The configuration of its registry.
    pub registry: Option<&'a RegistryConfig>,
    /// The registry's address, from its configuration or the environment.
    pub http: &'a Listening,
    /// The evidence that it is a pull-through cache.
    pub cache: Option<CacheSign>,
    /// Other registries.
    pub others: &'a [Endpoint],
    /// Credentials for registries that require them.
    pub credentials: Option<&'a Credentials>,
    /// Whether messages may suggest `--online`.
    pub offers_online: bool,
}

/// The answers of a store's registries.
#[derive(Clone, Debug)]
pub struct Answers<'a> {
    question: Question<'a>,
    /// Answers of the registries that could be queried.
    heard: Vec<(Endpoint, Answer)>,
    /// Registries that may run in another container, where they cannot be queried.
    unqueried: Vec<Endpoint>,
    /// Signs of a writer, once they were searched. Signs of registries that answer at their own sockets that they take no
    /// pushes are left out.
    signs: OnceCell<Vec<Sign>>,
}

/// Queries the configured registry, if its address is known, and the given ones.
pub fn ask(question: Question<'_>) -> Answers<'_> {
    let given = question.others.iter().cloned();
    let configured = Endpoint::of(question.http);
    let (mut heard, mut unqueried) = (Vec::new(), Vec::new());
    for endpoint in configured.into_iter().chain(given) {
        match endpoint.ask(question.credentials) {
            // The registries of a bucket may run on any machine.
            Answer::Down if endpoint.is_local() && question.root.is_none_or(|root| !view::has_the_registrys_loopback(root)) => {
                unqueried.push(endpoint)
            }
            answer => heard.push((endpoint, answer)),
        }
    }
    Answers { question, heard, unqueried, signs: OnceCell::new() }
}

/// Asks a registry on another machine for its time, where nothing else vouches for the clock.
pub fn vouch(clock: &mut RunClock, http: &Listening, others: &[Endpoint]) {
    if clock.is_trusted() {
        return;
    }
    let given = others.iter().cloned();
    if let Some(date) = Endpoint::of(http).into_iter().chain(given).find_map(|endpoint| endpoint.date()) {
        clock.compare_with_registry(date);
    }
}

impl Answers<'_> {
    /// Whether no push can be in progress: each registry answers that it takes none, or is down and configured as
    /// read-only, and there is no sign of another writer.
    pub fn takes_no_pushes(&self) -> bool {
        let is_configured_so = self.question.registry.is_some_and(|registry| registry.read_only);
        let is_proxy = self.question.cache.is_some();
        let takes_none = |answer: &Answer| match answer {
            // A pull-through cache writes on every pull.
            Answer::ReadOnly => !is_proxy,
            Answer::Down => is_configured_so,
            Answer::Writable | Answer::Unknown(_) | Answer::Unauthorized(_) => false,
        };
        let do_all =
            !self.heard.is_empty() && self.unqueried.is_empty() && self.heard.iter().all(|(_, answer)| takes_none(answer));
        // Of a bucket nothing on this machine shows who else writes to it.
        do_all && self.question.root.is_some() && self.signs().is_empty()
    }

    /// Why no registry could be queried; `None` if one was, or if all processes that may use the store are visible.
    pub fn unqueried(&self) -> Option<String> {
        let sees_all = self.question.root.is_some_and(view::shows_all_users_of);
        // In a network of its own nothing is heard of a registry that works on the store from elsewhere.
        if !self.heard.is_empty() || (sees_all && self.question.root.is_some_and(view::has_the_registrys_loopback)) {
            return None;
        }
        if self.question.root.is_none() {
            return Some(match self.unqueried.first() {
                Some(endpoint) => {
                    format!("nothing listens at {endpoint} on this machine, and the registries of a bucket may run on any other")
                }
                None => "no address of a registry is known, and the registries of a bucket may run on any machine".to_owned(),
            });
        }
        Some(match (self.unqueried.first(), self.question.registry) {
            (Some(endpoint), _) => {
                format!("nothing listens at {endpoint} in this container, and the registry may run in another one")
            }
            (None, _) if sees_all => {
                "this process has a network of its own, and no address of a registry is known that can be asked from it"
                    .to_owned()
            }
            (None, Some(_)) => "the configuration has no http.addr, and not all processes of this machine are seen".to_owned(),
            (None, None) => "--root names none, and not all processes of this machine are seen".to_owned(),
        })
    }

    /// Ensures that nothing writes to the store.
    ///
    /// # Errors
    ///
    /// [`Error::Brake`] when something may write.
    pub fn ensure_no_writers(&self) -> Result<(), Error> {
        for (endpoint, answer) in &self.heard {
            self.ensure_no_pushes(endpoint, answer)?;
        }
        for sign in self.signs() {
            // A reader may mount the store, and the registries in that namespace take no pushes.
            if !(self.is_one_read_only() && matches!(sign, Sign::Mounted { .. })) {
                return Err(self.brake(sign.to_string(), self.missing(sign)));
            }
            tracing::warn!("{sign}, and is taken for one that only reads");
        }
        Ok(())
    }

    fn is_one_read_only(&self) -> bool {
        self.heard.iter().any(|(_, answer)| *answer == Answer::ReadOnly)
    }

    /// Searches for signs of a writer. A registry is trusted if it answers itself that it is read-only.
    fn signs(&self) -> &[Sign] {
        self.signs.get_or_init(|| {
            let Some(root) = self.question.root else { return Vec::new() };
            let mut signs = processes::signs(root);
            if self.question.cache.is_some() {
                return signs;
            }
            let mut believed = Vec::new();
            signs.retain(|sign| match sign {
                Sign::Registry { pid, serves: Serves::Ours(service) | Serves::Changed(_, service), .. }
                    if self.own_answer(root, *pid, service) == Answer::ReadOnly =>
                {
                    believed.push(*pid);
                    false
                }
                _ => true,
            });
            // The registry in a container is the reason for the container's mounts.
            let is_believed = |pid: &u32| believed.contains(pid);
            signs.retain(|sign| !matches!(sign, Sign::Mounted { registries, .. } if registries.iter().any(is_believed)));
            signs
        })
    }

    /// What a registry answers at its own sockets.
    fn own_answer(&self, root: &Root, pid: u32, service: &Service) -> Answer {
        if service.always_writes {
            return Answer::Writable;
        }
        let owner = root.at(layout::V2).metadata().map(|there| there.uid());
        let users: Vec<u32> = owner.into_iter().chain([0, rustix::process::geteuid().as_raw()]).collect();
        listeners::answer(&processes::directory(pid), &service.http, self.question.credentials, &users)
    }

    /// What is missing where the registry behind a sign is read-only already.
    fn missing(&self, sign: &Sign) -> &'static str {
        let answer = match sign {
            Sign::Mounted { .. } => return "; if its registry is read-only already, name it with --registry URL",
            Sign::Registry { pid, serves: Serves::Ours(service) | Serves::Changed(_, service), .. } => {
                self.question.root.map(|root| self.own_answer(root, *pid, service))
            }
            Sign::Registry { .. } | Sign::Writing { .. } => None,
        };
        match answer {
            Some(Answer::Unauthorized(_)) => "; if it is read-only already, it may say so with --registry-auth",
            Some(Answer::Unknown(_) | Answer::Down) => {
                "; if it is read-only already, its own sockets do not say so from here: run as root, where its processes are seen"
            }
            _ => "",
        }
    }

    fn ensure_no_pushes(&self, endpoint: &Endpoint, answer: &Answer) -> Result<(), Error> {
        if *answer == Answer::Down {
            return Ok(());
        }
        if let Some(sign) = &self.question.cache {
            let reason = format!("the registry at {endpoint} {sign}, which writes to its store on every pull, read-only or not");
            return Err(brake_of(sign, reason));
        }
        let reason = match answer {
            Answer::Down | Answer::ReadOnly => return Ok(()),
            Answer::Writable => format!("a registry that takes pushes answers at {endpoint}"),
            Answer::Unknown(why) | Answer::Unauthorized(why) => {
                let asks_who = matches!(answer, Answer::Unauthorized(_)) && self.question.credentials.is_none();
                let hint = if asks_who { ", and may with --registry-auth" } else { "" };
                format!("what answers at {endpoint} does not say whether it takes pushes ({why}){hint}")
            }
        };
        Err(self.brake(reason, ""))
    }

    fn brake(&self, reason: String, missing: &str) -> Error {
        if let Some(sign) = &self.question.cache {
            return brake_of(sign, reason);
        }
        let online = if self.question.offers_online { ", or give --online" } else { "" };
        let lift = format!(
            "stop it, make it read-only (storage.maintenance.readonly.enabled: true, and restart it){online}{missing}; \
             --assume-offline goes on regardless"
        );
        Error::Brake { reason, lift }
    }
}
