//! Reads the body of a request. Each kind of failure has its problem.

use core::fmt;

use axum::body::HttpBody as Body;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError};

use super::body_memory::MemoryUsedUp;
use crate::problem::{Problem, registry};

/// Reads the whole body.
pub(crate) async fn read<B>(body: B) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes, Error = axum::Error> + Unpin,
{
    read_whole(body).await.map_err(|error| failure(&error))
}

/// Reads the whole body. Most bodies arrive in one chunk, which is not copied.
pub(crate) async fn read_whole<B>(mut body: B) -> Result<Bytes, axum::Error>
where
    B: Body<Data = Bytes, Error = axum::Error> + Unpin,
{
    let Some(first) = next_chunk(&mut body).await? else {
        return Ok(Bytes::new());
    };
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut chunks = BytesMut::from(first);
    while let Some(next) = next_chunk(&mut body).await? {
        chunks.extend_from_slice(&next);
    }
    Ok(chunks.freeze())
}

/// Returns the next chunk of a body; `None` at its end.
async fn next_chunk<B>(body: &mut B) -> Result<Option<Bytes>, axum::Error>
where
    B: Body<Data = Bytes, Error = axum::Error> + Unpin,
{
    while let Some(frame) = body.frame().await {
        // Trailers are ignored.
        if let Ok(chunk) = frame?.into_data() {
            return Ok(Some(chunk));
        }
    }
    Ok(None)
}

/// Returns the problem for a body that could not be read.
pub(crate) fn failure(error: &(dyn std::error::Error + 'static)) -> Problem {
    known_failure(error).unwrap_or_else(|| incomplete().with_cause(error))
}

/// Returns the problem for a body that was not read to its end because of a limit. The cause is
/// somewhere in the error's chain of sources, because axum and http-body wrap it.
pub(crate) fn known_failure(error: &(dyn std::error::Error + 'static)) -> Option<Problem> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Some(Problem::new(&registry::BODY_TOO_LARGE));
        }
        if error.is::<Stalled>() {
            return Some(Problem::new(&registry::REQUEST_TIMEOUT));
        }
        if error.is::<MemoryUsedUp>() {
            return Some(Problem::overloaded());
        }
        cause = error.source();
    }
    None
}

/// Returns the problem for a body that ended early.
pub(crate) fn incomplete() -> Problem {
    Problem::new(&registry::BODY_INCOMPLETE)
        .with_detail("the body ended before its announced length, or its framing is invalid")
}

/// The error for a body whose client sent nothing until the read deadline.
#[derive(Debug)]
pub(crate) struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client stopped sending the body")
    }
}

impl std::error::Error for Stalled {}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};
    use http::HeaderMap;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn read(frames: Vec<Result<Frame<Bytes>, axum::Error>>) -> Result<Bytes, axum::Error> {
        read_whole(StreamBody::new(stream::iter(frames)))
            .now_or_never()
            .expect("frames that are ready")
    }

    #[test]
    fn all_chunks_of_a_body_are_read() {
        let chunk = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
        let trailers = || Ok(Frame::trailers(HeaderMap::new()));
        assert_eq!(read(vec![]).expect("a body"), "");
        assert_eq!(read(vec![chunk("one")]).expect("a body"), "one");
        assert_eq!(
            read(vec![trailers(), chunk("one"), chunk(""), chunk("two")]).expect("a body"),
            "onetwo"
        );
        assert_eq!(read(vec![chunk("one"), trailers()]).expect("a body"), "one");
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let chunk = || Ok(Frame::data(Bytes::from_static(b"one")));
        let broken = || Err(axum::Error::new("gone"));
        assert!(read(vec![broken()]).is_err() && read(vec![chunk(), broken()]).is_err());
    }

    #[test]
    fn a_body_is_not_polled_after_its_end() {
        for chunks in [&[][..], &["one"], &["one", "two"]] {
            let mut chunks = chunks.iter();
            // Like many streams, this one panics if it is polled after its end.
            let body = stream::unfold((), move |()| {
                let next = chunks
                    .next()
                    .map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes()))));
                core::future::ready(next.map(|frame| (frame, ())))
            });
            let body = read_whole(StreamBody::new(Box::pin(body)))
                .now_or_never()
                .expect("frames that are ready");
            assert!(body.is_ok());
        }
    }
}
