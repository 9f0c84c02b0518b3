//! Waiting for a condition: looked at again and again, and never longer than was promised.

#![expect(clippy::disallowed_types, reason = "a cluster lives in real time")]

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// A moment by which something has to be done.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// The earlier one.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    #[must_use]
    pub fn has_passed(self) -> bool {
        Instant::now() >= self.0
    }
}

/// Looks until there is something to see, and returns it. A look that fails counts as one that saw nothing: while a cluster
/// changes, an answer is not owed.
///
/// # Errors
/// When the deadline passes first; with what the last look had to say.
pub fn eventually<T>(what: &str, deadline: Deadline, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    loop {
        let seen = look();
        if let Ok(Some(seen)) = seen {
            return Ok(seen);
        }
        if deadline.has_passed() {
            let mut complaint = format!("in vain waited until {what}");
            if let Err(error) = seen {
                let _always_fits = write!(complaint, "; the last look failed: {error:#}");
            }
            bail!(complaint);
        }
        sleep(BETWEEN_LOOKS);
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn what_comes_later_is_waited_for() {
        let mut looks = 0;
        let seen = eventually("the third look", Deadline::after(Duration::from_secs(60)), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(seen.unwrap(), 3);
    }

    #[test]
    fn what_never_comes_is_named_with_the_last_error() {
        let waited =
            eventually("pigs fly", Deadline::after(Duration::ZERO), || Err::<Option<()>, _>(anyhow!("no wings")));
        let error = waited.unwrap_err().to_string();
        assert!(error.contains("pigs fly") && error.contains("no wings"), "{error}");
    }
}
