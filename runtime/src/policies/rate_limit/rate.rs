use core::time::Duration;

/// A rate that operators set, such as `100/min`. It has the same syntax as a rate in the attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// The number of requests per period.
    pub(crate) permits: u64,
    /// The period.
    pub(crate) period: Duration,
}

/// The rate per second above which the time of one token must be a whole number of microseconds. At
/// lower rates, this time is rounded up to a whole number. It is then at least 100 µs, so rounding
/// changes the rate by less than one percent.
const EXACT_ABOVE_PER_SECOND: u128 = 10_000;

const ACCEPTED: &str = "expected a number, a slash and s, min, h or day, such as 100/min";

impl Rate {
    /// Parses a rate such as `100/min`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rate: {ACCEPTED}");
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let permits = digits(number).ok_or_else(wrong)?;
        let seconds = seconds(unit)
            .ok_or_else(|| format!("`{unit}` is not a period of a rate: {ACCEPTED}"))?;
        if permits == 0 {
            return Err(format!("`{text}` admits no request: {ACCEPTED}"));
        }
        check_divides(permits, seconds, unit)?;
        Ok(Self {
            permits,
            period: Duration::from_secs(seconds),
        })
    }
}

fn seconds(unit: &str) -> Option<u64> {
    match unit {
        "s" | "sec" => Some(1),
        "min" => Some(60),
        "h" | "hour" => Some(3_600),
        "day" => Some(86_400),
        _ => None,
    }
}

/// Refuses fast rates that do not divide their period into whole microseconds. Rounding would
/// change such rates noticeably.
fn check_divides(permits: u64, seconds: u64, unit: &str) -> Result<(), String> {
    let microseconds = u128::from(seconds) * 1_000_000;
    let permits = u128::from(permits);
    if permits <= EXACT_ABOVE_PER_SECOND * u128::from(seconds)
        || microseconds.is_multiple_of(permits)
    {
        return Ok(());
    }
    let interval = (microseconds.div_ceil(permits)..=microseconds)
        .find(|interval| microseconds.is_multiple_of(*interval));
    let nearest = microseconds / interval.unwrap_or(microseconds);
    Err(format!(
        "`{permits}/{unit}` is not exact: above {EXACT_ABOVE_PER_SECOND}/s the time between two requests must be \
         a whole number of microseconds, such as in {nearest}/{unit}"
    ))
}

/// Parses a number that consists of digits only: no sign, no white space.
pub(crate) fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_the_syntax_of_the_attribute() {
        for (text, permits, seconds) in [
            ("1/s", 1, 1),
            ("1/sec", 1, 1),
            ("100/min", 100, 60),
            ("5/h", 5, 3_600),
            ("5/hour", 5, 3_600),
            ("9/day", 9, 86_400),
        ] {
            assert_eq!(
                Rate::parse(text),
                Ok(Rate {
                    permits,
                    period: Duration::from_secs(seconds)
                })
            );
        }
    }

    #[test]
    fn the_error_of_a_wrong_rate_lists_what_is_accepted() {
        for (text, why) in [
            ("", "`` is not a rate"),
            ("100", "`100` is not a rate"),
            ("/min", "`/min` is not a rate"),
            ("1.5/s", "`1.5/s` is not a rate"),
            ("-1/s", "`-1/s` is not a rate"),
            ("+1/s", "`+1/s` is not a rate"),
            ("99999999999999999999/s", "is not a rate"),
            ("100 / min", "is not a rate"),
            ("100/", "`` is not a period of a rate"),
            ("100/week", "`week` is not a period of a rate"),
            ("100/min/s", "`min/s` is not a period of a rate"),
            ("0/s", "`0/s` admits no request"),
        ] {
            let error = Rate::parse(text).expect_err(text);
            assert!(
                error.contains(why) && error.ends_with("such as 100/min"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn b03_a_fast_rate_that_is_not_exact_is_refused() {
        for text in ["9999/s", "10000/s", "20000/s", "1000000/s", "600000/min"] {
            assert!(Rate::parse(text).is_ok(), "{text}");
        }
        for (text, nearest) in [
            ("30000/s", "such as in 25000/s"),
            ("2000000/s", "such as in 1000000/s"),
        ] {
            let error = Rate::parse(text).expect_err(text);
            assert!(
                error.contains("is not exact") && error.ends_with(nearest),
                "{error}"
            );
        }
    }
}
