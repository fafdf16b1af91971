/// The position of a page in a list, and the direction in which the page is read.
///
/// A position stays valid if the row of its key is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position<K> {
    /// Forward, from the first row of the list.
    Start,
    /// Forward, from the first row after this key.
    After(K),
    /// Backward, from the last row before this key.
    Before(K),
    /// Backward, from the last row of the list.
    End,
}

impl<K> Position<K> {
    /// Returns `true` if rows are read towards the start of the list.
    pub const fn is_backward(&self) -> bool {
        matches!(self, Self::Before(_) | Self::End)
    }

    /// Returns the key, if there is one.
    pub const fn key(&self) -> Option<&K> {
        match self {
            Self::After(key) | Self::Before(key) => Some(key),
            Self::Start | Self::End => None,
        }
    }

    /// Returns the same position with a converted key.
    pub fn map<L>(self, convert: impl FnOnce(K) -> L) -> Position<L> {
        match self {
            Self::Start => Position::Start,
            Self::After(old) => Position::After(convert(old)),
            Self::Before(old) => Position::Before(convert(old)),
            Self::End => Position::End,
        }
    }

    /// Returns the position with a reference to the key.
    pub const fn as_ref(&self) -> Position<&K> {
        match self {
            Self::Start => Position::Start,
            Self::After(key) => Position::After(key),
            Self::Before(key) => Position::Before(key),
            Self::End => Position::End,
        }
    }
}

/// The positions of the previous and the next page, if they exist.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Neighbours<K> {
    pub(super) previous: Option<Position<K>>,
    pub(super) next: Option<Position<K>>,
}

impl<K> Neighbours<K> {
    /// Returns the positions of the previous and the next page. `rows` is in the order of the list.
    /// `more` is set if further rows follow in the direction of reading.
    ///
    /// A position after or before a key comes from a page on the other side of the key, so that
    /// page exists. An empty page has no row whose key its neighbours could use. So its previous
    /// page is the last page of the list (`End`), and its next page is the first page (`Start`).
    pub(super) fn around<T, L>(
        position: &Position<L>,
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
        let (has_previous, has_next) = match position {
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

    fn neighbours(position: Position<u8>, rows: &[u8], more: bool) -> [Option<Position<u8>>; 2] {
        let Neighbours { previous, next } = Neighbours::around(&position, rows, more, |row| *row);
        [previous, next]
    }

    #[test]
    fn d05_a_page_has_a_next_page_if_and_only_if_rows_follow() {
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
    fn d05_a_page_has_a_previous_page_if_and_only_if_rows_precede() {
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
    fn d07_an_empty_page_links_to_the_end_or_the_start_of_the_list() {
        assert_eq!(neighbours(After(2), &[], false), [Some(End), None]);
        assert_eq!(neighbours(Before(5), &[], false), [None, Some(Start)]);
    }
}
