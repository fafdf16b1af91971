use core::convert::Infallible;
use core::time::Duration;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::thread;

use proptest::prelude::*;
use rand::TryRng;

use super::*;

struct Payment;

impl Resource for Payment {
    const PREFIX: &'static str = "pay";
}

type PaymentId = Id<Payment>;

/// A random source that always returns the same byte.
struct ConstantRng(u8);

impl TryRng for ConstantRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_ne_bytes([self.0; 4]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_ne_bytes([self.0; 8]))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(self.0);
        Ok(())
    }
}

fn at(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

#[test]
fn h01_identifiers_are_written_in_upper_case_and_read_in_any_case() {
    let id: PaymentId = "pay_01hzqk7p3wvxbn4y9mrdtjc8e6".parse().expect("valid");
    assert_eq!(id.to_string(), "pay_01HZQK7P3WVXBN4Y9MRDTJC8E6");
    assert_eq!(
        serde_json::to_string(&id).expect("a string"),
        "\"pay_01HZQK7P3WVXBN4Y9MRDTJC8E6\""
    );
}

#[test]
fn h01_a_wrong_prefix_is_refused_with_an_example() {
    for text in [
        "acc_01HZQK7P3WVXBN4Y9MRDTJC8E6",
        "01HZQK7P3WVXBN4Y9MRDTJC8E6",
        "PAY_01HZQK7P3WVXBN4Y9MRDTJC8E6",
    ] {
        let error = text.parse::<PaymentId>().expect_err("wrong prefix");
        assert_eq!(
            error.to_string(),
            "expected an identifier such as pay_01HZQK7P3WVXBN4Y9MRDTJC8E6"
        );
    }
}

#[test]
fn h01_an_identifier_can_be_a_map_key() {
    let ids: Vec<PaymentId> = (0..3).map(|_| Id::new()).collect();
    let sorted: BTreeMap<PaymentId, usize> = ids.iter().copied().zip(0..).collect();
    let text = serde_json::to_string(&sorted).expect("members");
    assert_eq!(
        serde_json::from_str::<BTreeMap<PaymentId, usize>>(&text).expect("members"),
        sorted
    );
    let hashed: HashMap<PaymentId, usize> = serde_json::from_str(&text).expect("members");
    assert!(
        ids.iter()
            .enumerate()
            .all(|(index, id)| hashed[id] == index)
    );
}

#[test]
fn h02_overflow_and_ambiguous_letters_are_refused() {
    for text in [
        "pay_8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "pay_01HZQK7P3WVXBN4Y9MRDTJC8E",
        "pay_01HZQK7P3WVXBN4Y9MRDTJC8E66",
        "pay_01HZQK7P3WVXBN4Y9MRDTJC8Eé",
        "pay_01HZQK7P3WVXBN4Y9MRDTJC8-6",
        "pay_ 1HZQK7P3WVXBN4Y9MRDTJC8E6",
        "pay_",
        "pay",
        "",
    ] {
        assert!(text.parse::<PaymentId>().is_err(), "{text}");
    }
    for letter in "ILOUilou".chars() {
        let text = format!("pay_01HZQK7P3WVXBN4Y9MRDTJC8E{letter}");
        assert!(text.parse::<PaymentId>().is_err(), "{text}");
    }
    assert!(
        "pay_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
            .parse::<PaymentId>()
            .is_ok()
    );
}

/// Returns the characters of a class in a regular expression, such as `0-9A-H`.
fn class_characters(class: &str) -> String {
    let (bytes, mut index, mut members) = (class.as_bytes(), 0, String::new());
    while index < bytes.len() {
        let last = if bytes.get(index + 1) == Some(&b'-') {
            index + 2
        } else {
            index
        };
        members.extend((bytes[index]..=bytes[last]).map(char::from));
        index = last + 1;
    }
    members
}

#[test]
fn h02_the_pattern_matches_exactly_the_upper_case_identifiers() {
    let pattern = PaymentId::pattern();
    let classes: Vec<&str> = pattern.split(['[', ']']).collect();
    let ["^pay_", first, "", rest, "{25}$"] = classes[..] else {
        panic!("{pattern}")
    };
    let accepted = |template: &str| -> String {
        let one = |byte: &u8| {
            template
                .replace('?', &char::from(*byte).to_string())
                .parse::<PaymentId>()
                .is_ok()
        };
        (0_u8..128)
            .filter(|byte| !byte.is_ascii_lowercase())
            .filter(one)
            .map(char::from)
            .collect()
    };
    assert_eq!(
        class_characters(first),
        accepted("pay_?1HZQK7P3WVXBN4Y9MRDTJC8E6")
    );
    assert_eq!(
        class_characters(rest),
        accepted("pay_01HZQK7P3WVXBN4Y9MRDTJC8E?")
    );
}

#[test]
fn h03_identifiers_increase_within_a_process() {
    let ids: Vec<PaymentId> = (0..10_000).map(|_| Id::new()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn h03_in_the_same_or_an_earlier_millisecond_the_last_identifier_is_incremented() {
    let source = UlidSource::new();
    let next = |ms, byte| source.next(at(ms), &mut ConstantRng(byte)).expect("ULID").0;
    let first = next(1_000, 7);
    assert_eq!(next(1_000, 9), first + 1);
    assert_eq!(next(999, 9), first + 2);
    assert_eq!(next(0, 9), first + 3);
    let later = next(1_001, 0);
    assert_eq!((later >> 80, later & ((1 << 80) - 1)), (1_001, 0));
}

#[test]
fn h03_a_random_part_that_cannot_be_incremented_is_an_error() {
    let source = UlidSource::new();
    let last = source
        .next(at(1_000), &mut ConstantRng(0xff))
        .expect("the last one of its millisecond");
    assert_eq!((last.timestamp_ms(), last.random()), (1_000, (1 << 80) - 1));
    for ms in [1_000, 999, 1_000] {
        assert_eq!(source.next(at(ms), &mut ConstantRng(0)), Err(IdOverflow));
    }
    let next = source
        .next(at(1_001), &mut ConstantRng(0))
        .expect("a new millisecond");
    assert!(next > last);
}

#[test]
fn h03_identifiers_of_many_threads_are_unique_and_increase_in_each_thread() {
    let generate = || (0..5_000).map(|_| Id::new()).collect::<Vec<PaymentId>>();
    let threads: Vec<_> = (0..8).map(|_| thread::spawn(generate)).collect();
    let lists: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .collect();
    assert!(
        lists
            .iter()
            .all(|ids| ids.is_sorted_by(|left, right| left < right))
    );
    assert_eq!(lists.iter().flatten().collect::<HashSet<_>>().len(), 40_000);
}

#[test]
fn h04_an_identifier_contains_its_time_of_creation() {
    let id: Id<Payment> = Id::from_ulid(
        UlidSource::new()
            .next(at(1_717_000_000_123), &mut ConstantRng(7))
            .expect("an identifier"),
    );
    assert_eq!(id.timestamp_ms(), 1_717_000_000_123);
}

fn id() -> impl Strategy<Value = PaymentId> {
    any::<u128>().prop_map(|bits| Id::from_ulid(Ulid(bits)))
}

/// Generates texts of identifiers, and similar texts.
fn similar_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "pay_[0-9A-Za-z]{26}",
        "pay_[0-8][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}",
        "(pay|PAY|acc|)[_-]?[0-9A-HJ-NP-Zi]{25,27}",
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn h01_an_identifier_is_parsed_from_its_text_in_any_case(id in id(), lower: u32) {
        let mut text = id.to_string();
        prop_assert_eq!(text.parse::<PaymentId>(), Ok(id));
        let (prefix, ulid) = text.split_at_mut(4);
        let mixed_case: String = ulid.chars().enumerate().map(|(index, letter)| {
            if lower >> index & 1 == 1 { letter.to_ascii_lowercase() } else { letter }
        }).collect();
        prop_assert_eq!(format!("{prefix}{mixed_case}").parse::<PaymentId>(), Ok(id));
    }

    #[test]
    fn h01_text_that_matches_the_pattern_is_parsed_and_written_unchanged(
        text in "pay_[0-7][0-9A-HJKMNP-TV-Z]{25}"
    ) {
        prop_assert_eq!(text.parse::<PaymentId>().expect("a valid identifier").to_string(), text);
    }

    #[test]
    fn h02_an_accepted_text_differs_from_the_identifier_only_in_case(text in similar_text()) {
        if let Ok(id) = text.parse::<PaymentId>() {
            prop_assert_eq!(id.to_string()[4..].to_owned(), text[4..].to_ascii_uppercase());
            prop_assert_eq!(&text[..4], "pay_");
        }
    }

    #[test]
    fn h03_identifiers_sort_like_their_texts_and_times(left in id(), right in id()) {
        prop_assert_eq!(left.cmp(&right), left.to_string().cmp(&right.to_string()));
        if left.timestamp_ms() != right.timestamp_ms() {
            prop_assert_eq!(left.cmp(&right), left.timestamp_ms().cmp(&right.timestamp_ms()));
        }
    }

    #[test]
    fn h03_identifiers_increase_for_any_clock(times in prop::collection::vec(0_u64..50, 1..50)) {
        let source = UlidSource::new();
        let ids: Vec<_> = times.iter().map(|ms| source.next(at(*ms), &mut ConstantRng(7)).expect("an identifier")).collect();
        prop_assert!(ids.is_sorted_by(|left, right| left < right));
    }
}
