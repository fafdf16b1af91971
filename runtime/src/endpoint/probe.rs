//! Probes: constants that describe a type at compile time.
//!
//! An inherent constant of `Probe<T>` exists only for types with a property. It shadows the
//! constant with the same name in [`ProbeFallback`], which exists for all types. The compiler
//! resolves the type, so aliases do not hide the property.

use core::marker::PhantomData;

use super::checks::Content;
use super::message::Message;
use super::{ParameterCount, PathProbe, PathShape};
use crate::problem::{ApiError, ProblemKinds};
use crate::request::{Caller, RequestId};
use crate::spec::Database;

/// The type whose constants are the probes of `T`.
#[derive(Debug)]
pub struct Probe<T: ?Sized>(PhantomData<T>);

/// The value of each probe for a type without the property.
pub trait ProbeFallback {
    /// True for a response that is a bare list.
    const IS_LIST: bool = false;
    /// True for a response whose body is raw bytes, such as `Vec<u8>`. Bytes do not count as a
    /// list.
    const IS_BYTES: bool = false;
    /// True for a response that is a page of a list.
    const IS_PAGE: bool = false;
    /// True for a response that streams its body.
    const IS_STREAM: bool = false;
    /// True for an argument that reads the requested page by cursor.
    const IS_PAGE_REQUEST: bool = false;
    /// True for an argument that reads the requested page by number.
    const IS_OFFSET_REQUEST: bool = false;
    /// True for an argument that identifies the caller.
    const IS_CALLER: bool = false;
    /// True for `StepKeys`, which only a request with an idempotency key has.
    const IS_STEP_KEYS: bool = false;
    /// True for `Option<StepKeys>`.
    const MAY_BE_STEP_KEYS: bool = false;
    /// The database of the transaction, for an argument that is a `Tx`.
    const TRANSACTION: Option<Database> = None;
    /// True for an argument that any state can extract from the head.
    const FROM_HEAD: bool = false;
    /// True for an argument that any state can extract from the body.
    const FROM_BODY: bool = false;
    /// The bound of an extractor on its content.
    const CONTENT: Content = Content::Unknown;
    /// The bound of `Valid` on its content, which can depend on the state.
    const VALID_CONTENT: Content = Content::Unknown;
    /// True for a `Valid`.
    const IS_VALID: bool = false;
    /// True if the content of `Valid` meets the bound in `VALID_CONTENT`. The type of the
    /// validation context is not compared with the state.
    const IS_VALIDATED: bool = false;
    /// True for a response.
    const IS_RESPONSE: bool = false;
    /// True for a `Result` whose value is a response.
    const IS_RESPONSE_OR_ERROR: bool = false;
    /// The number of path parameters that an argument reads, if it is known.
    const PARAMETERS: Option<usize> = None;
    /// The function that finds the path parameters of an argument, or finds that the argument is
    /// the request id, the caller, the raw body or a streamed body.
    const PATH: Option<PathProbe> = None;
    /// The function that lists the problems of a result's error.
    const PROBLEMS: Option<fn(&mut ProblemKinds)> = None;
}

impl<T: ?Sized> ProbeFallback for Probe<T> {}

