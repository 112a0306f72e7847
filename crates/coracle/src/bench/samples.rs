//! What many measurements of one thing say: their middle, their worst hundredth, how two servers compare.

use std::time::Duration;

/// How long single operations took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Latencies {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Latencies {
    /// `None` of nothing.
    pub(crate) fn of(mut all: Vec<Duration>) -> Option<Latencies> {
        all.sort_unstable();
        Some(Latencies { p50: percentile(&all, 50)?, p99: percentile(&all, 99)? })
    }
}

/// The least of the sorted values that so many percent of them do not exceed (the nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

/// The middle one; the mean of the two in the middle of an even number.
pub(crate) fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    let half = all.len() / 2;
    match all.len() {
        0 => Duration::ZERO,
        n if n % 2 == 1 => all[half],
        _ => (all[half - 1] + all[half]) / 2,
    }
}

/// How many times `other` is `this`; `None` where the one or the other was not measured or is nothing.
pub(crate) fn ratio(this: Option<f64>, other: Option<f64>) -> Option<f64> {
    let (this, other) = (this?, other?);
    (this > 0.0 && other > 0.0).then(|| other / this)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(all: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        all.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |all: &[u64]| median(millis(all.iter().copied())).as_millis();
        assert_eq!((of(&[]), of(&[7]), of(&[9, 1, 5]), of(&[1, 9, 3, 5])), (0, 7, 5, 4));
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let of = |all: Vec<Duration>| Latencies::of(all).map(|l| (l.p50.as_millis(), l.p99.as_millis()));
        assert_eq!(of(vec![]), None);
        assert_eq!(of(millis([7])), Some((7, 7)));
        assert_eq!(of(millis([9, 1])), Some((1, 9)));
        assert_eq!(of(millis((1..=100).rev())), Some((50, 99)));
        assert_eq!(of(millis(1..=1000)), Some((500, 990)));
    }

    #[test]
    fn a_ratio_needs_both_sides() {
        assert_eq!(ratio(Some(150.0), Some(4200.0)), Some(28.0));
        assert_eq!(ratio(Some(0.0), Some(1.0)), None);
        assert_eq!(ratio(Some(1.0), Some(0.0)), None);
        assert_eq!(ratio(None, Some(1.0)), None);
        assert_eq!(ratio(Some(1.0), None), None);
    }
}
