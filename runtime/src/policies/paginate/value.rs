use crate::id::{Id, Resource};

/// A value of a sort column. Cursors contain such values, and queries bind them.
///
/// Values of the same kind compare as in a database: integers by size, text and bytes byte by byte,
/// and `false` before `true`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CursorValue {
    /// An integer.
    Integer(i64),
    /// A text, ordered by its UTF-8 bytes.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A boolean.
    Bool(bool),
}

/// A type by which a list can be sorted. It has a total order, and a query can bind its values.
///
/// Implemented for `bool`, `i8` to `i64`, `u8` to `u32`, `String`, `Vec<u8>`, `[u8; N]` and
/// [`Id<T>`](crate::Id). Implement it for your own type by converting to one of these. The
/// converted values must have the same order, and must convert back to equal values:
///
/// ```
/// use aplomb::policies::paginate::{CursorField, CursorValue};
///
/// struct Cents(i64);
///
/// impl CursorField for Cents {
///     fn to_value(&self) -> CursorValue {
///         self.0.to_value()
///     }
///
///     fn from_value(value: CursorValue) -> Option<Self> {
///         i64::from_value(value).map(Self)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a list cannot be sorted by `{Self}`",
    label = "not the type of a sort column",
    note = "a sort column is a `bool`, an integer (`i8` to `i64`, `u8` to `u32`), a `String`, bytes (`Vec<u8>`, `[u8; N]`), \
            an `Id<T>`, or a type that implements `CursorField`",
    note = "a sort column needs a total order and a value that a query can bind: instead of an `Option`, write a column \
            that is never NULL; instead of a `u64`, an `i64`; instead of a float, an integer in its smallest unit; \
            instead of a time, its microseconds"
)]
pub trait CursorField: Sized {
    /// Converts to a value.
    fn to_value(&self) -> CursorValue;

    /// Converts back from the result of [`to_value`](Self::to_value). Returns `None` for any other
    /// value.
    fn from_value(value: CursorValue) -> Option<Self>;
}

macro_rules! integers {
    ($($integer:ident)*) => {$(
        impl CursorField for $integer {
            fn to_value(&self) -> CursorValue {
                CursorValue::Integer(i64::from(*self))
            }

            fn from_value(value: CursorValue) -> Option<Self> {
                match value {
                    CursorValue::Integer(number) => Self::try_from(number).ok(),
                    _ => None,
                }
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 u8 u16 u32);

impl CursorField for bool {
    fn to_value(&self) -> CursorValue {
        CursorValue::Bool(*self)
    }

    fn from_value(value: CursorValue) -> Option<Self> {
        match value {
            CursorValue::Bool(value) => Some(value),
            _ => None,
        }
    }
}

impl CursorField for String {
    fn to_value(&self) -> CursorValue {
        CursorValue::Text(self.clone())
    }

    fn from_value(value: CursorValue) -> Option<Self> {
        match value {
            CursorValue::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl CursorField for Vec<u8> {
    fn to_value(&self) -> CursorValue {
        CursorValue::Bytes(self.clone())
    }

    fn from_value(value: CursorValue) -> Option<Self> {
        match value {
            CursorValue::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl<const N: usize> CursorField for [u8; N] {
    fn to_value(&self) -> CursorValue {
        CursorValue::Bytes(self.to_vec())
    }

    fn from_value(value: CursorValue) -> Option<Self> {
        Vec::from_value(value)?.try_into().ok()
    }
}

/// Identifiers are sorted as their texts.
impl<T: Resource> CursorField for Id<T> {
    fn to_value(&self) -> CursorValue {
        CursorValue::Text(self.to_string())
    }

    fn from_value(value: CursorValue) -> Option<Self> {
        String::from_value(value)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Debug;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug)]
    struct Payment;

    impl Resource for Payment {
        const PREFIX: &'static str = "pay";
    }

    fn assert_keeps_order<T: CursorField + Ord + Debug>(left: &T, right: &T) {
        assert_eq!(
            left.to_value().cmp(&right.to_value()),
            left.cmp(right),
            "{left:?} {right:?}"
        );
        assert_eq!(T::from_value(left.to_value()).as_ref(), Some(left));
    }

    #[test]
    fn d02_a_value_of_another_kind_or_size_does_not_convert() {
        assert_eq!(u8::from_value(256_i64.to_value()), None);
        assert_eq!(u32::from_value((-1_i64).to_value()), None);
        assert_eq!(i64::from_value(true.to_value()), None);
        assert_eq!(bool::from_value(1_i64.to_value()), None);
        assert_eq!(String::from_value(vec![b'a'].to_value()), None);
        assert_eq!(<[u8; 2]>::from_value([1_u8].to_value()), None);
        assert_eq!(
            Id::<Payment>::from_value(CursorValue::Text("acc_1".into())),
            None
        );
    }

    proptest! {
        #[test]
        fn d01_converted_values_have_the_order_of_the_original_values(
            integers: [i64; 2], small: [u32; 2], texts in ["[a-cA-Zé😀\u{0}]{0,4}", "[a-cA-Zé😀\u{0}]{0,4}"],
            bytes: [Vec<u8>; 2], pairs: [[u8; 2]; 2], flags: [bool; 2], ulids: [u128; 2],
        ) {
            assert_keeps_order(&integers[0], &integers[1]);
            assert_keeps_order(&small[0], &small[1]);
            assert_keeps_order(&texts[0], &texts[1]);
            assert_keeps_order(&bytes[0], &bytes[1]);
            assert_keeps_order(&pairs[0], &pairs[1]);
            assert_keeps_order(&flags[0], &flags[1]);
            let [left, right] = ulids.map(|ulid| Id::<Payment>::from_ulid(ulid::Ulid::from(ulid)));
            assert_keeps_order(&left, &right);
        }
    }
}
