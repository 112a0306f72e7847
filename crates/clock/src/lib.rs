//! Time as a parameter: the only place that reads a clock or sleeps.
//!
//! A cluster is handed one [`Clock`]. The system clock is the default; a stepped clock moves only when told to, so that
//! token expiry, rotation, leases and TTLs can be tested in no time.

#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    System { start: std::time::Instant },
    Stepped { start: Timestamp, elapsed: Mutex<Duration>, moved: watch::Sender<Duration> },
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::system()
    }
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is Clock")]
    pub fn system() -> Clock {
        Clock(Arc::new(Source::System { start: std::time::Instant::now() }))
    }

    /// A clock that stands still at `start` until [`Clock::advance`] moves it.
    pub fn stepped(start: Timestamp) -> Clock {
        let (moved, _) = watch::channel(Duration::ZERO);
        Clock(Arc::new(Source::Stepped { start, elapsed: Mutex::new(Duration::ZERO), moved }))
    }

    /// The time of day.
    #[expect(clippy::disallowed_methods, reason = "this is Clock")]
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Source::System { .. } => {
                Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
            }
            Source::Stepped { start, elapsed, .. } => {
                let elapsed = *elapsed.lock().unwrap_or_else(PoisonError::into_inner);
                start.checked_add(elapsed).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// As Kubernetes writes `metav1.Time`: RFC 3339 in UTC, whole seconds.
    pub fn now_rfc3339(&self) -> String {
        self.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// As Kubernetes writes `metav1.MicroTime`.
    pub fn now_micro(&self) -> String {
        self.now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
    }

    pub fn unix_seconds(&self) -> i64 {
        self.now().as_second()
    }

    /// Time passed since the clock was made; never goes back.
    #[expect(clippy::disallowed_methods, reason = "this is Clock")]
    pub fn elapsed(&self) -> Duration {
        match &*self.0 {
            Source::System { start } => std::time::Instant::now().duration_since(*start),
            Source::Stepped { elapsed, .. } => *elapsed.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is Clock")]
    pub async fn sleep(&self, duration: Duration) {
        match &*self.0 {
            Source::System { .. } => tokio::time::sleep(duration).await,
            Source::Stepped { moved, .. } => {
                let until = self.elapsed() + duration;
                // The sender lives as long as self, so waiting cannot fail.
                let _ = moved.subscribe().wait_for(|elapsed| *elapsed >= until).await;
            }
        }
    }

    /// `future`'s output, or `None` once `duration` has passed.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        tokio::select! {
            out = future => Some(out),
            () = self.sleep(duration) => None,
        }
    }

    /// Move a stepped clock; a system clock moves by itself and ignores this.
    pub fn advance(&self, by: Duration) {
        if let Source::Stepped { elapsed, moved, .. } = &*self.0 {
            let mut elapsed = elapsed.lock().unwrap_or_else(PoisonError::into_inner);
            *elapsed += by;
            moved.send_replace(*elapsed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stepped_clock_wakes_sleepers_when_moved() {
        let clock = Clock::stepped(Timestamp::UNIX_EPOCH);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(3600)).await;
                clock.now_rfc3339()
            }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(3600));
        assert_eq!(sleeper.await.unwrap(), "1970-01-01T01:00:00Z");
    }
}
