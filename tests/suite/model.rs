//! The protocol of `--online` as a model: every order in which the steps of pushes, of nightly runs and of restarts can follow each other.
//!
//! One blob that nothing needs at first; clients that push an image of it, each step of the registry by itself; a collector that quarantines it,
//! marks afresh and restores or purges; and a registry that may be started again at any time and forgets what it remembered, together with
//! the requests that were under way. Lost is an image that was acknowledged and whose blob is neither in the store nor in quarantine.
//!
//! Forced races (`tests/online`) show that the real registry takes these steps; this shows that no order of them loses anything, and that each
//! rule is needed: without it some order does.

use std::collections::HashSet;

/// What the collector goes by. Each rule but for the caches that there are can be left out.
#[derive(Clone, Copy)]
struct Rules {
    /// The registry keeps a cache of descriptors in its memory.
    has_cache: bool,
    /// It keeps it in a redis: no restart ends that, and a request that has seen the blob remembers it in a step of its own.
    has_redis: bool,
    /// What is in quarantine is forgotten before it begins to wait.
    forgets: bool,
    /// What is remembered again when it is to be purged is forgotten again, and waits anew.
    looks_again: bool,
    /// Nothing is purged before every request has ended that was under way when the blob was quarantined.
    waits: bool,
    /// Nothing is purged that was quarantined beside a registry that still runs and has a cache.
    wants_restart: bool,
    /// A run that purges marks afresh, with the revisions that were pushed since.
    marks_again: bool,
    /// And with layer links that were written since.
    counts_young_links: bool,
}

const ALL: Rules = Rules {
    has_cache: false,
    has_redis: false,
    forgets: true,
    looks_again: true,
    waits: true,
    wants_restart: true,
    marks_again: true,
    counts_young_links: true,
};

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Link {
    None,
    Old,
    Young,
}

/// How far a client is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Push {
    /// About to ask whether the repository has the blob.
    Ask,
    /// Told that it has not: about to upload it.
    Upload,
    /// Uploaded, and the registry has seen to it that the blob is in its place: about to write the link.
    WriteLink,
    /// About to put the manifest.
    Put,
    /// The registry has seen the blob on the disk: about to remember it, and to tell the client.
    TellThere,
    /// The same for one that puts a manifest.
    RememberAndWrite,
    /// The registry has seen the blob: about to write the revision link, and to acknowledge it.
    WriteRevision,
    /// Acknowledged, or given up.
    Ended,
}

impl Push {
    /// Whether a request is under way.
    fn is_in_request(self) -> bool {
        matches!(self, Push::WriteLink | Push::WriteRevision | Push::TellThere | Push::RememberAndWrite)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Client {
    push: Push,
    /// Whether its request was under way when the blob was quarantined.
    is_older: bool,
    /// How often it may begin again.
    tries: u8,
}

/// How far the collector is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Collector {
    Idle,
    /// It has marked: nothing needs the blob.
    Marked,
    /// The blob is in quarantine, and a redis may still claim it.
    Moved,
    /// The blob is in quarantine.
    Waiting,
    /// A night has begun: whether the blob may be purged, by what was known then.
    Night {
        is_due: bool,
    },
    /// It has marked afresh, and nothing needs the blob.
    Purging,
    /// And no redis claims it.
    Unclaimed,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    in_store: bool,
    in_quarantine: bool,
    link: Link,
    /// Whether that was written since the blob was quarantined.
    is_link_since: bool,
    has_revision: bool,
    /// What the registry remembers.
    is_remembered: bool,
    /// Whether it was started again since the blob was quarantined.
    is_restarted: bool,
    is_acknowledged: bool,
    clients: Vec<Client>,
    collector: Collector,
    rounds: u8,
    restarts: u8,
}

impl State {
    fn is_lost(&self) -> bool {
        self.is_acknowledged && !self.in_store && !self.in_quarantine
    }

    /// Whether the registry believes that the repository has the blob.
    fn is_there(&self, rules: Rules) -> bool {
        ((rules.has_cache || rules.has_redis) && self.is_remembered) || (self.in_store && self.link != Link::None)
    }

