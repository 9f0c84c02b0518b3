use std::{
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Bytes a second that several downloads share. Clones share one limit.
#[derive(Clone, Debug, Default)]
pub struct RateLimit(Option<Arc<Limit>>);

#[derive(Debug)]
struct Limit {
    bytes_per_second: NonZeroU64,
    /// When what was granted so far is paid for.
    paid_until: Mutex<Option<Instant>>,
}

impl RateLimit {
    /// `None`: as fast as it goes.
    pub fn new(bytes_per_second: Option<NonZeroU64>) -> Self {
        Self(
            bytes_per_second.map(|bytes_per_second| Arc::new(Limit { bytes_per_second, paid_until: Mutex::default() })),
        )
    }

    /// Returns when `bytes` more may be read. Time in which nothing was read is not saved up.
    pub(crate) async fn wait_for(&self, bytes: u64) {
        if let Some(limit) = &self.0 {
            sleep_until(limit.grant(Instant::now(), bytes)).await;
        }
    }
}

impl Limit {
    /// From when on `bytes` may be read, asked for at `now`.
    fn grant(&self, now: Instant, bytes: u64) -> Instant {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.get() as f64);
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = paid_until.map_or(now, |paid| paid.max(now));
        *paid_until = Some(begin + cost);
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_share_one_rate_and_do_not_save_up_what_they_left() {
        let limit = RateLimit::new(NonZeroU64::new(1000));
        let other = limit.clone();
        let start = Instant::now();
        let after = |limit: &RateLimit, seconds, bytes| {
            let granted = limit.0.as_ref().expect("it has a limit").grant(start + Duration::from_secs(seconds), bytes);
            (granted - start).as_millis()
        };
        assert_eq!(after(&limit, 0, 500), 0, "the first may begin at once");
        assert_eq!(after(&other, 0, 2500), 500);
        assert_eq!(after(&limit, 1, 1000), 3000);
        assert_eq!(after(&limit, 60, 1000), 60_000);
        assert_eq!(after(&limit, 60, 1), 61_000, "the idle minute counts for nothing");
    }

    #[test]
    fn no_rate_is_no_limit() {
        assert!(RateLimit::new(None).0.is_none() && RateLimit::default().0.is_none());
    }
}
