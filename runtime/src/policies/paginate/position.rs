/// Where in a list a page lies, and from which side it is read.
///
/// No row has to stand at a key: the one that stood there may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position<K> {
    /// The first rows of the list.
    Start,
    /// Forward: the first rows behind this key.
    After(K),
    /// Backward: the last rows before this key.
    Before(K),
    /// Backward: the last rows of the list.
    End,
}

impl<K> Position<K> {
    /// Whether rows are read towards the start of the list.
    pub const fn is_backward(&self) -> bool {
        matches!(self, Self::Before(_) | Self::End)
    }

    /// The key, if there is one.
    pub const fn key(&self) -> Option<&K> {
        match self {
            Self::After(key) | Self::Before(key) => Some(key),
            Self::Start | Self::End => None,
        }
    }

    /// The same position by a part of its key, or by another.
    pub fn map<L>(self, key: impl FnOnce(K) -> L) -> Position<L> {
        match self {
            Self::Start => Position::Start,
            Self::After(at) => Position::After(key(at)),
            Self::Before(at) => Position::Before(key(at)),
            Self::End => Position::End,
        }
    }

    /// The position by reference.
    pub const fn as_ref(&self) -> Position<&K> {
        match self {
            Self::Start => Position::Start,
            Self::After(key) => Position::After(key),
            Self::Before(key) => Position::Before(key),
            Self::End => Position::End,
        }
    }
}

/// Where the pages on either side of a page lie, if there are any.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Neighbours<K> {
    pub(super) previous: Option<Position<K>>,
    pub(super) next: Option<Position<K>>,
}

impl<K> Neighbours<K> {
    /// Those of a page of these rows, in the list's order, with `more` behind them on the way they were read.
    ///
    /// On the side from which the reader came there was a row, that of the key. A page that has lost all of its
    /// own leads back to it: rows before an empty page are the last of the list, those behind it the first.
    pub(super) fn of<T, L>(
        at: &Position<L>,
        rows: &[T],
        more: bool,
        key: impl Fn(&T) -> K,
    ) -> Self {
        let previous = || {
            rows.first()
                .map_or(Position::End, |row| Position::Before(key(row)))
        };
        let next = || {
            rows.last()
                .map_or(Position::Start, |row| Position::After(key(row)))
        };
        let (has_previous, has_next) = match at {
            Position::Start => (false, more),
            Position::After(_) => (true, more),
            Position::Before(_) => (more, true),
            Position::End => (more, false),
        };
        Self {
            previous: has_previous.then(previous),
            next: has_next.then(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Position::{After, Before, End, Start};
    use super::*;

    fn neighbours(at: Position<u8>, rows: &[u8], more: bool) -> [Option<Position<u8>>; 2] {
        let Neighbours { previous, next } = Neighbours::of(&at, rows, more, |row| *row);
        [previous, next]
    }

    #[test]
    fn d05_there_is_a_next_page_exactly_where_rows_are_left() {
        assert_eq!(neighbours(Start, &[1, 2], true), [None, Some(After(2))]);
        assert_eq!(neighbours(Start, &[1, 2], false), [None, None]);
        assert_eq!(neighbours(Start, &[], false), [None, None]);
        assert_eq!(
            neighbours(After(2), &[3, 4], true),
            [Some(Before(3)), Some(After(4))]
        );
        assert_eq!(
            neighbours(After(2), &[3, 4], false),
            [Some(Before(3)), None]
        );
    }

    #[test]
    fn d05_there_is_a_page_before_exactly_where_rows_are_left() {
        assert_eq!(
            neighbours(Before(5), &[3, 4], true),
            [Some(Before(3)), Some(After(4))]
        );
        assert_eq!(
            neighbours(Before(5), &[3, 4], false),
            [None, Some(After(4))]
        );
        assert_eq!(neighbours(End, &[3, 4], true), [Some(Before(3)), None]);
        assert_eq!(neighbours(End, &[3, 4], false), [None, None]);
    }

    #[test]
    fn d07_a_page_that_has_lost_its_rows_leads_back() {
        assert_eq!(neighbours(After(2), &[], false), [Some(End), None]);
        assert_eq!(neighbours(Before(5), &[], false), [None, Some(Start)]);
    }
}
