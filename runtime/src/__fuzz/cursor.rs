use crate::policies::paginate::{
    Binding, CursorField, CursorKey, CursorValue, Cursors, Direction, HEADER, SortColumn,
};
use crate::secret::Secret;

/// A key with a column of each kind.
#[derive(Debug)]
pub(super) struct Key(i32, String, [u8; 2], bool);

impl CursorKey for Key {
    const COLUMNS: &'static [SortColumn] = &[
        SortColumn::new("a", Direction::Ascending),
        SortColumn::new("b", Direction::Descending),
        SortColumn::new("c", Direction::Ascending),
        SortColumn::new("d", Direction::Descending),
    ];

    fn to_values(&self) -> Vec<CursorValue> {
        vec![
            self.0.to_value(),
            self.1.to_value(),
            self.2.to_value(),
            self.3.to_value(),
        ]
    }

    fn from_values(values: Vec<CursorValue>) -> Option<Self> {
        let [a, b, c, d] = <[CursorValue; 4]>::try_from(values).ok()?;
        Some(Self(
            CursorField::from_value(a)?,
            CursorField::from_value(b)?,
            CursorField::from_value(c)?,
            CursorField::from_value(d)?,
        ))
    }
}

const BINDING: Binding<'_> = Binding {
    route: "GET /v1/rows",
    path: std::borrow::Cow::Borrowed(b"/v1/rows"),
    filters: &[],
    caller: None,
};

/// Checks the parser of cursors. `data` is used twice: as the text of a cursor, and as the payload
/// of a signed cursor. The text of an accepted cursor must equal the text that is written for its
/// position.
pub fn cursor(data: &[u8]) {
    let cursors = Cursors::new(&Secret::new([7; 32]).expect("long enough"), None, "fuzz");
    let assert_round_trip = |text: &str| {
        if let Ok(position) = cursors.read::<Key>(text, &BINDING) {
            assert_eq!(
                cursors.write(position.as_ref(), &BINDING).expect("short"),
                text,
                "{position:?}"
            );
        }
    };
    if let Ok(text) = core::str::from_utf8(data) {
        assert_round_trip(text);
    }
    assert_round_trip(&cursors.sign::<Key>(data.to_vec(), &BINDING));
    assert_round_trip(&cursors.sign::<Key>([&HEADER, data].concat(), &BINDING));
}
