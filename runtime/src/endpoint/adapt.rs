//! Converts a request to the arguments of a function, and the result of the function to a response.
//!
//! One generic function, [`adapt`], serves every endpoint. The macro emits a call to this function
//! instead of an async block, because an async block for each endpoint takes much longer to
//! compile.

use core::future::Future;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::request::{EndpointResponse, Incoming, ResponseFuture, ResponseOrigin};

/// The marker of an argument that is taken from the request's head.
#[derive(Debug)]
pub enum InHead {}

/// The marker of an argument that is taken from the whole request.
#[derive(Debug)]
pub enum InBody {}

/// An argument that is not the last one: an extractor of the request's head.
pub trait HeadArg<S, M>: Sized {
    /// Takes the argument from the head.
    fn take(parts: &mut Parts, state: &S) -> impl Future<Output = Result<Self, Response>> + Send;
}

impl<S, T> HeadArg<S, InHead> for T
where
    S: Send + Sync,
    T: FromRequestParts<S> + Send,
{
    async fn take(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        T::from_request_parts(parts, state)
            .await
            .map_err(IntoResponse::into_response)
    }
}

/// The last argument: an extractor of the head or of the whole request.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from a request",
    label = "an argument of this endpoint is not an extractor",
    note = "data from the body is `Json<T>`, from the query `Query<T>`, from the path `Path<T>`",
    note = "`State<T>` needs `FromRef<S>` for `T`, or `Clone` if `T` is the state `S` of the API",
    note = "an extractor implements `FromRequestParts<S>`, or `FromRequest<S>` if it reads the body"
)]
pub trait LastArg<S, M>: Sized {
    /// Set if the argument reads the body.
    const READS_BODY: bool;

    /// Takes the argument from the whole request.
    fn take(
        incoming: &mut Incoming,
        state: &S,
    ) -> impl Future<Output = Result<Self, Response>> + Send;
}

impl<S, T> LastArg<S, InHead> for T
where
    S: Send + Sync,
    T: FromRequestParts<S> + Send,
{
    const READS_BODY: bool = false;

    async fn take(incoming: &mut Incoming, state: &S) -> Result<Self, Response> {
        T::from_request_parts(incoming.head(), state)
            .await
            .map_err(IntoResponse::into_response)
    }
}

impl<S, T> LastArg<S, InBody> for T
where
    S: Send + Sync,
    T: FromRequest<S> + Send,
{
    const READS_BODY: bool = true;

    async fn take(incoming: &mut Incoming, state: &S) -> Result<Self, Response> {
        T::from_request(incoming.take_request(), state)
            .await
            .map_err(IntoResponse::into_response)
    }
}

/// The last argument of a `GET` endpoint, whose requests have no body. The `Request` itself is
/// allowed, because a handler can take it without reading its body.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from a GET request",
    label = "an argument of this endpoint is not an extractor of the request's head",
    note = "data from the query is `Query<T>`, from the path `Path<T>`",
    note = "an extractor of a GET implements `FromRequestParts<S>`"
)]
pub trait BodylessArg<S, M>: LastArg<S, M> {}

impl<S, T> BodylessArg<S, InHead> for T
where
    S: Send + Sync,
    T: FromRequestParts<S> + Send,
{
}

#[diagnostic::do_not_recommend]
impl<S: Send + Sync> BodylessArg<S, InBody> for Request {}

/// The arguments of a function, as a tuple.
pub trait Args<S, M>: Sized {
    /// Takes all arguments, in their order. If an argument fails, the request is refused, and no
    /// further argument is taken.
    fn take(
        incoming: &mut Incoming,
        state: &S,
    ) -> impl Future<Output = Result<Self, Response>> + Send;
}

impl<S: Send + Sync> Args<S, ()> for () {
    async fn take(_: &mut Incoming, _: &S) -> Result<Self, Response> {
        Ok(())
    }
}

