//! How many requests are under way at once: as many as are allowed at first, half as many when the server says that it is busy, and more again as
//! it answers.
//!
//! One more than before is allowed when as many were answered as may be under way. A server that is busy refuses many at once that were sent
//! before it said so; these halve it once and not each.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Lets requests begin.
#[derive(Debug)]
pub(super) struct Governor {
    most: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug)]
struct State {
    allowed: usize,
    under_way: usize,
    /// How many were answered since one more was allowed.
    answered: usize,
    /// How often it was halved.
    halvings: u64,
}

/// A request that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    governor: Arc<Governor>,
    /// How often it had been halved when this one began.
    halvings: u64,
}

impl Governor {
    /// Allows so many at first, and never more.
    pub(super) fn new(most: usize) -> Arc<Governor> {
        let most = most.max(1);
        let state = State { allowed: most, under_way: 0, answered: 0, halvings: 0 };
        Arc::new(Governor { most, state: Mutex::new(state), freed: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request, and waits until it may. Who holds a permit must not ask for another.
    pub(super) fn begin(self: &Arc<Governor>) -> Permit {
        let waiting = |state: &mut State| state.under_way >= state.allowed;
        let mut state = self.freed.wait_while(self.state(), waiting).unwrap_or_else(PoisonError::into_inner);
        self.permit(&mut state)
    }

    /// Begins one that cannot wait. It counts as any other.
    pub(super) fn begin_at_once(self: &Arc<Governor>) -> Permit {
        self.permit(&mut self.state())
    }

    fn permit(self: &Arc<Governor>, state: &mut State) -> Permit {
        state.under_way += 1;
        Permit { governor: Arc::clone(self), halvings: state.halvings }
    }
}

#[cfg(test)]
impl Governor {
    /// Whether the next one would have to wait.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state();
        state.under_way >= state.allowed
    }
}

impl Permit {
    /// The server was busy.
    pub(super) fn refused(&self) {
        let mut state = self.governor.state();
        if self.halvings < state.halvings {
            return;
        }
        state.allowed = (state.allowed / 2).max(1);
        state.answered = 0;
        state.halvings += 1;
        tracing::debug!(allowed = state.allowed, "the server is busy");
    }

    /// The server has answered, whatever that was.
    pub(super) fn answered(&self) {
        let mut state = self.governor.state();
        if state.allowed == self.governor.most {
            return;
        }
        state.answered += 1;
        if state.answered >= state.allowed {
            state.allowed += 1;
            state.answered = 0;
            drop(state);
            self.governor.freed.notify_all();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.governor.state().under_way -= 1;
        self.governor.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn allowed(governor: &Governor) -> usize {
        governor.state().allowed
    }

    #[test]
    fn what_is_refused_together_halves_it_once() {
        let governor = Governor::new(64);
        let permits: Vec<Permit> = (0..64).map(|_| governor.begin()).collect();
        permits.iter().for_each(Permit::refused);
        assert_eq!(allowed(&governor), 32);
        drop(permits);
        for expected in [16, 8, 4, 2, 1, 1, 1] {
            governor.begin().refused();
            assert_eq!(allowed(&governor), expected);
        }
        assert_eq!(allowed(&Governor::new(0)), 1);
        // What cannot wait says as well that the server is busy.
        let governor = Governor::new(2);
        let _permits = [governor.begin(), governor.begin()];
        governor.begin_at_once().refused();
        assert_eq!((allowed(&governor), governor.state().under_way), (1, 2));
    }

    #[test]
    fn what_is_answered_lets_it_grow_to_what_it_was_and_no_further() {
        let governor = Governor::new(5);
        let refused: Vec<Permit> = (0..2).map(|_| governor.begin()).collect();
        refused[0].refused();
        drop(refused);
        let grown: Vec<usize> = (0..12)
            .map(|_| {
                governor.begin().answered();
                allowed(&governor)
            })
            .collect();
        assert_eq!(grown, [2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5]);
        governor.begin().refused();
        assert_eq!((allowed(&governor), governor.state().answered), (2, 0), "what was answered before counts no more");
    }

    #[test]
    fn no_more_than_are_allowed_are_under_way_and_each_comes_to_its_turn() {
        let governor = Governor::new(8);
        let (under_way, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        governor.begin().refused();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _permit = governor.begin();
                        most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        under_way.fetch_sub(1, Ordering::SeqCst);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 800);
        assert!(most.into_inner() <= 4);
        // Who waits is let in when more are allowed.
        let [first, second, third, fourth] = [(); 4].map(|()| governor.begin());
        std::thread::scope(|scope| {
            let fifth = scope.spawn(|| drop(governor.begin()));
            [&first, &second, &third, &fourth].into_iter().for_each(Permit::answered);
            fifth.join().expect("let in");
        });
        assert_eq!(governor.state().under_way, 4);
    }
}
