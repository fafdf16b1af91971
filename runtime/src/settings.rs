//! Settings from environment variables.
//!
//! Settings are read only when the service starts, and all errors about settings are reported
//! together.

use core::time::Duration;
use std::env::{self, VarError};

use crate::start::StartError;

/// Reads an environment variable; `None` if it is empty or not set.
pub(crate) fn variable(name: &str) -> Result<Option<String>, StartError> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(value)) => Err(StartError::variable(
            name,
            &value.to_string_lossy(),
            "expected text in UTF-8",
        )),
    }
}

/// Reads `on` or `off`.
pub(crate) fn on_or_off(name: &str, default: bool) -> Result<bool, StartError> {
    match variable(name)?.as_deref() {
        None => Ok(default),
        Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(value) => Err(StartError::variable(name, value, "accepted: on, off")),
    }
}

/// Reads a whole number from 1 to 4,294,967,295.
pub(crate) fn number(name: &str, default: u32) -> Result<u32, StartError> {
    let Some(value) = variable(name)? else {
        return Ok(default);
    };
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| StartError::variable(name, &value, "expected a whole number from 1"))
}

/// Reads a whole number from 0 to 4,294,967,295.
#[cfg(feature = "postgres")]
pub(crate) fn number_from_zero(name: &str, default: u32) -> Result<u32, StartError> {
    let Some(value) = variable(name)? else {
        return Ok(default);
    };
    let number = value.parse().ok();
    number.ok_or_else(|| StartError::variable(name, &value, "expected a whole number from 0"))
}

/// Reads a duration such as `300ms`, `30s`, `15min` or `24h`, of at least `min` and at most seven
/// days.
pub(crate) fn duration(
    name: &str,
    default: Duration,
    min: Duration,
) -> Result<Duration, StartError> {
    let Some(value) = variable(name)? else {
        return Ok(default);
    };
    let invalid = |expected: &str| StartError::variable(name, &value, expected);
    match parse_duration(&value) {
        None => Err(invalid(
            "expected a whole number and a unit: ms, s, min, h or d; such as 30s",
        )),
        Some(duration) if duration < min => Err(invalid(&format!("expected at least {min:?}"))),
        Some(duration) if duration > MAX => Err(invalid("expected at most 7d")),
        Some(duration) => Ok(duration),
    }
}

/// Reads a size such as `64KB` or `128MiB`.
pub(crate) fn size(name: &str, default: u64) -> Result<u64, StartError> {
    let Some(value) = variable(name)? else {
        return Ok(default);
    };
    parse_size(&value).ok_or_else(|| {
        let expected = "expected a whole number and a unit: B, KB, MB, KiB or MiB; such as 128MiB";
        StartError::variable(name, &value, expected)
    })
}

/// Parses a size such as `128MiB` into bytes. The grammar is the same as in attributes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let unit = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().ok()?;
    let bytes = match unit {
        "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.checked_mul(bytes)
}

/// The longest accepted duration.
const MAX: Duration = Duration::from_hours(7 * 24);

/// Parses a duration such as `30s`. The grammar is the same as in attributes, but zero is also
/// accepted.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_whole_number_and_a_unit() {
        assert_eq!(parse_duration("300ms"), Some(Duration::from_millis(300)));
        assert_eq!(parse_duration("15min"), Some(Duration::from_mins(15)));
        for wrong in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "30 s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_size_needs_a_whole_number_and_a_unit() {
        assert_eq!(parse_size("0B"), Some(0));
        assert_eq!(parse_size("64KB"), Some(64_000));
        assert_eq!(parse_size("128MiB"), Some(128 << 20));
        for wrong in [
            "",
            "128",
            "MiB",
            "-1B",
            "1.5MB",
            "1 MB",
            "1mb",
            "1GiB",
            "99999999999999999999B",
            "18446744073709551615KB",
        ] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }
}
