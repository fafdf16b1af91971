//! The parameters that a `Path<T>` argument reads, determined by calling `T`'s `Deserialize`.
//!
//! The compiler can check the number of parameters for common types ([`ParameterCount`]). The field
//! names of a struct are only available from its `Deserialize`, so the start-up check probes it.

use core::fmt;

use serde::Deserialize;
use serde::de::{self, Visitor};

/// A function that returns the parameters of a `Path<T>` argument.
pub type PathProbe = fn() -> PathShape;

/// The parameters that a `Path<T>` argument reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathShape {
    /// The argument reads this number of parameters, by position.
    Positional(usize),
    /// The argument reads the parameters with these names.
    Named(&'static [&'static str]),
    /// The parameters are unknown before a request, for example for a map.
    Unknown,
    /// The argument reads the parameters of the inner shape, or no parameters if the path template
    /// has none.
    Optional(Box<Self>),
    /// The argument is the request id, and reads no path parameter.
    RequestId,
    /// The argument is the caller, and reads no path parameter.
    Caller,
    /// The argument is the request or its body as it arrived, and reads no path parameter.
    RawBody,
    /// The argument reads the body part by part, and reads no path parameter.
    StreamedBody,
}

impl PathShape {
    /// Calls `T`'s `Deserialize` and records the requested shape. The deserializer provides no
    /// value.
    pub fn of<'de, T: Deserialize<'de>>() -> Self {
        let mut shape = Self::Unknown;
        // `deserialize` returns an error for every type. Only the recorded shape is used.
        let _ = T::deserialize(Probe { shape: &mut shape });
        shape
    }

    /// Returns the shape of an `Option` of a `Path<T>`.
    pub fn of_optional<'de, T: Deserialize<'de>>() -> Self {
        Self::Optional(Box::new(Self::of::<T>()))
    }
}

/// A type whose number of path parameters is known at compile time.
pub trait ParameterCount {
    /// The number of parameters that the type reads by position.
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
        f.write_str("only the shape is probed")
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
    #[expect(dead_code, reason = "only its shape is probed")]
    struct Order {
        customer: String,
        order: u64,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its shape is probed")]
    struct Wrapped(u64);

    #[test]
    fn the_shape_of_a_struct_has_its_fields() {
        assert_eq!(
            PathShape::of::<Order>(),
            PathShape::Named(&["customer", "order"])
        );
    }

    #[test]
    fn the_shape_of_a_tuple_or_scalar_has_the_number_of_parameters() {
        assert_eq!(PathShape::of::<(u64, String)>(), PathShape::Positional(2));
        assert_eq!(PathShape::of::<Wrapped>(), PathShape::Positional(1));
        assert_eq!(PathShape::of::<String>(), PathShape::Positional(1));
    }

    #[test]
    fn the_shape_of_a_map_is_unknown() {
        assert_eq!(
            PathShape::of::<std::collections::HashMap<String, String>>(),
            PathShape::Unknown
        );
    }
}
