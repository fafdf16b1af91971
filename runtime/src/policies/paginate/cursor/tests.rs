use proptest::prelude::*;

use std::borrow::Cow;

use super::*;
use crate::policies::paginate::{CursorField, CursorValue};

/// Defines sort keys with one column. A cursor of one key is invalid for each other key.
macro_rules! keys {
    ($($name:ident($ty:ty) $column:literal $direction:ident;)*) => {$(
        #[derive(Debug, PartialEq)]
        struct $name($ty);

        impl CursorKey for $name {
            const COLUMNS: &'static [SortColumn] = &[SortColumn::new($column, Direction::$direction)];

            fn to_values(&self) -> Vec<CursorValue> {
                vec![self.0.to_value()]
            }

            fn from_values(values: Vec<CursorValue>) -> Option<Self> {
                let [value] = <[CursorValue; 1]>::try_from(values).ok()?;
                Some(Self(CursorField::from_value(value)?))
            }
        }
    )*};
}

keys! {
    Oldest(i64) "id" Ascending;
    Newest(i64) "id" Descending;
    ByNumber(i64) "number" Ascending;
    Small(u8) "id" Ascending;
    ByText(String) "id" Ascending;
}

const BINDING: Binding<'_> = Binding {
    route: "r",
    path: Cow::Borrowed(b"/r"),
    filters: &[],
    caller: None,
};

fn cursors() -> Cursors {
    Cursors::new(&Secret::new([3; 32]).expect("long enough"), None, "test")
}

fn filters(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn d02_a_cursor_is_valid_only_in_its_own_list() {
    let (alice, bob, empty) = (Caller::new("alice"), Caller::new("bob"), Caller::new(""));
    let (none, some) = (filters(&[]), filters(&[("account", "1")]));
    let own = Binding {
        route: "GET /v1/payments",
        path: Cow::Borrowed(b"/v1/payments"),
        filters: &none,
        caller: Some(&alice),
    };
    let text = cursors()
        .write(Position::After(&Oldest(7)), &own)
        .expect("a cursor");
    assert_eq!(
        cursors().read::<Oldest>(&text, &own).expect("its own list"),
        Position::After(Oldest(7))
    );
    for other in [
        Binding {
            route: "GET /v1/accounts",
            ..own.clone()
        },
        Binding {
            path: Cow::Borrowed(b"/v1/payments/7"),
            ..own.clone()
        },
        Binding {
            filters: &some,
            ..own.clone()
        },
        Binding {
            caller: Some(&bob),
            ..own.clone()
        },
        Binding {
            caller: None,
            ..own.clone()
        },
    ] {
        let problem = cursors()
            .read::<Oldest>(&text, &other)
            .expect_err("another list");
        assert_eq!(problem.code(), "INVALID_CURSOR");
    }
    let anonymous = Binding {
        caller: None,
        ..own
    };
    let text = cursors()
        .write(Position::After(&Oldest(7)), &anonymous)
        .expect("a cursor");
    assert!(
        cursors()
            .read::<Oldest>(
                &text,
                &Binding {
                    caller: Some(&empty),
                    ..anonymous
                }
            )
            .is_err()
    );
}

#[test]
fn d02_a_cursor_is_invalid_after_a_change_of_the_sort() {
    let text = cursors()
        .write(Position::After(&Oldest(700)), &BINDING)
        .expect("a cursor");
    assert!(cursors().read::<Oldest>(&text, &BINDING).is_ok());
    assert!(
        cursors().read::<Newest>(&text, &BINDING).is_err(),
        "another direction"
    );
    assert!(
        cursors().read::<ByNumber>(&text, &BINDING).is_err(),
        "another column"
    );
    assert!(
        cursors().read::<ByText>(&text, &BINDING).is_err(),
        "another kind"
    );
    assert!(
        cursors().read::<Small>(&text, &BINDING).is_err(),
        "a smaller type"
    );
}

#[test]
fn d02_a_cursor_keeps_its_direction() {
    for position in [
        Position::Start,
        Position::After(&Oldest(7)),
        Position::Before(&Oldest(7)),
        Position::End,
    ] {
        let text = cursors().write(position, &BINDING).expect("a cursor");
        let read = cursors()
            .read::<Oldest>(&text, &BINDING)
            .expect("its own list");
        assert_eq!(read.as_ref(), position);
    }
    let mut bytes = URL_SAFE_NO_PAD
        .decode(
            cursors()
                .write(Position::After(&Oldest(7)), &BINDING)
                .expect("a cursor"),
        )
        .expect("base64");
    bytes[HEADER.len()] ^= 3;
    assert!(
        cursors()
            .read::<Oldest>(&URL_SAFE_NO_PAD.encode(bytes), &BINDING)
            .is_err(),
        "the other direction"
    );
}

#[test]
fn d02_the_length_of_a_cursor_is_bounded() {
    let long = |length| cursors().write(Position::After(&ByText("a".repeat(length))), &BINDING);
    let longest = long(3050).expect("a cursor");
    assert!(longest.len() <= MAX_LENGTH);
    assert!(cursors().read::<ByText>(&longest, &BINDING).is_ok());
    assert!(long(3060).is_err());
}

#[test]
fn d03_cursors_of_the_previous_secret_are_valid() {
    let secret = |byte| Secret::new([byte; 32]).expect("long enough");
    let text = cursors()
        .write(Position::After(&Oldest(7)), &BINDING)
        .expect("a cursor");
    let cursors_with_previous =
        |previous: Option<u8>| Cursors::new(&secret(4), previous.map(secret).as_ref(), "test");
    assert!(
        cursors_with_previous(Some(3))
            .read::<Oldest>(&text, &BINDING)
            .is_ok()
    );
    assert!(
        cursors_with_previous(Some(5))
            .read::<Oldest>(&text, &BINDING)
            .is_err()
    );
    assert!(
        cursors_with_previous(None)
            .read::<Oldest>(&text, &BINDING)
            .is_err()
    );
}

#[test]
fn d03_a_cursor_with_another_format_version_or_key_id_is_invalid() {
    let text = cursors()
        .write(Position::After(&Oldest(7)), &BINDING)
        .expect("a cursor");
    let mut bytes = URL_SAFE_NO_PAD.decode(&text).expect("base64");
    bytes.truncate(bytes.len() - MAC_BYTES);
    assert_eq!(cursors().sign::<Oldest>(bytes.clone(), &BINDING), text);
    for byte in [0, 1] {
        let mut bytes = bytes.clone();
        bytes[byte] += 1;
        assert!(
            cursors()
                .read::<Oldest>(&cursors().sign::<Oldest>(bytes, &BINDING), &BINDING)
                .is_err()
        );
    }
}

proptest! {
    #[test]
    fn d03_a_tampered_cursor_is_invalid(position: prop::sample::Index, bit in 0_u8..8) {
        let text = cursors()
            .write(Position::Before(&ByText("a key".into())), &BINDING)
            .expect("a cursor");
        let mut bytes = URL_SAFE_NO_PAD.decode(text).expect("base64");
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        prop_assert!(cursors().read::<ByText>(&URL_SAFE_NO_PAD.encode(bytes), &BINDING).is_err());
    }

    #[test]
    fn d03_any_other_text_is_invalid(text in ".{0,80}") {
        prop_assert!(cursors().read::<ByText>(&text, &BINDING).is_err());
    }
}
