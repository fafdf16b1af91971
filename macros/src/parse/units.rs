//! Durations, sizes and rates as they are written in an attribute.
//!
//! The runtime reads settings in the same grammar; its `agreement.rs` reads this file and compares.

use std::time::Duration;

/// A rate: so many in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// How many.
    pub(crate) permits: u64,
    /// In which time.
    pub(crate) period: Duration,
}

/// Rates up to this many a second are rounded; faster ones must come out even.
const EXACT_ABOVE_PER_SECOND: u128 = 10_000;

/// Reads `"5s"`: milliseconds, seconds, minutes, hours or days.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const ACCEPTED: &str = "a number and ms, s, min, h or d, such as \"500ms\", \"5s\" or \"24h\"";
    if overflows(text) {
        return Err(format!("\"{text}\" is too long: write {ACCEPTED}"));
    }
    let (number, unit) =
        split(text).ok_or_else(|| format!("\"{text}\" is no duration: write {ACCEPTED}"))?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" | "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ if unit.starts_with('.') => return Err(fraction(text, ACCEPTED)),
        _ => return Err(format!("`{unit}` is no unit of time: write {ACCEPTED}")),
    };
    let total = number
        .checked_mul(milliseconds)
        .ok_or_else(|| format!("\"{text}\" is too long: write {ACCEPTED}"))?;
    if total == 0 {
        return Err(format!("\"{text}\" is no time at all: write {ACCEPTED}"));
    }
    Ok(Duration::from_millis(total))
}

/// What a size may be, for messages.
pub(crate) const SIZES: &str = "a number and B, KB, MB, KiB or MiB, such as \"64KB\" or \"1MiB\"";

/// Reads `"1MB"`: bytes; KB and MB are powers of 1000, KiB and MiB of 1024. What none at all means is
/// for the policy to say.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    if overflows(text) {
        return Err(format!("\"{text}\" is too large: write {SIZES}"));
    }
    let (number, unit) =
        split(text).ok_or_else(|| format!("\"{text}\" is no size: write {SIZES}"))?;
    let bytes = match unit {
        "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "KiB" => 1_024,
        "MiB" => 1_048_576,
        _ if unit.starts_with('.') => return Err(fraction(text, SIZES)),
        _ => return Err(format!("`{unit}` is no unit of size: write {SIZES}")),
    };
    number
        .checked_mul(bytes)
        .ok_or_else(|| format!("\"{text}\" is too large: write {SIZES}"))
}

/// Reads `"100/min"`.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    const ACCEPTED: &str = "a number, a slash and s, min, h or day, such as \"100/min\"";
    let wrong = || format!("\"{text}\" is no rate: write {ACCEPTED}");
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let permits = digits(number).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" | "sec" => 1,
        "min" => 60,
        "h" | "hour" => 3_600,
        "day" => 86_400,
        _ => return Err(format!("`{unit}` is no period of a rate: write {ACCEPTED}")),
    };
    if permits == 0 {
        return Err(format!(
            "\"{text}\" lets no request through: write {ACCEPTED}"
        ));
    }
    check_divides(permits, seconds, unit)?;
    Ok(Rate {
        permits,
        period: Duration::from_secs(seconds),
    })
}

/// Fast rates must divide their period into whole microseconds, or rounding would change them.
fn check_divides(permits: u64, seconds: u64, unit: &str) -> Result<(), String> {
    let microseconds = u128::from(seconds) * 1_000_000;
    let permits = u128::from(permits);
    let fast = permits > EXACT_ABOVE_PER_SECOND * u128::from(seconds);
    if !fast || microseconds.is_multiple_of(permits) {
        return Ok(());
    }
    let slower = (microseconds.div_ceil(permits)..=microseconds)
        .find(|interval| microseconds.is_multiple_of(*interval));
    let near = microseconds / slower.unwrap_or(microseconds);
    Err(format!(
        "{permits}/{unit} does not come out even: over {EXACT_ABOVE_PER_SECOND}/s the time between two requests \
         must be whole microseconds; write \"{near}/{unit}\""
    ))
}

fn fraction(text: &str, accepted: &str) -> String {
    format!("\"{text}\" has a fraction, and only whole numbers are read: write {accepted}")
}

/// Whether it begins with a number that no machine holds.
fn overflows(text: &str) -> bool {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    end > 0 && digits(&text[..end]).is_none()
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((digits(number)?, unit)).filter(|(_, unit)| !unit.is_empty())
}

fn digits(text: &str) -> Option<u64> {
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
    fn durations() {
        for (text, milliseconds) in [
            ("1ms", 1),
            ("5s", 5_000),
            ("2min", 120_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)));
        }
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "1.5s",
            "-1s",
            "5sec",
            "0s",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", 0),
            ("1B", 1),
            ("64KB", 64_000),
            ("1MB", 1_000_000),
            ("1KiB", 1_024),
            ("1MiB", 1_048_576),
        ] {
            assert_eq!(size(text), Ok(bytes));
        }
        for text in [
            "",
            "1",
            "MB",
            "1mb",
            "1GB ",
            "1.5MB",
            "18446744073709551615KB",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates() {
        for (text, permits, seconds) in [
            ("1/s", 1, 1),
            ("1/sec", 1, 1),
            ("100/min", 100, 60),
            ("5/h", 5, 3600),
            ("5/hour", 5, 3600),
            ("9/day", 9, 86400),
        ] {
            assert_eq!(
                rate(text),
                Ok(Rate {
                    permits,
                    period: Duration::from_secs(seconds)
                })
            );
        }
        for text in [
            "",
            "100",
            "100/",
            "/min",
            "100 / min",
            "1.5/s",
            "0/s",
            "100/week",
            "-1/s",
            "100/min/s",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn b03_fast_rates_must_come_out_even() {
        assert!(rate("9999/s").is_ok());
        assert!(rate("10000/s").is_ok());
        assert!(rate("20000/s").is_ok());
        assert!(rate("1000000/s").is_ok());
        assert!(rate("600000/min").is_ok());
        for (text, near) in [("30000/s", "\"25000/s\""), ("2000000/s", "\"1000000/s\"")] {
            let error = rate(text).expect_err(text);
            assert!(
                error.contains("does not come out even") && error.contains(near),
                "{error}"
            );
        }
    }
}
