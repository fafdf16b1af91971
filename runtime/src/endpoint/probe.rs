//! Questions about types that are answered when compiling.
//!
//! An inherent constant of `Probe<T>`, there only for the `T` that it asks for, shadows the
//! constant of [`ProbeFallback`], there for all. So a question is asked of the type itself, and
//! aliases do not hide the answer.

use core::marker::PhantomData;

use super::checks::Content;
use super::message::Message;
use super::{ParameterCount, PathProbe, PathShape};
use crate::problem::{ApiError, ProblemKinds, ProblemsProbe};
use crate::request::RequestId;

/// Asks questions of `T`.
#[derive(Debug)]
pub struct Probe<T: ?Sized>(PhantomData<T>);

/// The answers where nothing is known of a type.
pub trait ProbeFallback {
    /// Whether a response is a list.
    const IS_LIST: bool = false;
    /// Whether a response is bytes, which are no list.
    const IS_BYTES: bool = false;
    /// Whether a response is a page of a list.
    const IS_PAGE: bool = false;
    /// Whether a response streams its body.
    const IS_STREAM: bool = false;
    /// Whether an argument asks for a page by cursor.
    const IS_PAGE_REQUEST: bool = false;
    /// Whether an argument asks for a page by number.
    const IS_OFFSET_REQUEST: bool = false;
    /// Whether an argument identifies the caller.
    const IS_CALLER: bool = false;
    /// Whether an argument is what only a request under an idempotency key has.
    const IS_STEP_KEYS: bool = false;
    /// Whether an argument is that, or nothing.
    const MAY_BE_STEP_KEYS: bool = false;
    /// Whether an argument is taken from the request's head under any state.
    const FROM_HEAD: bool = false;
    /// Whether an argument is taken from the request's body under any state.
    const FROM_BODY: bool = false;
    /// The bound of an extractor on its content.
    const CONTENT: Content = Content::Unknown;
    /// The same for `Valid`, whose bound can depend on the state.
    const VALID_CONTENT: Content = Content::Unknown;
    /// Whether the content of `Valid` meets its bound, except for its context.
    const IS_VALIDATED: bool = false;
    /// Whether a type is a response.
    const IS_RESPONSE: bool = false;
    /// Whether a type is a `Result` whose value is a response.
    const IS_RESPONSE_OR_ERROR: bool = false;
    /// How many path parameters an argument reads.
    const PARAMETERS: Option<usize> = None;
    /// How to ask an argument what it reads of the path, or for the request's id.
    const PATH: Option<PathProbe> = None;
    /// How to ask a result which problems its error can be.
    const PROBLEMS: Option<ProblemsProbe> = None;
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
    /// A response that is a bare list. Implement it for a wrapper of your own so that an endpoint
    /// that returns it must decide on pagination.
    IsList, IS_LIST
}
marker! {
    /// A response whose body is these bytes: a `Vec<u8>` is no list unless it is sent as JSON.
    IsBytes, IS_BYTES
}
marker! {
    /// A response that is one page of a list.
    IsPage, IS_PAGE
}
marker! {
    /// A response whose body has no known end, so that it cannot be kept for a replay.
    IsStream, IS_STREAM
}
marker! {
    /// An argument that reads which page is wanted, by cursor.
    IsPageRequest, IS_PAGE_REQUEST
}
marker! {
    /// An argument that reads which page is wanted, by number.
    IsOffsetRequest, IS_OFFSET_REQUEST
}
marker! {
    /// An argument that identifies the caller.
    IsCaller, IS_CALLER
}

marker! {
    /// An argument that only a request under an idempotency key has.
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

impl IsCaller for crate::request::Caller {}
impl IsCaller for Option<crate::request::Caller> {}

impl IsStepKeys for crate::policies::idempotency::StepKeys {}

impl<T: IsStepKeys> Probe<Option<T>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const MAY_BE_STEP_KEYS: bool = true;
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

impl Probe<RequestId> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PATH: Option<PathProbe> = Some(|| PathShape::RequestId);
}

impl<T, E: ApiError> Probe<Result<T, E>> {
    #[allow(missing_docs, reason = "documented at the fallback")]
    pub const PROBLEMS: Option<ProblemsProbe> = Some(ProblemKinds::include::<E>);
}

/// Fails the compilation where a list is returned without a decision on pagination.
#[track_caller]
pub const fn assert_not_a_list(is_list: bool, message: &str) {
    assert!(!is_list, "{}", message);
}

/// Fails the compilation where a response that must be kept is a stream.
#[track_caller]
pub const fn assert_not_a_stream(is_stream: bool, message: &str) {
    assert!(!is_stream, "{}", message);
}

/// Fails the compilation where pages are promised and no argument reads which is wanted.
#[track_caller]
pub const fn assert_takes_page_request(takes: bool, message: &str) {
    assert!(takes, "{}", message);
}

/// Fails the compilation where an argument asks for a page and no or other pages are promised.
#[track_caller]
pub const fn assert_no_page_request(asks: bool, message: &str) {
    assert!(!asks, "{}", message);
}

/// Fails the compilation where pages are promised and none is returned.
#[track_caller]
pub const fn assert_returns_page(returns: bool, message: &str) {
    assert!(returns, "{}", message);
}

/// Fails the compilation where an argument asks for an operation that a request may not have.
#[track_caller]
pub const fn assert_no_step_keys(takes: bool, message: &str) {
    assert!(!takes, "{}", message);
}

/// Fails the compilation where a limit by caller has no caller.
#[track_caller]
pub const fn assert_caller_known(is_caller: bool, message: &str) {
    assert!(is_caller, "{}", message);
}

/// Fails the compilation where a path argument reads another number of parameters than the
/// template names.
#[track_caller]
pub const fn assert_path_parameters(read: Option<usize>, path: &str, name: &str) {
    let named = parameters(path);
    if let Some(read) = read
        && read != named
    {
        let message = Message::new()
            .text("the path ")
            .text(path)
            .text(" of `")
            .text(name)
            .text("` has ")
            .plural(named, "parameter")
            .text(", but this argument reads ")
            .number(read)
            .text(": name each of them in the path, and read each that it names");
        panic!("{}", message.as_str());
    }
}

/// How many parameters a path template names.
const fn parameters(path: &str) -> usize {
    let (bytes, mut index, mut count) = (path.as_bytes(), 0, 0);
    while index < bytes.len() {
        if bytes[index] == b'{' {
            count += 1;
        }
        index += 1;
    }
    count
}
