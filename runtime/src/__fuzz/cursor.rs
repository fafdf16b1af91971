use crate::policies::paginate::{
    Binding, CursorField, CursorKey, CursorValue, Cursors, Direction, HEADER, SortColumn,
};
use crate::secret::Secret;

/// A column of each kind.
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

const HERE: Binding<'_> = Binding {
    route: "GET /v1/rows",
    path: "/v1/rows",
    filters: &[],
    caller: None,
};

/// The bytes are the text of a cursor, and what one says: one that is read is the one that would be issued.
pub fn cursor(data: &[u8]) {
    let cursors = Cursors::new(&Secret::new([7; 32]).expect("long enough"), None, "fuzz");
    let read_back = |text: &str| {
        if let Ok(position) = cursors.read::<Key>(text, &HERE) {
            assert_eq!(
                cursors.write(position.as_ref(), &HERE).expect("short"),
                text,
                "{position:?}"
            );
        }
    };
    if let Ok(text) = core::str::from_utf8(data) {
        read_back(text);
    }
    read_back(&cursors.sign::<Key>(data.to_vec(), &HERE));
    read_back(&cursors.sign::<Key>([&HEADER, data].concat(), &HERE));
}
