//! The rejections of axum's extractors as errors of a handler.
//!
//! The pipeline converts the rejection of an argument itself. A handler that calls an extractor, or
//! that takes a `Result<Json<T>, JsonRejection>`, can pass the rejection on with `?`.

use axum::extract::rejection::{
    BytesRejection, ExtensionRejection, JsonRejection, PathRejection, QueryRejection,
    StringRejection,
};
use http::StatusCode;

use crate::problem::{ApiError, Problem, registry};
use crate::request::read;

macro_rules! rejections {
    ($($rejection:ty)*) => {$(
        #[diagnostic::do_not_recommend]
        impl ApiError for $rejection {
            fn problem(&self) -> Problem {
                // An extractor of the body wraps the cause in an axum error.
                read::known_failure(self)
                    .unwrap_or_else(|| problem(self.status(), self.body_text()))
            }
        }
    )*};
}

rejections!(BytesRejection ExtensionRejection JsonRejection PathRejection QueryRejection StringRejection);

#[cfg(feature = "multipart")]
#[diagnostic::do_not_recommend]
impl ApiError for axum::extract::multipart::MultipartError {
    fn problem(&self) -> Problem {
        match self.status() {
            // The body could not be read. Its error is in the chain of sources.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::INTERNAL_SERVER_ERROR => {
                read::failure(self)
            }
            status => problem(status, self.body_text()),
        }
    }
}

#[cfg(feature = "multipart")]
rejections!(axum::extract::multipart::MultipartRejection);

fn problem(status: StatusCode, text: String) -> Problem {
    let problem = Problem::new(&registry::for_status(status.as_u16()));
    if status.is_server_error() {
        problem.with_cause_text(text)
    } else {
        problem.with_detail(text)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::{FromRequest, FromRequestParts, Request};

    use super::*;

    fn request(media: &str, body: &'static str) -> Request {
        let request = Request::put("/?page=x").header("content-type", media);
        request.body(Body::from(body)).expect("a request")
    }

    #[tokio::test]
    async fn f01_a_handler_can_pass_on_the_rejections_of_axum() {
        let json = async |media, body| {
            let read = axum::Json::<u64>::from_request(request(media, body), &());
            read.await.expect_err("not a number").problem()
        };
        assert_eq!(json("application/json", "1 x").await.status(), 400);
        assert_eq!(json("application/json", "\"x\"").await.status(), 422);
        assert_eq!(json("text/plain", "1").await.status(), 415);
        let (mut head, _) = request("text/plain", "").into_parts();
        let query = axum::extract::Query::<Vec<(String, u64)>>::from_request_parts(&mut head, &());
        assert_eq!(
            query.await.expect_err("not a number").problem().status(),
            400
        );
        let extension = axum::Extension::<u64>::from_request_parts(&mut head, &());
        let problem = extension.await.expect_err("no extension").problem();
        assert_eq!(
            (problem.status().as_u16(), problem.code()),
            (500, "INTERNAL")
        );
        assert!(problem.cause().is_some());
    }
}
