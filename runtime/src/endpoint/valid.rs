//! The parameters of a `Valid<Path<T>>` argument. They are the same as the parameters of `Path<T>`.

use serde::de::DeserializeOwned;

use super::{ParameterCount, PathArgument, PathProbe, PathShape, Probe};
use crate::extract::{Path, Valid};

impl<T> PathArgument for Valid<Path<T>> {
    type Parameters = T;
}

impl<T: ParameterCount> Probe<Valid<Path<T>>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PARAMETERS: Option<usize> = Some(T::COUNT);
}

impl<T: DeserializeOwned> Probe<Valid<Path<T>>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PATH: Option<PathProbe> = Some(PathShape::of::<T>);
}
