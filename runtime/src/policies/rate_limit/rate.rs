use core::time::Duration;

/// A rate as an operator writes it, in the grammar of the attribute's literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// How many.
    pub(crate) permits: u64,
    /// In which time.
    pub(crate) period: Duration,
}

/// Rates up to this many a second are rounded; faster ones must come out even.
const EXACT_ABOVE_PER_SECOND: u128 = 10_000;

const ACCEPTED: &str = "expected a number, a slash and s, min, h or day, such as 100/min";

impl Rate {
    /// Reads `100/min`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no rate; {ACCEPTED}");
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let permits = digits(number).ok_or_else(wrong)?;
        let seconds =
            seconds(unit).ok_or_else(|| format!("`{unit}` is no period of a rate; {ACCEPTED}"))?;
        if permits == 0 {
            return Err(format!("`{text}` lets no request through; {ACCEPTED}"));
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

/// Fast rates must divide their period into whole microseconds, or rounding would change them.
fn check_divides(permits: u64, seconds: u64, unit: &str) -> Result<(), String> {
    let microseconds = u128::from(seconds) * 1_000_000;
    let permits = u128::from(permits);
    if permits <= EXACT_ABOVE_PER_SECOND * u128::from(seconds)
        || microseconds.is_multiple_of(permits)
    {
        return Ok(());
    }
    let slower = (microseconds.div_ceil(permits)..=microseconds)
        .find(|interval| microseconds.is_multiple_of(*interval));
    let near = microseconds / slower.unwrap_or(microseconds);
    Err(format!(
        "`{permits}/{unit}` does not come out even; over {EXACT_ABOVE_PER_SECOND}/s the time between two requests \
         must be whole microseconds, such as {near}/{unit}"
    ))
}

/// A number of digits alone.
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
    fn rates_are_read_as_in_the_attribute() {
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
    fn every_wrong_rate_says_what_is_accepted() {
        for (text, why) in [
            ("", "`` is no rate"),
            ("100", "`100` is no rate"),
            ("/min", "`/min` is no rate"),
            ("1.5/s", "`1.5/s` is no rate"),
            ("-1/s", "`-1/s` is no rate"),
            ("+1/s", "`+1/s` is no rate"),
            ("99999999999999999999/s", "is no rate"),
            ("100 / min", "is no rate"),
            ("100/", "`` is no period of a rate"),
            ("100/week", "`week` is no period of a rate"),
            ("100/min/s", "`min/s` is no period of a rate"),
            ("0/s", "`0/s` lets no request through"),
        ] {
            let error = Rate::parse(text).expect_err(text);
            assert!(
                error.contains(why) && error.ends_with("such as 100/min"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn b03_fast_rates_must_come_out_even() {
        for text in ["9999/s", "10000/s", "20000/s", "1000000/s", "600000/min"] {
            assert!(Rate::parse(text).is_ok(), "{text}");
        }
        for (text, near) in [
            ("30000/s", "such as 25000/s"),
            ("2000000/s", "such as 1000000/s"),
        ] {
            let error = Rate::parse(text).expect_err(text);
            assert!(
                error.contains("does not come out even") && error.ends_with(near),
                "{error}"
            );
        }
    }
}
