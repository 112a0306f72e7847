//! A cron schedule of five fields or a descriptor such as `@hourly`, refused in the words of the reference's parser.

/// When a CronJob starts its Jobs: a set bit for each value that a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    Fields {
        minute: u64,
        hour: u64,
        day: u64,
        month: u64,
        weekday: u64,
        /// Whether neither the day nor the weekday is `*`: then one of them must fit, else both.
        either_day: bool,
    },
    /// `@every 5m`, in seconds.
    Every(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("empty spec string")]
    Empty,
    #[error("expected exactly 5 fields, found {count}: [{fields}]")]
    Count { count: usize, fields: String },
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    #[error("failed to parse duration {0}: time: invalid duration \"{0}\"")]
    Duration(String),
    #[error("too many hyphens: {0}")]
    Hyphens(String),
    #[error("too many slashes: {0}")]
    Slashes(String),
    #[error("failed to parse int from {0}: strconv.Atoi: parsing \"{0}\": invalid syntax")]
    Number(String),
    #[error("beginning of range ({start}) below minimum ({min}): {text}")]
    Below { start: u32, min: u32, text: String },
    #[error("end of range ({end}) above maximum ({max}): {text}")]
    Above { end: u32, max: u32, text: String },
    #[error("beginning of range ({start}) beyond end of range ({end}): {text}")]
    Reversed { start: u32, end: u32, text: String },
    #[error("step of range should be a positive number: {0}")]
    Step(String),
}

struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds { min: 0, max: 59, names: &[] };
const HOURS: Bounds = Bounds { min: 0, max: 23, names: &[] };
const DAYS: Bounds = Bounds { min: 1, max: 31, names: &[] };
const MONTHS: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Bounds = Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Schedule {
    pub fn parse(text: &str) -> Result<Schedule, Error> {
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if text.starts_with('@') {
            return descriptor(text);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(Error::Count { count: fields.len(), fields: fields.join(" ") });
        };
        let starred = |field: &str| field.starts_with('*') || field.starts_with('?');
        Ok(Schedule::Fields {
            minute: bits(minute, &MINUTES)?,
            hour: bits(hour, &HOURS)?,
            day: bits(day, &DAYS)?,
            month: bits(month, &MONTHS)?,
            weekday: bits(weekday, &WEEKDAYS)?,
            either_day: !starred(day) && !starred(weekday),
        })
    }
}

fn descriptor(text: &str) -> Result<Schedule, Error> {
    let standing = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let every = text.strip_prefix("@every ").ok_or_else(|| Error::Descriptor(text.to_owned()))?;
            let seconds = duration(every).ok_or_else(|| Error::Duration(every.to_owned()))?;
            // The reference's parser never waits less than a second.
            return Ok(Schedule::Every(seconds.max(1)));
        }
    };
    Schedule::parse(standing)
}

/// A Go duration such as `1h30m`, in whole seconds.
fn duration(text: &str) -> Option<u64> {
    let mut seconds = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Some(seconds as u64)
}

fn bits(field: &str, bounds: &Bounds) -> Result<u64, Error> {
    field.split(',').filter(|part| !part.is_empty()).try_fold(0, |all, part| Ok(all | range(part, bounds)?))
}

/// `n`, `n-m`, `*` or one of these with `/step`.
fn range(text: &str, bounds: &Bounds) -> Result<u64, Error> {
    let range_and_step: Vec<&str> = text.split('/').collect();
    let low_and_high: Vec<&str> = range_and_step[0].split('-').collect();
    let single = low_and_high.len() == 1;
    let starred = ["*", "?"].contains(&low_and_high[0]);
    let (start, mut end) = match low_and_high[..] {
        [_] if starred => (bounds.min, bounds.max),
        [only] => number(only, bounds).map(|n| (n, n))?,
        [low, high] => (number(low, bounds)?, number(high, bounds)?),
        _ => return Err(Error::Hyphens(text.to_owned())),
    };
    let step = match range_and_step[..] {
        [_] => 1,
        [_, step] => {
            // `n/step` means from n to the end.
            if single {
                end = bounds.max;
            }
            step.parse::<u32>().map_err(|_| Error::Number(step.to_owned()))?
        }
        _ => return Err(Error::Slashes(text.to_owned())),
    };
    let text = text.to_owned();
    if start < bounds.min {
        return Err(Error::Below { start, min: bounds.min, text });
    }
    if end > bounds.max {
        return Err(Error::Above { end, max: bounds.max, text });
    }
    if start > end {
        return Err(Error::Reversed { start, end, text });
    }
    if step == 0 {
        return Err(Error::Step(text));
    }
    Ok((start..=end).step_by(step as usize).fold(0, |all, n| all | 1 << n))
}

fn number(text: &str, bounds: &Bounds) -> Result<u32, Error> {
    let named = bounds.names.iter().position(|name| name.eq_ignore_ascii_case(text));
    if let Some(at) = named {
        return Ok(at as u32 + bounds.min);
    }
    text.parse().map_err(|_| Error::Number(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    fn said(text: &str) -> String {
        Schedule::parse(text).map_or_else(|e| e.to_string(), |s| format!("{s:?}"))
    }

    #[test]
    fn schedules_parse_or_say_why_not() {
        assert_eq!(
            said("*/30 1-2 1 jan sun"),
            "Fields { minute: 1073741825, hour: 6, day: 2, month: 2, weekday: 1, either_day: true }"
        );
        assert_eq!(said("@every 1h30m"), "Every(5400)");
        assert_eq!(said("soon"), "expected exactly 5 fields, found 1: [soon]");
        assert_eq!(said("60 * * * *"), "end of range (60) above maximum (59): 60");
        assert_eq!(said("* * 0 * *"), "beginning of range (0) below minimum (1): 0");
        assert_eq!(said("*/0 * * * *"), "step of range should be a positive number: */0");
        assert_eq!(
            said("x * * * *"),
            "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"
        );
        assert_eq!(said("@fortnightly"), "unrecognized descriptor: @fortnightly");
    }
}