macro_rules! marker {
    ($(#[$doc:meta])* $name:ident, $konst:ident) => {
        $(#[$doc])*
        pub trait $name {}

        impl<T: $name + ?Sized> Probe<T> {
            #[allow(missing_docs, reason = "documented at the fallback")]
            pub const $konst: bool = true;
        }
    };
}

marker! {
    /// A response that is a bare list. Implement it for your own wrapper of a list, so that an
    /// endpoint that returns the wrapper must declare `paginate` or `unpaginated`.
    IsList, IS_LIST
}
marker! {
    /// A type whose bytes can be the body of a response, such as `Vec<u8>`. A `Vec<u8>` counts as a
    /// list only if it is sent as JSON.
    IsBytes, IS_BYTES
}
marker! {
    /// A response that is one page of a list.
    IsPage, IS_PAGE
}
marker! {
    /// A response whose body has no known end, so that it cannot be stored for replay.
    IsStream, IS_STREAM
}
marker! {
    /// An argument that reads the requested page by cursor.
    IsPageRequest, IS_PAGE_REQUEST
}
marker! {
    /// An argument that reads the requested page by number.
    IsOffsetRequest, IS_OFFSET_REQUEST
}
marker! {
    /// An argument that identifies the caller.
    IsCaller, IS_CALLER
}

marker! {
    /// An argument that exists only in a request with an idempotency key.
    IsStepKeys, IS_STEP_KEYS
}

macro_rules! through_responses {
    ($($name:ident)*) => {$(
        impl<T: $name, E> $name for Result<T, E> {}
        impl<T: $name> $name for Option<T> {}
        impl<T: $name + ?Sized> $name for Box<T> {}
        impl<A, T: $name> $name for (A, T) {}
        impl<A, B, T: $name> $name for (A, B, T) {}
        impl<A, B, C, T: $name> $name for (A, B, C, T) {}
    )*};
}

macro_rules! through_documents {
    ($($name:ident)*) => {$(
        impl<T: $name> $name for axum::Json<T> {}
        impl<T: $name> $name for crate::extract::Json<T> {}
        impl<T: $name> $name for crate::respond::Created<T> {}
    )*};
}

through_responses!(IsList IsBytes IsPage IsStream);
through_documents!(IsList IsPage IsStream);

macro_rules! through_pointers {
    ($($name:ident)*) => {$(
        impl<T: $name + ?Sized> $name for &T {}
        impl<T: $name + ?Sized> $name for std::rc::Rc<T> {}
        impl<T: $name + ?Sized> $name for std::sync::Arc<T> {}
        impl<T: $name + ToOwned + ?Sized> $name for std::borrow::Cow<'_, T> {}
    )*};
}

through_pointers!(IsList IsBytes);

impl<T> IsList for Vec<T> {}
impl<T> IsList for [T] {}
impl<T> IsList for std::collections::VecDeque<T> {}
impl<T> IsList for std::collections::LinkedList<T> {}
impl<T> IsList for std::collections::BinaryHeap<T> {}
impl<T> IsList for std::collections::BTreeSet<T> {}
impl<T, H> IsList for std::collections::HashSet<T, H> {}

impl IsBytes for Vec<u8> {}
impl IsBytes for [u8] {}
impl<const N: usize> IsBytes for [u8; N] {}

impl<T> IsPage for crate::policies::paginate::Page<T> {}
impl<K> IsPageRequest for crate::policies::paginate::PageRequest<K> {}
impl IsOffsetRequest for crate::policies::paginate::OffsetRequest {}

impl IsCaller for Caller {}
impl IsCaller for Option<Caller> {}

impl IsStepKeys for crate::policies::idempotency::StepKeys {}

impl<T: IsStepKeys> Probe<Option<T>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const MAY_BE_STEP_KEYS: bool = true;
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl<DB: crate::transaction::TransactionDatabase> Probe<crate::transaction::Tx<DB>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const TRANSACTION: Option<Database> = Some(crate::transaction::database_of::<DB>());
}

impl IsStream for axum::body::Body {}
impl<S> IsStream for axum::response::Sse<S> {}

impl<T: ParameterCount> Probe<axum::extract::Path<T>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PARAMETERS: Option<usize> = Some(T::COUNT);
}

impl<T: ParameterCount> Probe<crate::extract::Path<T>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PARAMETERS: Option<usize> = Some(T::COUNT);
}

impl<T: serde::de::DeserializeOwned> Probe<axum::extract::Path<T>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PATH: Option<PathProbe> = Some(PathShape::of::<T>);
}

impl<T: serde::de::DeserializeOwned> Probe<crate::extract::Path<T>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PATH: Option<PathProbe> = Some(PathShape::of::<T>);
}

impl<T: serde::de::DeserializeOwned> Probe<Option<axum::extract::Path<T>>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PATH: Option<PathProbe> = Some(PathShape::of_optional::<T>);
}

