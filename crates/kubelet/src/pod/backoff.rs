//! Growing delays between tries of what keeps failing.

use std::time::Duration;

use jiff::Timestamp;

/// The first delay, for crashing containers and failing pulls.
const FIRST: Duration = Duration::from_secs(10);
/// The longest delay: five minutes.
const LONGEST: Duration = Duration::from_secs(300);
/// After this long without a failure (twice the longest delay) the delays start again from the first.
const FORGET: Duration = Duration::from_secs(600);

/// Tries of one thing: a container of a Pod, or an image for a Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    delay: Duration,
    /// When the delay was last raised.
    updated: Option<Timestamp>,
}

impl Backoff {
    /// Until when to wait after a failure at `failed`; `None` when a try is due at `now`.
    pub(crate) fn until(&self, failed: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let updated = self.updated?;
        if since(updated, failed) > FORGET {
            return None;
        }
        let until = failed.checked_add(self.delay).unwrap_or(Timestamp::MAX);
        (now < until).then_some(until)
    }

    /// Records that a try is made now, after a failure at `failed`.
    pub(crate) fn next(&mut self, failed: Timestamp, now: Timestamp) {
        let fresh = self.updated.is_none_or(|updated| since(updated, failed) > FORGET);
        self.delay = if fresh { FIRST } else { (self.delay * 2).min(LONGEST) };
        self.updated = Some(now);
    }

    pub(crate) fn delay(&self) -> Duration {
        self.delay
    }
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// A delay as Go prints a duration: `10s`, `1m20s`, `5m0s`.
pub(crate) fn go_seconds(delay: Duration) -> String {
    let seconds = delay.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn delays_double_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut now = 0;
        let mut delays = Vec::new();
        for _ in 0..8 {
            assert_eq!(backoff.until(at(now), at(now + 300)), None);
            backoff.next(at(now), at(now));
            delays.push(go_seconds(backoff.delay()));
            now += 300;
        }
        assert_eq!(delays, ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s", "5m0s"]);
    }

    #[test]
    fn a_long_run_resets() {
        let mut backoff = Backoff::default();
        backoff.next(at(0), at(0));
        backoff.next(at(20), at(20));
        assert_eq!(backoff.until(at(30), at(31)), Some(at(50)));
        assert_eq!(backoff.until(at(700), at(701)), None);
        backoff.next(at(700), at(701));
        assert_eq!(backoff.delay(), FIRST);
    }
}
