//! Ages as people read them: `5s`, `3m20s`, `47h`, `2y10d`.

/// The moment that ages are counted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// Seconds since the epoch.
    At(i64),
    /// Not known yet: an age is left open until [`close`] is told.
    Open,
}

/// Stands around the start of an open age: a noncharacter, which is not meant for texts.
pub const MARK: char = '\u{FDD0}';

/// The age of what has yet to come, and how Go writes it in a JSON string.
const INVALID: &str = "<invalid>";
const INVALID_IN_JSON: &str = r"\u003cinvalid\u003e";

/// How long ago `then` was.
pub fn since(then: i64, now: Now) -> String {
    match now {
        Now::At(now) => human(now - then),
        Now::Open => format!("{MARK}{then}{MARK}"),
    }
}

/// Puts `text`, which is JSON, into `out` with its open ages counted to `now`.
pub fn close(text: &str, now: i64, out: &mut Vec<u8>) {
    for (i, part) in text.split(MARK).enumerate() {
        // The marks may also be somebody's own text, with any number between them.
        match part.parse::<i64>() {
            Ok(then) if i % 2 == 1 => match human(now.saturating_sub(then)) {
                age if age == INVALID => out.extend_from_slice(INVALID_IN_JSON.as_bytes()),
                age => out.extend_from_slice(age.as_bytes()),
            },
            _ => out.extend_from_slice(part.as_bytes()),
        }
    }
}

/// A span of seconds with two units at most, coarser the longer it is.
pub fn human(seconds: i64) -> String {
    // A clock may be a second or two ahead.
    if seconds < -1 {
        return INVALID.to_owned();
    }
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => two(days, 'd', hours % 24, 'h'),
        () if days < 730 => format!("{days}d"),
        () if days < 2_920 => two(days / 365, 'y', days % 365, 'd'),
        () => format!("{}y", days / 365),
    }
}

fn two(large: i64, large_unit: char, small: i64, small_unit: char) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Now, close, human, since};

    #[test]
    fn an_open_age_is_closed_later() {
        let open = format!("a {} b {}", since(100, Now::Open), since(-5, Now::Open));
        let mut out = Vec::new();
        close(&open, 103, &mut out);
        assert_eq!(out, b"a 3s b 108s");
        assert_eq!(since(100, Now::At(103)), "3s");
        out.clear();
        close(&since(200, Now::Open), 103, &mut out);
        assert_eq!(out, br"\u003cinvalid\u003e", "as all of the JSON is escaped");
    }

    #[test]
    fn rounds_as_the_reference_does() {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        const YEAR: i64 = 365 * DAY;
        for (seconds, want) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (599, "9m59s"),
            (10 * MINUTE, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + MINUTE, "3h1m"),
            (8 * HOUR - 1, "7h59m"),
            (8 * HOUR, "8h"),
            (2 * DAY - 1, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + HOUR, "2d1h"),
            (8 * DAY - 1, "7d23h"),
            (8 * DAY, "8d"),
            (2 * YEAR - 1, "729d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + DAY, "2y1d"),
            (8 * YEAR - 1, "7y364d"),
            (8 * YEAR, "8y"),
            (100 * YEAR, "100y"),
        ] {
            assert_eq!(human(seconds), want, "{seconds}");
        }
    }
}
