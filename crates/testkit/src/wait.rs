//! Waiting with a deadline: a test's patience is real time, whatever clock the cluster has.

use std::time::{Duration, Instant};

/// Long enough for a busy machine with two cores; nothing that works needs a tenth of it.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Now, for measuring.
#[expect(
    clippy::disallowed_methods,
    reason = "tests of the whole program measure it from outside, in real time"
)]
pub fn stopwatch() -> Instant {
    Instant::now()
}

/// Try until `attempt` gives a value. Panics with the last refusal after [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let start = stopwatch();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(why) if start.elapsed() > PATIENCE => panic!("{what}: not after {PATIENCE:?}: {why}"),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
