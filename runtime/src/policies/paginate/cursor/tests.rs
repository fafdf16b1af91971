use proptest::prelude::*;

use super::*;
use crate::policies::paginate::{CursorField, CursorValue};

/// Defines keys of one column, which differ in what their cursors are bound to.
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

const HERE: Binding<'_> = Binding {
    route: "r",
    path: "/r",
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
fn d02_a_cursor_is_read_only_where_it_belongs() {
    let (alice, bob, nameless) = (Caller::new("alice"), Caller::new("bob"), Caller::new(""));
    let (none, some) = (filters(&[]), filters(&[("account", "1")]));
    let home = Binding {
        route: "GET /v1/payments",
        path: "/v1/payments",
        filters: &none,
        caller: Some(&alice),
    };
    let text = cursors()
        .write(Position::After(&Oldest(7)), &home)
        .expect("short");
    assert_eq!(
        cursors().read::<Oldest>(&text, &home).expect("at home"),
        Position::After(Oldest(7))
    );
    for elsewhere in [
        Binding {
            route: "GET /v1/accounts",
            ..home.clone()
        },
        Binding {
            path: "/v1/payments/7",
            ..home.clone()
        },
        Binding {
            filters: &some,
            ..home.clone()
        },
        Binding {
            caller: Some(&bob),
            ..home.clone()
        },
        Binding {
            caller: None,
            ..home.clone()
        },
    ] {
        let problem = cursors()
            .read::<Oldest>(&text, &elsewhere)
            .expect_err("elsewhere");
        assert_eq!(problem.code(), "INVALID_CURSOR");
    }
    let nobodys = Binding {
        caller: None,
        ..home
    };
    let text = cursors()
        .write(Position::After(&Oldest(7)), &nobodys)
        .expect("short");
    assert!(
        cursors()
            .read::<Oldest>(
                &text,
                &Binding {
                    caller: Some(&nameless),
                    ..nobodys
                }
            )
            .is_err()
    );
}

#[test]
fn d02_a_cursor_of_one_sort_is_none_of_another() {
    let text = cursors()
        .write(Position::After(&Oldest(700)), &HERE)
        .expect("short");
    assert!(cursors().read::<Oldest>(&text, &HERE).is_ok());
    assert!(
        cursors().read::<Newest>(&text, &HERE).is_err(),
        "another direction"
    );
    assert!(
        cursors().read::<ByNumber>(&text, &HERE).is_err(),
        "another column"
    );
    assert!(
        cursors().read::<ByText>(&text, &HERE).is_err(),
        "another kind"
    );
    assert!(
        cursors().read::<Small>(&text, &HERE).is_err(),
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
        let text = cursors().write(position, &HERE).expect("short");
        let read = cursors().read::<Oldest>(&text, &HERE).expect("own");
        assert_eq!(read.as_ref(), position);
    }
    let mut bytes = URL_SAFE_NO_PAD
        .decode(
            cursors()
                .write(Position::After(&Oldest(7)), &HERE)
                .expect("short"),
        )
        .expect("base64");
    bytes[HEAD.len()] ^= 3;
    assert!(
        cursors()
            .read::<Oldest>(&URL_SAFE_NO_PAD.encode(bytes), &HERE)
            .is_err(),
        "turned round"
    );
}

#[test]
fn d02_a_cursor_has_a_bounded_length() {
    let long = |length| cursors().write(Position::After(&ByText("a".repeat(length))), &HERE);
    let most = long(3050).expect("within");
    assert!(most.len() <= MAX_LENGTH);
    assert!(cursors().read::<ByText>(&most, &HERE).is_ok());
    assert!(long(3060).is_err());
}

#[test]
fn d03_cursors_outlive_a_change_of_the_secret() {
    let secret = |byte| Secret::new([byte; 32]).expect("long enough");
    let text = cursors()
        .write(Position::After(&Oldest(7)), &HERE)
        .expect("short");
    let changed = |other: Option<u8>| Cursors::new(&secret(4), other.map(secret).as_ref(), "test");
    assert!(changed(Some(3)).read::<Oldest>(&text, &HERE).is_ok());
    assert!(changed(Some(5)).read::<Oldest>(&text, &HERE).is_err());
    assert!(changed(None).read::<Oldest>(&text, &HERE).is_err());
}

#[test]
fn d03_another_version_is_refused() {
    let text = cursors()
        .write(Position::After(&Oldest(7)), &HERE)
        .expect("short");
    let mut bytes = URL_SAFE_NO_PAD.decode(&text).expect("base64");
    bytes.truncate(bytes.len() - MAC_BYTES);
    assert_eq!(cursors().sign::<Oldest>(bytes.clone(), &HERE), text);
    for byte in [0, 1] {
        let mut bytes = bytes.clone();
        bytes[byte] += 1;
        assert!(
            cursors()
                .read::<Oldest>(&cursors().sign::<Oldest>(bytes, &HERE), &HERE)
                .is_err()
        );
    }
}

proptest! {
    #[test]
    fn d03_a_tampered_cursor_is_refused(position: prop::sample::Index, bit in 0_u8..8) {
        let text = cursors().write(Position::Before(&ByText("a key".into())), &HERE).expect("short");
        let mut bytes = URL_SAFE_NO_PAD.decode(text).expect("base64");
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        prop_assert!(cursors().read::<ByText>(&URL_SAFE_NO_PAD.encode(bytes), &HERE).is_err());
    }

    #[test]
    fn d03_any_text_is_survived(text in ".{0,80}") {
        prop_assert!(cursors().read::<ByText>(&text, &HERE).is_err());
    }
}
