use core::fmt;

use crate::clock::Timestamp;

/// A calendar day in UTC, from 1970 to 9999.
///
/// ```
/// use aplomb::policies::deprecation::Date;
///
/// let day = Date::new(2028, 2, 29).expect("2028 is a leap year");
/// assert_eq!(day.to_string(), "2028-02-29");
/// assert_eq!(day.ends().as_secs() - day.starts().as_secs(), 86_399);
/// assert_eq!(Date::new(2026, 2, 29), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// Creates the day with these numbers. Returns `None` if the calendar has no such day, or if
    /// the year is not from 1970 to 9999.
    pub const fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let is_valid = year >= 1970 && year <= 9999 && month >= 1 && month <= 12;
        if is_valid && day >= 1 && day <= days_in_month(year, month) {
            Some(Self { year, month, day })
        } else {
            None
        }
    }

    /// Returns the year.
    pub const fn year(self) -> u16 {
        self.year
    }

    /// Returns the month, starting with 1.
    pub const fn month(self) -> u8 {
        self.month
    }

    /// Returns the day of the month, starting with 1.
    pub const fn day(self) -> u8 {
        self.day
    }

    /// Returns the first second of the day, 00:00:00Z.
    pub const fn starts(self) -> Timestamp {
        Timestamp::from_micros(self.days_since_1970() * SECONDS_PER_DAY * 1_000_000)
    }

    /// Returns the last second of the day, 23:59:59Z.
    pub const fn ends(self) -> Timestamp {
        Timestamp::from_micros(
            (self.days_since_1970() * SECONDS_PER_DAY + SECONDS_PER_DAY - 1) * 1_000_000,
        )
    }

    /// Returns `true` if this day is before the other day.
    pub const fn is_before(self, other: Self) -> bool {
        self.days_since_1970() < other.days_since_1970()
    }

    /// Returns the days since 1 January 1970.
    const fn days_since_1970(self) -> u64 {
        let full_years = self.year as u64 - 1;
        let mut days = full_years * 365 + full_years / 4 - full_years / 100 + full_years / 400
            - DAYS_BEFORE_1970;
        let mut month = 1;
        while month < self.month {
            days += days_in_month(self.year, month) as u64;
            month += 1;
        }
        days + self.day as u64 - 1
    }
}

/// Creates a day from numbers that the macro has already checked.
#[doc(hidden)]
pub const fn date(year: u16, month: u8, day: u8) -> Date {
    Date::new(year, month, day).expect("the macro accepts only days of the calendar")
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// The seconds of a day. Unix time has no leap seconds.
const SECONDS_PER_DAY: u64 = 86_400;

/// The number of days from 1 January of the year 1 to 1 January 1970.
const DAYS_BEFORE_1970: u64 = 719_162;

const fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::time::UNIX_EPOCH;

    use httpdate::fmt_http_date;

    use super::*;

    #[test]
    fn e02_a_date_can_be_created_only_for_a_day_of_the_calendar() {
        for (year, month, day) in [
            (1969, 12, 31),
            (10_000, 1, 1),
            (2026, 0, 1),
            (2026, 13, 1),
            (2026, 6, 0),
            (2026, 6, 31),
            (2026, 2, 29),
            (2100, 2, 29),
        ] {
            assert_eq!(Date::new(year, month, day), None, "{year}-{month}-{day}");
        }
        assert!(Date::new(2000, 2, 29).is_some() && Date::new(2028, 2, 29).is_some());
    }

    #[test]
    fn e02_days_are_consecutive_from_1970_to_9999() {
        let mut next = 0;
        for year in 1970..=9999 {
            for (month, day) in (1..=12).flat_map(|month| (1..=31).map(move |day| (month, day))) {
                let Some(date) = Date::new(year, month, day) else {
                    continue;
                };
                assert_eq!(date.starts().as_secs(), next, "{date}");
                next += SECONDS_PER_DAY;
            }
        }
        assert_eq!(next, 253_402_300_800, "the start of the year 10000");
    }

    proptest::proptest! {
        #[test]
        fn e02_days_agree_with_http_dates(days in 0_u64..2_932_896) {
            let text = fmt_http_date(UNIX_EPOCH + Duration::from_secs(days * SECONDS_PER_DAY));
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month = months.iter().position(|name| *name == &text[8..11]).expect("a month") + 1;
            let read = |part: &str| part.parse::<u16>().expect("a number");
            let day = u8::try_from(read(&text[5..7])).expect("a day");
            let date = Date::new(read(&text[12..16]), u8::try_from(month).expect("a month"), day);
            proptest::prop_assert_eq!(date.expect("a day").starts().as_secs(), days * SECONDS_PER_DAY);
        }
    }
}
