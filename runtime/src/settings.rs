//! Settings from the environment: read late, judged together.

use core::time::Duration;
use std::env::{self, VarError};

use crate::start::StartError;

/// The value of an environment variable; empty counts as absent.
pub(crate) fn variable(name: &str) -> Result<Option<String>, StartError> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(value)) => Err(StartError::variable(
            name,
            &value.to_string_lossy(),
            "expected a text in UTF-8",
        )),
    }
}

/// A duration such as `300ms`, `30s`, `15min`, `24h`, of at least `least`.
pub(crate) fn duration(
    name: &str,
    default: Duration,
    least: Duration,
) -> Result<Duration, StartError> {
    let Some(value) = variable(name)? else {
        return Ok(default);
    };
    let refused = |why: &str| StartError::variable(name, &value, why);
    match parse_duration(&value) {
        None => Err(refused(
            "expected a whole number and a unit: ms, s, min, h or d; such as 30s",
        )),
        Some(duration) if duration < least => Err(refused(&format!("expected at least {least:?}"))),
        Some(duration) if duration > LONGEST => Err(refused("expected at most 7d")),
        Some(duration) => Ok(duration),
    }
}

const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Reads `30s` in the grammar of the attribute's literal; unlike there it can be no time at all.
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
    fn durations_have_a_unit() {
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
}
