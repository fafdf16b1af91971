//! Durations, sizes and rates in attributes.
//!
//! The runtime parses settings in the same grammar. The tests and fuzz targets of the runtime
//! include this file and compare the two parsers.

use std::time::Duration;

/// A rate: a number of permits in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// The number of permits.
    pub(crate) permits: u64,
    /// The period.
    pub(crate) period: Duration,
}

/// The highest rate per second whose interval between permits is rounded to whole microseconds.
///
/// Up to this rate the interval is at least 100 µs, so rounding changes it by less than 1 %. Higher
/// rates must divide their period exactly.
const EXACT_ABOVE_PER_SECOND: u128 = 10_000;

/// Parses `"5s"`: milliseconds, seconds, minutes, hours or days. Zero is an error. An error is
/// returned as its message.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str =
        "a whole number and ms, s, min, h or d, such as \"500ms\", \"5s\" or \"24h\"";
    if overflows(text) {
        return Err(format!("\"{text}\" is too long: write {EXPECTED}"));
    }
    let (number, unit) =
        split(text).ok_or_else(|| format!("\"{text}\" is not a duration: write {EXPECTED}"))?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" | "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ if unit.starts_with('.') => return Err(fraction(text, EXPECTED)),
        _ => return Err(format!("unknown unit `{unit}`: write {EXPECTED}")),
    };
    let total = number
        .checked_mul(milliseconds)
        .ok_or_else(|| format!("\"{text}\" is too long: write {EXPECTED}"))?;
    if total == 0 {
        return Err(format!("\"{text}\" is too short: write {EXPECTED}"));
    }
    Ok(Duration::from_millis(total))
}

/// Parses `"1MB"` into bytes: KB and MB are powers of 1000, and KiB and MiB are powers of 1024.
/// Zero is valid here, and each policy decides whether it accepts zero. An error is returned as its
/// message.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "a whole number and B, KB, MB, KiB or MiB, such as \"64KB\" or \"1MiB\"";
    if overflows(text) {
        return Err(format!("\"{text}\" is too large: write {EXPECTED}"));
    }
    let (number, unit) =
        split(text).ok_or_else(|| format!("\"{text}\" is not a size: write {EXPECTED}"))?;
    let bytes = match unit {
        "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "KiB" => 1_024,
        "MiB" => 1_048_576,
        _ if unit.starts_with('.') => return Err(fraction(text, EXPECTED)),
        _ => return Err(format!("unknown unit `{unit}`: write {EXPECTED}")),
    };
    number
        .checked_mul(bytes)
        .ok_or_else(|| format!("\"{text}\" is too large: write {EXPECTED}"))
}

/// Parses `"100/min"`. An error is returned as its message.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    const EXPECTED: &str = "a whole number, a slash and s, min, h or day, such as \"100/min\"";
    let wrong = || format!("\"{text}\" is not a rate: write {EXPECTED}");
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let permits = digits(number).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" | "sec" => 1,
        "min" => 60,
        "h" | "hour" => 3_600,
        "day" => 86_400,
        _ => return Err(format!("unknown period `{unit}`: write {EXPECTED}")),
    };
    if permits == 0 {
        return Err(format!(
            "\"{text}\" admits no request: write at least \"1/{unit}\""
        ));
    }
    check_divides(permits, seconds, unit)?;
    Ok(Rate {
        permits,
        period: Duration::from_secs(seconds),
    })
}

/// Returns an error for a high rate that does not divide its period into whole microseconds.
/// Rounding the interval would change the rate noticeably.
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
        "above {EXACT_ABOVE_PER_SECOND}/s a rate must divide its period into whole microseconds, which \
         {permits}/{unit} does not: write \"{near}/{unit}\""
    ))
}

fn fraction(text: &str, expected: &str) -> String {
    format!("\"{text}\" is not a whole number: write {expected}")
}

/// Returns true if the text begins with a number that does not fit into 64 bits.
fn overflows(text: &str) -> bool {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    end > 0 && digits(&text[..end]).is_none()
}

/// Splits `5s` into number and unit. Returns `None` if the unit is missing, or if the number does
/// not fit into 64 bits.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((digits(number)?, unit)).filter(|(_, unit)| !unit.is_empty())
}

/// Parses a number that consists only of ASCII digits. (`str::parse` also accepts a sign.)
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
    fn valid_durations_are_parsed_and_other_texts_are_errors() {
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
    fn valid_sizes_are_parsed_and_other_texts_are_errors() {
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
    fn valid_rates_are_parsed_and_other_texts_are_errors() {
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
    fn b03_high_rates_must_divide_their_period() {
        assert!(rate("9999/s").is_ok());
        assert!(rate("10000/s").is_ok());
        assert!(rate("20000/s").is_ok());
        assert!(rate("1000000/s").is_ok());
        assert!(rate("600000/min").is_ok());
        for (text, near) in [("30000/s", "\"25000/s\""), ("2000000/s", "\"1000000/s\"")] {
            let error = rate(text).expect_err(text);
            assert!(
                error.contains("into whole microseconds") && error.contains(near),
                "{error}"
            );
        }
    }
}
