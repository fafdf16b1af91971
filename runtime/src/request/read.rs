//! Reading a request's body, with the problem that each way of failing is.

use core::fmt;

use axum::body::HttpBody as Body;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError};

use crate::problem::{Problem, registry};

/// Reads the whole body of a request.
pub(crate) async fn read<B>(body: B) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes, Error = axum::Error> + Unpin,
{
    whole(body).await.map_err(|error| failure(&error))
}

/// All of a body. Most come in one piece, which is not copied.
pub(crate) async fn whole<B>(mut body: B) -> Result<Bytes, axum::Error>
where
    B: Body<Data = Bytes, Error = axum::Error> + Unpin,
{
    let Some(first) = piece(&mut body).await? else {
        return Ok(Bytes::new());
    };
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut pieces = BytesMut::from(first);
    while let Some(next) = piece(&mut body).await? {
        pieces.extend_from_slice(&next);
    }
    Ok(pieces.freeze())
}

/// The next piece of a body; `None` at its end.
async fn piece<B>(body: &mut B) -> Result<Option<Bytes>, axum::Error>
where
    B: Body<Data = Bytes, Error = axum::Error> + Unpin,
{
    while let Some(frame) = body.frame().await {
        // Trailers are not read.
        if let Ok(piece) = frame?.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

/// The problem that a failure to read is.
pub(crate) fn failure(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Problem::new(&registry::BODY_TOO_LARGE);
        }
        if error.is::<Stalled>() {
            return Problem::new(&registry::REQUEST_TIMEOUT);
        }
        cause = error.source();
    }
    incomplete().with_cause(error)
}

/// The problem of a body that broke off.
pub(crate) fn incomplete() -> Problem {
    Problem::new(&registry::BODY_INCOMPLETE)
        .with_detail("the body ended early, or its framing is wrong")
}

/// A body of which nothing more came.
#[derive(Debug)]
pub(crate) struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body stopped coming")
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
        whole(StreamBody::new(stream::iter(frames)))
            .now_or_never()
            .expect("frames that are there")
    }

    #[test]
    fn a_body_is_all_its_pieces() {
        let piece = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
        let trailers = || Ok(Frame::trailers(HeaderMap::new()));
        assert_eq!(read(vec![]).expect("a body"), "");
        assert_eq!(read(vec![piece("one")]).expect("a body"), "one");
        assert_eq!(
            read(vec![trailers(), piece("one"), piece(""), piece("two")]).expect("a body"),
            "onetwo"
        );
        assert_eq!(read(vec![piece("one"), trailers()]).expect("a body"), "one");
    }

    #[test]
    fn a_body_that_breaks_off_is_none() {
        let piece = || Ok(Frame::data(Bytes::from_static(b"one")));
        let broken = || Err(axum::Error::new("gone"));
        assert!(read(vec![broken()]).is_err() && read(vec![piece(), broken()]).is_err());
    }

    #[test]
    fn a_body_is_not_read_behind_its_end() {
        for pieces in [&[][..], &["one"], &["one", "two"]] {
            let mut pieces = pieces.iter();
            // Like many streams, this one panics if it is asked again.
            let body = stream::unfold((), move |()| {
                let next = pieces
                    .next()
                    .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
                core::future::ready(next.map(|frame| (frame, ())))
            });
            let body = whole(StreamBody::new(Box::pin(body)))
                .now_or_never()
                .expect("frames that are there");
            assert!(body.is_ok());
        }
    }
}
