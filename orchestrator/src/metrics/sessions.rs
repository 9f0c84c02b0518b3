//! What each worker's session did lately, as the leader saw it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use types::SessionId;

/// Long against a segment, short against a person's patience.
const WINDOW: Duration = Duration::from_secs(60);
/// Younger sessions are taken as so old, so that the first segment makes no peak.
const SHORTEST: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<SessionId, Done>>);

#[derive(Debug)]
struct Done {
    since: Instant,
    files: u64,
    bytes: u64,
    lately: VecDeque<(Instant, u64)>,
}

/// Sums since this leader began, and the rate over the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) files_per_second: f64,
}

impl Sessions {
    pub(crate) fn settled(&self, session: SessionId, files: u64, bytes: u64) {
        self.settled_at(Instant::now(), session, files, bytes);
    }

    fn settled_at(&self, now: Instant, session: SessionId, files: u64, bytes: u64) {
        let mut sessions = self.lock();
        let done =
            sessions.entry(session).or_insert_with(|| Done { since: now, files: 0, bytes: 0, lately: VecDeque::new() });
        done.files += files;
        done.bytes = done.bytes.saturating_add(bytes);
        done.lately.push_back((now, files));
        done.forget(now);
    }

    pub(crate) fn ended(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    /// A new leader starts from nothing.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn tally(&self, session: SessionId) -> Tally {
        self.tally_at(Instant::now(), session)
    }

    fn tally_at(&self, now: Instant, session: SessionId) -> Tally {
        let mut sessions = self.lock();
        let Some(done) = sessions.get_mut(&session) else {
            return Tally::default();
        };
        done.forget(now);
        let files: u64 = done.lately.iter().map(|(_, files)| files).sum();
        let window = now.duration_since(done.since).clamp(SHORTEST, WINDOW);
        Tally { files: done.files, bytes: done.bytes, files_per_second: files as f64 / window.as_secs_f64() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionId, Done>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Done {
    fn forget(&mut self, now: Instant) {
        while self.lately.pop_front_if(|(at, _)| now.duration_since(*at) > WINDOW).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId { index: 1, slot: 0 };

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let sessions = Sessions::default();
        let mut now = Instant::now();
        for _ in 0..120 {
            sessions.settled_at(now, SESSION, 50, 1_000);
            now += Duration::from_secs(1);
        }

        let tally = sessions.tally_at(now, SESSION);

        assert_eq!((tally.files, tally.bytes), (6_000, 120_000));
        assert!((45.0..=55.0).contains(&tally.files_per_second), "{tally:?}");
        assert_eq!(sessions.tally_at(now + WINDOW * 2, SESSION).files_per_second, 0.0);
        sessions.ended(SESSION);
        assert_eq!(sessions.tally_at(now, SESSION), Tally::default());
    }
}