    /// Everything that can happen next.
    fn next(&self, rules: Rules) -> Vec<State> {
        let mut next = Vec::new();
        for place in 0..self.clients.len() {
            next.extend(self.after_push(place, rules));
        }
        next.extend(self.after_collector(rules));
        if self.restarts > 0 {
            let mut state = self.clone();
            let is_remembered = self.is_remembered && rules.has_redis;
            (state.restarts, state.is_remembered, state.is_restarted) = (self.restarts - 1, is_remembered, true);
            for client in state.clients.iter_mut().filter(|client| client.push.is_in_request()) {
                client.fail();
            }
            next.push(state);
        }
        next
    }

    /// Requests that are under way by now can have seen what is moved.
    fn begin_wait(&mut self) {
        self.clients.iter_mut().for_each(|client| client.is_older = client.push.is_in_request());
    }

    fn after_push(&self, place: usize, rules: Rules) -> Option<State> {
        let mut state = self.clone();
        let client = self.clients[place];
        let is_there = self.is_there(rules);
        let of = &mut state.clients[place];
        of.is_older = client.is_older && client.push.is_in_request() && rules.has_redis;
        // Seen on the disk, and not in the redis: to be remembered there in a while.
        let is_late = rules.has_redis && is_there && !self.is_remembered;
        match client.push {
            Push::Ask if is_late => of.push = Push::TellThere,
            Push::Put if is_late => of.push = Push::RememberAndWrite,
            Push::TellThere => (of.push, of.is_older, state.is_remembered) = (Push::Put, false, true),
            Push::RememberAndWrite => (of.push, state.is_remembered) = (Push::WriteRevision, true),
            Push::Ask => {
                of.push = if is_there { Push::Put } else { Push::Upload };
                state.is_remembered |= is_there;
            }
            Push::Upload => {
                of.push = Push::WriteLink;
                // What is in its place already is not written again.
                state.in_store = true;
            }
            Push::WriteLink => {
                (of.push, of.is_older) = (Push::Put, false);
                (state.link, state.is_link_since, state.is_remembered) = (Link::Young, true, true);
            }
            Push::Put if is_there => {
                of.push = Push::WriteRevision;
                state.is_remembered = true;
            }
            Push::Put => of.fail(),
            Push::WriteRevision => {
                (of.push, of.is_older) = (Push::Ended, false);
                (state.has_revision, state.is_acknowledged) = (true, true);
            }
            Push::Ended => return None,
        }
        Some(state)
    }

