//! Proofs of the API as a whole: over all kinds, all routes, and what attackers send.

mod attacks;
pub(crate) mod denials;
mod escalation;
mod objects;
mod protobuf_client;
mod round_trip;
mod urls;
mod wire;

/// So many cases in a run of every day, so many with `CORACLE_FULL` set.
fn counted((short, full): (usize, usize)) -> usize {
    if std::env::var_os("CORACLE_FULL").is_some() { full } else { short }
}
