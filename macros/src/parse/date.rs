//! Dates in attributes.
//!
//! The runtime has the same calendar in `policies/deprecation/date.rs`. The runtime's
//! `agreement.rs` includes this file and compares the two calendars.

use std::fmt;

/// A valid date of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date {
    /// The year, from 1970 to 9999.
    pub(crate) year: u16,
    /// The month, from 1 to 12.
    pub(crate) month: u8,
    /// The day of the month, from 1.
    pub(crate) day: u8,
}

impl Date {
    /// Parses `"2026-06-30"`, or returns an error message.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let [year, month, day] = numbers(text).ok_or_else(|| {
            format!("\"{text}\" is not a date: write year, month and day, such as \"2026-06-30\"")
        })?;
        if year < 1970 {
            return Err(format!(
                "\"{text}\" is too early: write a date of 1970 or later"
            ));
        }
        let (Ok(month), Ok(day)) = (u8::try_from(month), u8::try_from(day)) else {
            unreachable!("month and day have two digits")
        };
        let Some(name) = month
            .checked_sub(1)
            .and_then(|index| MONTHS.get(usize::from(index)))
        else {
            return Err(format!("\"{text}\" is not a date: a year has 12 months"));
        };
        let days = days_of_month(year, month);
        if day == 0 || day > days {
            return Err(format!(
                "\"{text}\" is not a date: {name} {year} has {days} days"
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

/// Returns year, month and day of a text with four, two and two digits. A sign is not a digit.
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

/// Returns the number of days of a month.
fn days_of_month(year: u16, month: u8) -> u8 {
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
    fn e02_dates_of_the_calendar_are_accepted() {
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
    fn e02_other_dates_are_rejected() {
        for (text, message) in [
            ("", "is not a date: write"),
            ("30.06.2026", "is not a date: write"),
            ("2026-6-30", "is not a date: write"),
            ("2026-06", "is not a date: write"),
            ("2026-06-30-01", "is not a date: write"),
            ("2026-06-30T00:00:00Z", "is not a date: write"),
            ("+026-06-30", "is not a date: write"),
            ("2026-06-3a", "is not a date: write"),
            ("1969-12-31", "is too early"),
            ("2026-00-10", "a year has 12 months"),
            ("2026-13-01", "a year has 12 months"),
            ("2026-06-00", "June 2026 has 30 days"),
            ("2026-06-31", "June 2026 has 30 days"),
            ("2026-02-29", "February 2026 has 28 days"),
            ("2100-02-29", "February 2100 has 28 days"),
        ] {
            let error = Date::parse(text).expect_err(text);
            assert!(error.contains(message), "{error}");
        }
    }
}