macro_rules! args {
    ($($head:ident $marker:ident),*; $last:ident $last_marker:ident) => {
        #[allow(non_snake_case, unused_mut)]
        impl<S, $($head, $marker,)* $last, $last_marker> Args<S, ($($marker,)* $last_marker,)> for ($($head,)* $last,)
        where
            S: Send + Sync,
            $($head: HeadArg<S, $marker> + Send,)*
            $last: LastArg<S, $last_marker> + Send,
        {
            async fn take(incoming: &mut Incoming, state: &S) -> Result<Self, Response> {
                $(let $head = $head::take(incoming.head(), state).await?;)*
                let $last = $last::take(incoming, state).await?;
                Ok(($($head,)* $last,))
            }
        }
    };
}

args!(; A0 M0);
args!(A0 M0; A1 M1);
args!(A0 M0, A1 M1; A2 M2);
args!(A0 M0, A1 M1, A2 M2; A3 M3);
args!(A0 M0, A1 M1, A2 M2, A3 M3; A4 M4);
args!(A0 M0, A1 M1, A2 M2, A3 M3, A4 M4; A5 M5);
args!(A0 M0, A1 M1, A2 M2, A3 M3, A4 M4, A5 M5; A6 M6);
args!(A0 M0, A1 M1, A2 M2, A3 M3, A4 M4, A5 M5, A6 M6; A7 M7);
args!(A0 M0, A1 M1, A2 M2, A3 M3, A4 M4, A5 M5, A6 M6, A7 M7; A8 M8);
args!(A0 M0, A1 M1, A2 M2, A3 M3, A4 M4, A5 M5, A6 M6, A7 M7, A8 M8; A9 M9);
args!(A0 M0, A1 M1, A2 M2, A3 M3, A4 M4, A5 M5, A6 M6, A7 M7, A8 M8, A9 M9; A10 M10);
args!(A0 M0, A1 M1, A2 M2, A3 M3, A4 M4, A5 M5, A6 M6, A7 M7, A8 M8, A9 M9, A10 M10; A11 M11);
args!(A0 M0, A1 M1, A2 M2, A3 M3, A4 M4, A5 M5, A6 M6, A7 M7, A8 M8, A9 M9, A10 M10, A11 M11; A12 M12);
args!(A0 M0, A1 M1, A2 M2, A3 M3, A4 M4, A5 M5, A6 M6, A7 M7, A8 M8, A9 M9, A10 M10, A11 M11, A12 M12; A13 M13);
args!(A0 M0, A1 M1, A2 M2, A3 M3, A4 M4, A5 M5, A6 M6, A7 M7, A8 M8, A9 M9, A10 M10, A11 M11, A12 M12, A13 M13; A14 M14);
args!(A0 M0, A1 M1, A2 M2, A3 M3, A4 M4, A5 M5, A6 M6, A7 M7, A8 M8, A9 M9, A10 M10, A11 M11, A12 M12, A13 M13, A14 M14; A15 M15);

/// The result of a handler: any type that implements axum's `IntoResponse`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a response",
    label = "an endpoint cannot return this",
    note = "return something that implements `IntoResponse`, or a `Result` of two such types; an error enum gets it from `#[derive(ApiError)]`",
    note = "what `Json` holds must implement `serde::Serialize`"
)]
pub trait Respond {
    /// Makes the response.
    fn respond(self) -> Response;
}

#[diagnostic::do_not_recommend]
impl<T: IntoResponse> Respond for T {
    fn respond(self) -> Response {
        self.into_response()
    }
}

/// Makes the response from the result of a handler.
pub fn respond<T: Respond>(result: T) -> Response {
    result.respond()
}

/// Returns the future of one request's extractors and handler. The request is passed by reference
/// up to here, because it is large and each pass by value would copy it.
pub fn adapt<A, S, M, F, Fut, R>(
    state: S,
    incoming: &mut Incoming,
    handler: F,
    respond: fn(R) -> Response,
) -> ResponseFuture
where
    A: Args<S, M> + Send + 'static,
    S: Send + Sync + 'static,
    M: 'static,
    F: FnOnce(A) -> Fut + Send + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: 'static,
{
    let mut incoming = incoming.take();
    Box::pin(async move {
        match A::take(&mut incoming, &state).await {
            Err(response) => EndpointResponse {
                response,
                origin: ResponseOrigin::Refused,
            },
            Ok(arguments) => EndpointResponse {
                response: respond(handler(arguments).await),
                origin: ResponseOrigin::Handler,
            },
        }
    })
}
