//! What a `Path<T>` argument reads, found by asking `T`'s own `Deserialize`.
//!
//! The number of parameters is known to the compiler for common types ([`ParameterCount`]); the
//! names of a struct's fields are known only to its `Deserialize`, which the start-up check asks.

use core::fmt;

use serde::Deserialize;
use serde::de::{self, Visitor};

/// Asks a `Path<T>` argument what it reads.
pub type PathProbe = fn() -> PathShape;

/// What a `Path<T>` argument reads from the path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathShape {
    /// That many parameters, by position.
    Positional(usize),
    /// Parameters of these names.
    Named(&'static [&'static str]),
    /// Cannot be told in advance, such as a map.
    Unknown,
    /// The same, or nothing where the path has no parameters.
    Optional(Box<Self>),
    /// Nothing of the path, but the request's id.
    RequestId,
}

impl PathShape {
    /// Asks `T`'s `Deserialize` what it wants, without giving it anything.
    pub fn of<'de, T: Deserialize<'de>>() -> Self {
        let mut shape = Self::Unknown;
        // The probe refuses every value, so the only result is what it wrote down on the way.
        let _ = T::deserialize(Probe { shape: &mut shape });
        shape
    }

    /// The same for an `Option` of a `Path<T>`.
    pub fn of_optional<'de, T: Deserialize<'de>>() -> Self {
        Self::Optional(Box::new(Self::of::<T>()))
    }
}

/// Types for which the number of path parameters is known when compiling.
pub trait ParameterCount {
    /// How many parameters the type reads by position.
    const COUNT: usize;
}

macro_rules! one {
    ($($ty:ty),*) => {$(
        impl ParameterCount for $ty {
            const COUNT: usize = 1;
        }
    )*};
}

one!(
    String, bool, char, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64
);

impl<T> ParameterCount for crate::id::Id<T> {
    const COUNT: usize = 1;
}

impl ParameterCount for () {
    const COUNT: usize = 0;
}

macro_rules! tuple {
    ($($name:ident)*; $count:literal) => {
        impl<$($name),*> ParameterCount for ($($name,)*) {
            const COUNT: usize = $count;
        }
    };
}

tuple!(A; 1);
tuple!(A B; 2);
tuple!(A B C; 3);
tuple!(A B C D; 4);
tuple!(A B C D E; 5);
tuple!(A B C D E F; 6);

struct Probe<'a> {
    shape: &'a mut PathShape,
}

#[derive(Debug)]
struct RequestedShape;

impl fmt::Display for RequestedShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only the shape was asked for")
    }
}

impl std::error::Error for RequestedShape {}

impl de::Error for RequestedShape {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

macro_rules! single {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, RequestedShape> {
            *self.shape = PathShape::Positional(1);
            Err(RequestedShape)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Probe<'_> {
    type Error = RequestedShape;

    single! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, RequestedShape> {
        Err(RequestedShape)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RequestedShape> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _: V) -> Result<V::Value, RequestedShape> {
        *self.shape = PathShape::Positional(0);
        Err(RequestedShape)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, RequestedShape> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, RequestedShape> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, RequestedShape> {
        Err(RequestedShape)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        _: V,
    ) -> Result<V::Value, RequestedShape> {
        *self.shape = PathShape::Positional(length);
        Err(RequestedShape)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, RequestedShape> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> Result<V::Value, RequestedShape> {
        Err(RequestedShape)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, RequestedShape> {
        *self.shape = PathShape::Named(fields);
        Err(RequestedShape)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, RequestedShape> {
        *self.shape = PathShape::Positional(1);
        Err(RequestedShape)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, RequestedShape> {
        Err(RequestedShape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its shape is asked for")]
    struct Order {
        customer: String,
        order: u64,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its shape is asked for")]
    struct Wrapped(u64);

    #[test]
    fn a_struct_tells_its_fields() {
        assert_eq!(
            PathShape::of::<Order>(),
            PathShape::Named(&["customer", "order"])
        );
    }

    #[test]
    fn tuples_and_scalars_tell_their_number() {
        assert_eq!(PathShape::of::<(u64, String)>(), PathShape::Positional(2));
        assert_eq!(PathShape::of::<Wrapped>(), PathShape::Positional(1));
        assert_eq!(PathShape::of::<String>(), PathShape::Positional(1));
    }

    #[test]
    fn maps_tell_nothing() {
        assert_eq!(
            PathShape::of::<std::collections::HashMap<String, String>>(),
            PathShape::Unknown
        );
    }
}
