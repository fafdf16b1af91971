use core::fmt;

use crate::clock::Timestamp;

/// A day of the calendar in UTC, from 1970 to 9999.
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
    /// The day, if there is such a one.
    pub const fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let known = year >= 1970 && year <= 9999 && month >= 1 && month <= 12;
        if known && day >= 1 && day <= days_of(year, month) {
            Some(Self { year, month, day })
        } else {
            None
        }
    }

    /// The year.
    pub const fn year(self) -> u16 {
        self.year
    }

    /// The month, from 1.
    pub const fn month(self) -> u8 {
        self.month
    }

    /// The day of the month, from 1.
    pub const fn day(self) -> u8 {
        self.day
    }

    /// The day's first second, 00:00:00Z.
    pub const fn starts(self) -> Timestamp {
        Timestamp::from_micros(self.number() * DAY * 1_000_000)
    }

    /// The day's last second, 23:59:59Z.
    pub const fn ends(self) -> Timestamp {
        Timestamp::from_micros((self.number() * DAY + DAY - 1) * 1_000_000)
    }

    /// Whether this day comes before the other.
    pub const fn is_before(self, other: Self) -> bool {
        self.number() < other.number()
    }

    /// Days since the first of January 1970.
    const fn number(self) -> u64 {
        let before = self.year as u64 - 1;
        let mut days = before * 365 + before / 4 - before / 100 + before / 400 - DAYS_BEFORE_1970;
        let mut month = 1;
        while month < self.month {
            days += days_of(self.year, month) as u64;
            month += 1;
        }
        days + self.day as u64 - 1
    }
}

/// A day that the macro has found in the calendar.
#[doc(hidden)]
pub const fn date(year: u16, month: u8, day: u8) -> Date {
    Date::new(year, month, day).expect("the macro refuses what is no day of the calendar")
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// The seconds of a day; leap seconds have none of their own in Unix time.
const DAY: u64 = 86_400;

/// From the first of January of the year 1.
const DAYS_BEFORE_1970: u64 = 719_162;

const fn days_of(year: u16, month: u8) -> u8 {
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
    fn e02_only_days_of_the_calendar_are_dates() {
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
    fn e02_days_follow_one_another_from_1970_to_9999() {
        let mut next = 0;
        for year in 1970..=9999 {
            for (month, day) in (1..=12).flat_map(|month| (1..=31).map(move |day| (month, day))) {
                let Some(date) = Date::new(year, month, day) else {
                    continue;
                };
                assert_eq!(date.starts().as_secs(), next, "{date}");
                next += DAY;
            }
        }
        assert_eq!(next, 253_402_300_800, "the year 10000 begins here");
    }

    proptest::proptest! {
        #[test]
        fn e02_a_day_is_written_as_others_write_it(number in 0_u64..2_932_896) {
            let text = fmt_http_date(UNIX_EPOCH + Duration::from_secs(number * DAY));
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month = months.iter().position(|name| *name == &text[8..11]).expect("a month") + 1;
            let read = |part: &str| part.parse::<u16>().expect("a number");
            let day = u8::try_from(read(&text[5..7])).expect("a day");
            let date = Date::new(read(&text[12..16]), u8::try_from(month).expect("a month"), day);
            proptest::prop_assert_eq!(date.expect("a day").starts().as_secs(), number * DAY);
        }
    }
}
