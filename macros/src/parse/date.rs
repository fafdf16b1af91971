//! Days of the calendar as they are written in an attribute.
//!
//! The runtime has the same calendar in `policies/deprecation/date.rs`; its `agreement.rs` reads this file and compares.

use std::fmt;

/// A day that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date {
    /// From 1970 to 9999.
    pub(crate) year: u16,
    /// From 1.
    pub(crate) month: u8,
    /// From 1.
    pub(crate) day: u8,
}

impl Date {
    /// Reads `"2026-06-30"`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let [year, month, day] = numbers(text).ok_or_else(|| {
            format!("\"{text}\" is no date: write year, month and day, such as \"2026-06-30\"")
        })?;
        if year < 1970 {
            return Err(format!(
                "\"{text}\" is too early: write a day of 1970 or later"
            ));
        }
        let (Ok(month), Ok(day)) = (u8::try_from(month), u8::try_from(day)) else {
            unreachable!("they have two digits")
        };
        let Some(name) = month
            .checked_sub(1)
            .and_then(|index| MONTHS.get(usize::from(index)))
        else {
            return Err(format!(
                "\"{text}\" is no day of the calendar: a year has 12 months"
            ));
        };
        let days = days_of(year, month);
        if day == 0 || day > days {
            return Err(format!(
                "\"{text}\" is no day of the calendar: {name} {year} has {days} days"
            ));
        }
        Ok(Self { year, month, day })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn numbers(text: &str) -> Option<[u16; 3]> {
    let mut parts = text.split('-');
    let [year, month, day] = [4, 2, 2].map(|length| {
        let part = parts.next().filter(|part| part.len() == length)?;
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            part.parse().ok()
        } else {
            None
        }
    });
    if parts.next().is_none() {
        Some([year?, month?, day?])
    } else {
        None
    }
}

fn days_of(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e02_days_of_the_calendar_are_taken() {
        for text in [
            "1970-01-01",
            "2026-06-30",
            "2028-02-29",
            "2000-02-29",
            "9999-12-31",
        ] {
            assert_eq!(Date::parse(text).expect(text).to_string(), text);
        }
        assert!(Date::parse("2026-09-30") < Date::parse("2026-10-01"));
    }

    #[test]
    fn e02_everything_else_is_refused() {
        for (text, message) in [
            ("", "is no date"),
            ("30.06.2026", "is no date"),
            ("2026-6-30", "is no date"),
            ("2026-06", "is no date"),
            ("2026-06-30-01", "is no date"),
            ("2026-06-30T00:00:00Z", "is no date"),
            ("+026-06-30", "is no date"),
            ("2026-06-3a", "is no date"),
            ("1969-12-31", "is too early"),
            ("2026-00-10", "a year has 12 months"),
            ("2026-13-01", "a year has 12 months"),
            ("2026-06-00", "June 2026 has 30 days"),
            ("2026-06-31", "June 2026 has 30 days"),
            ("2026-02-29", "February 2026 has 28 days"),
            ("2100-02-29", "February 2100 has 28 days"),
        ] {
            let refused = Date::parse(text).expect_err(text);
            assert!(refused.contains(message), "{refused}");
        }
    }
}