    fn after_collector(&self, rules: Rules) -> Option<State> {
        let mut state = self.clone();
        match self.collector {
            Collector::Idle if self.rounds == 0 => return None,
            Collector::Idle => {
                // Between two nights links grow old.
                state.rounds -= 1;
                if state.link == Link::Young && !self.clients.iter().any(|client| client.push.is_in_request()) {
                    state.link = Link::Old;
                }
                if !state.has_revision && state.link != Link::Young && state.in_store {
                    state.collector = Collector::Marked;
                }
            }
            Collector::Marked => {
                if self.in_store {
                    (state.in_store, state.in_quarantine) = (false, true);
                    (state.is_link_since, state.is_restarted) = (false, false);
                    state.begin_wait();
                    state.collector = if rules.has_redis { Collector::Moved } else { Collector::Waiting };
                } else {
                    state.collector = Collector::Idle;
                }
            }
            Collector::Moved => {
                state.is_remembered &= !rules.forgets;
                state.begin_wait();
                state.collector = Collector::Waiting;
            }
            Collector::Waiting => {
                let has_waited = !rules.waits || !self.clients.iter().any(|client| client.is_older);
                let is_forgotten = !rules.wants_restart || !rules.has_cache || self.is_restarted;
                state.collector = Collector::Night { is_due: has_waited && is_forgotten };
            }
            Collector::Night { is_due } => {
                let young_link = rules.counts_young_links && self.is_link_since;
                let is_needed = rules.marks_again && (self.has_revision || young_link);
                state.collector = match (is_needed, is_due) {
                    (true, _) => {
                        // What the store has again is not replaced.
                        (state.in_store, state.in_quarantine) = (true, false);
                        Collector::Idle
                    }
                    (false, true) => Collector::Purging,
                    (false, false) => Collector::Waiting,
                };
            }
            Collector::Purging if rules.has_redis => {
                let is_claimed = rules.looks_again && self.is_remembered;
                state.collector = if is_claimed { Collector::Moved } else { Collector::Unclaimed };
            }
            Collector::Purging | Collector::Unclaimed => {
                state.in_quarantine = false;
                state.collector = Collector::Idle;
            }
        }
        Some(state)
    }
}

impl Client {
    /// Begins again, or gives up.
    fn fail(&mut self) {
        self.is_older = false;
        self.push = if self.tries > 0 { Push::Ask } else { Push::Ended };
        self.tries = self.tries.saturating_sub(1);
    }
}

/// How many states can be reached, and how many of them have lost an image.
fn explore(rules: Rules, clients: usize) -> (usize, usize) {
    let client = Client { push: Push::Ask, is_older: false, tries: 1 };
    let beginnings = [Link::None, Link::Old].into_iter().flat_map(|link| {
        [false, true].map(|is_remembered| State {
            in_store: true,
            in_quarantine: false,
            link,
            is_link_since: false,
            has_revision: false,
            is_remembered: is_remembered && link != Link::None,
            is_restarted: false,
            is_acknowledged: false,
            clients: vec![client; clients],
            collector: Collector::Idle,
            rounds: 2,
            restarts: 2,
        })
    });
    let mut seen: HashSet<State> = beginnings.collect();
    let mut waiting: Vec<State> = seen.iter().cloned().collect();
    let mut lost = 0;
    while let Some(state) = waiting.pop() {
        lost += usize::from(state.is_lost());
        for next in state.next(rules) {
            if seen.insert(next.clone()) {
                waiting.push(next);
            }
        }
    }
    (seen.len(), lost)
}

#[test]
fn no_order_of_steps_loses_an_image() {
    for (clients, has_cache) in [(1, false), (1, true), (2, false), (2, true)] {
        let (states, lost) = explore(Rules { has_cache, ..ALL }, clients);
        println!("{clients} clients, cache: {has_cache}: {states} states, {lost} lost");
        assert_eq!(lost, 0, "{clients} clients, cache: {has_cache}");
        assert!(states > 100, "nothing is explored: {states}");
    }
}

/// A redis: nothing but the wait, the removal of keys and the second look keeps it from losing an image.
#[test]
fn no_order_of_steps_loses_an_image_beside_a_redis() {
    let beside = Rules { has_redis: true, ..ALL };
    for clients in [1, 2] {
        let (states, lost) = explore(beside, clients);
        println!("{clients} clients, a redis: {states} states, {lost} lost");
        assert_eq!(lost, 0, "{clients} clients");
    }
    for (rule, rules) in [
        ("the removal of keys", Rules { forgets: false, looks_again: false, ..beside }),
        ("the second look", Rules { looks_again: false, ..beside }),
        ("the wait", Rules { waits: false, ..beside }),
        ("the fresh mark", Rules { marks_again: false, ..beside }),
    ] {
        let (states, lost) = explore(rules, 2);
        println!("without {rule}: {states} states, {lost} lost");
        assert!(lost > 0, "without {rule} nothing is lost: it is not needed, or the model says nothing");
    }
}

#[test]
fn each_rule_is_needed() {
    let cached = Rules { has_cache: true, ..ALL };
    for (rule, rules) in [
        ("the wait", Rules { waits: false, ..ALL }),
        ("the fresh mark", Rules { marks_again: false, ..ALL }),
        ("the restart", Rules { wants_restart: false, ..cached }),
        ("the fresh mark beside a cache", Rules { marks_again: false, ..cached }),
    ] {
        let (states, lost) = explore(rules, 1);
        println!("without {rule}: {states} states, {lost} lost");
        assert!(lost > 0, "without {rule} nothing is lost: it is not needed, or the model says nothing");
    }
}

/// A layer whose link was written after the blob was quarantined can only be lost before its manifest is there: the push fails then, and
/// nothing was acknowledged. It is counted all the same, so that such a push does not have to be tried again.
#[test]
fn young_links_spare_a_push_its_second_try() {
    let (_, lost) = explore(Rules { counts_young_links: false, ..ALL }, 2);
    assert_eq!(lost, 0);
}
