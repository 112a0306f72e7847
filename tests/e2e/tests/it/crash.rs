//! `kill -9`, a damaged store, a data directory in use: what has been acknowledged and what runs goes on.

mod pods;
mod refusals;
mod writes;

use std::time::Duration;

/// Kills a test: enough to hit a program in each of the things it does under load.
const ROUNDS: u32 = 20;

/// Moments between `from` and `to` that a few rounds spread well over all of it: multiples of the golden ratio.
fn moment(round: u32, from: Duration, to: Duration) -> Duration {
    let part = (f64::from(round) * 0.618_034).fract();
    from + (to - from).mul_f64(part)
}