impl<T: serde::de::DeserializeOwned> Probe<Option<crate::extract::Path<T>>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PATH: Option<PathProbe> = Some(PathShape::of_optional::<T>);
}

impl Probe<RequestId> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PATH: Option<PathProbe> = Some(|| PathShape::RequestId);
}

impl Probe<Caller> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PATH: Option<PathProbe> = Some(|| PathShape::Caller);
}

impl Probe<axum::extract::Request> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PATH: Option<PathProbe> = Some(|| PathShape::RawBody);
}

impl Probe<axum::body::Body> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PATH: Option<PathProbe> = Some(|| PathShape::RawBody);
}

#[cfg(feature = "multipart")]
impl Probe<axum::extract::Multipart> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PATH: Option<PathProbe> = Some(|| PathShape::StreamedBody);
}

impl<T, E: ApiError> Probe<Result<T, E>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PROBLEMS: Option<fn(&mut ProblemKinds)> = Some(ProblemKinds::include::<E>);
}

/// Fails the compilation if a list is returned without `paginate` or `unpaginated`.
#[track_caller]
pub const fn assert_not_a_list(is_list: bool, message: &str) {
    assert!(!is_list, "{}", message);
}

/// Fails the compilation if a response that must be stored is a stream.
#[track_caller]
pub const fn assert_not_a_stream(is_stream: bool, message: &str) {
    assert!(!is_stream, "{}", message);
}

/// Fails the compilation if no argument of a paginated endpoint reads the requested page.
#[track_caller]
pub const fn assert_takes_page_request(is_taken: bool, message: &str) {
    assert!(is_taken, "{}", message);
}

/// Fails the compilation if an argument reads the requested page of an endpoint without pages, or
/// with pages of the other kind.
#[track_caller]
pub const fn assert_no_page_request(is_page_request: bool, message: &str) {
    assert!(!is_page_request, "{}", message);
}

/// Fails the compilation if a paginated endpoint does not return a page.
#[track_caller]
pub const fn assert_returns_page(is_page: bool, message: &str) {
    assert!(is_page, "{}", message);
}

/// Fails the compilation if an argument is `StepKeys` although a request may have no idempotency
/// key.
#[track_caller]
pub const fn assert_no_step_keys(is_step_keys: bool, message: &str) {
    assert!(!is_step_keys, "{}", message);
}

/// Fails the compilation if an argument is a `Tx`, and an earlier argument is one too.
#[track_caller]
pub const fn assert_only_transaction(is_second: bool, message: &str) {
    assert!(!is_second, "{}", message);
}

/// Returns the database of the first `Tx` among the arguments.
#[must_use]
pub const fn transaction_of(arguments: &[Option<Database>]) -> Option<Database> {
    let mut index = 0;
    while index < arguments.len() {
        if arguments[index].is_some() {
            return arguments[index];
        }
        index += 1;
    }
    None
}

/// Fails the compilation if a public endpoint is limited by caller and has no argument that
/// identifies the caller.
#[track_caller]
pub const fn assert_caller_known(is_caller: bool, message: &str) {
    assert!(is_caller, "{}", message);
}

/// Fails the compilation if a path argument reads more or fewer parameters than the path template
/// has.
#[track_caller]
pub const fn assert_path_parameters(read: Option<usize>, path: &str, name: &str) {
    let count = parameter_count(path);
    if let Some(read) = read
        && read != count
    {
        let message = Message::new()
            .text("the path ")
            .text(path)
            .text(" of `")
            .text(name)
            .text("` has ")
            .count(count, "parameter")
            .text(", but this argument reads ")
            .number(read)
            .text(": change the path or the argument");
        panic!("{}", message.as_str());
    }
}

/// Returns the number of parameters of a path template.
const fn parameter_count(path: &str) -> usize {
    let (bytes, mut index, mut count) = (path.as_bytes(), 0, 0);
    while index < bytes.len() {
        if bytes[index] == b'{' {
            count += 1;
        }
        index += 1;
    }
    count
}
