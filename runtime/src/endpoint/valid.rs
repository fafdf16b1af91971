//! What a validated `Path<T>` argument reads: the same as without validation.

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
