//! What stands in both crates is the same.
//!
//! The macros refuse when compiling what the runtime would refuse, so grammars and bounds stand in both, and a crate of
//! macros exports no functions. These tests read the macros' own files.

/// Days of the calendar in an attribute.
#[path = "../../macros/src/parse/date.rs"]
mod date;

use crate::policies::retirement::Date;

#[test]
fn e02_both_crates_have_one_calendar() {
    for year in (0..=2_500).chain(9_900..=9_999) {
        for (month, day) in (0..=13).flat_map(|month| (0..=32).map(move |day| (month, day))) {
            let text = format!("{year:04}-{month:02}-{day:02}");
            let attribute = date::Date::parse(&text).ok();
            let attribute = attribute.map(|date| (date.year, date.month, date.day, date.to_string()));
            let runtime = Date::new(year, month, day);
            let runtime = runtime.map(|date| (date.year(), date.month(), date.day(), date.to_string()));
            assert_eq!(attribute, runtime, "{text}");
        }
    }
}
