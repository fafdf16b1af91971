//! The decisions of idempotency, without any I/O.

use http::StatusCode;

use super::spec::OnCrash;
use crate::clock::Timestamp;
use crate::problem::{Effects, ResponseOrigin};

/// How a run is settled with its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The response is kept and replayed.
    Keep,
    /// The key is free again.
    Abort,
    /// Nobody knows what happened.
    Unknown,
}

/// How a run is settled that came to an answer.
pub(crate) fn settle(origin: ResponseOrigin, status: StatusCode, effects: Effects) -> Settlement {
    if origin == ResponseOrigin::Refused || effects == Effects::None {
        return Settlement::Abort;
    }
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Settlement::Abort
        }
        status if status.is_server_error() => Settlement::Unknown,
        _ => Settlement::Keep,
    }
}

/// What a RUNNING record is, seen at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtherRun {
    /// Its run goes on.
    Held,
    /// Its run is gone, and it may run again.
    Rerun,
    /// Its run is gone, and nobody knows its outcome.
    Unknown,
}

/// Whether a lease still holds.
pub(crate) fn other_run(lease_until: Timestamp, on_crash: OnCrash, now: Timestamp) -> OtherRun {
    match on_crash {
        _ if now < lease_until => OtherRun::Held,
        OnCrash::Rerun => OtherRun::Rerun,
        OnCrash::Unknown => OtherRun::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a16_what_the_handler_answered_is_kept() {
        for status in [200, 201, 204, 303, 400, 404, 409, 422] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(
                settle(ResponseOrigin::Handler, status, Effects::Unknown),
                Settlement::Keep,
                "{status}"
            );
        }
    }

    #[test]
    fn a16_refusals_and_answers_without_effects_free_the_key() {
        let conflict = StatusCode::CONFLICT;
        assert_eq!(
            settle(ResponseOrigin::Refused, conflict, Effects::Unknown),
            Settlement::Abort
        );
        assert_eq!(
            settle(
                ResponseOrigin::Handler,
                StatusCode::SERVICE_UNAVAILABLE,
                Effects::None
            ),
            Settlement::Abort
        );
        for status in [408, 425, 429] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(
                settle(ResponseOrigin::Handler, status, Effects::Unknown),
                Settlement::Abort,
                "{status}"
            );
        }
    }

    #[test]
    fn a16_any_other_5xx_is_unknown() {
        for status in [500, 502, 503, 504] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(
                settle(ResponseOrigin::Handler, status, Effects::Unknown),
                Settlement::Unknown,
                "{status}"
            );
        }
    }

    #[test]
    fn a14_a_lapsed_lease_reruns_only_where_declared() {
        let (early, end) = (Timestamp::from_micros(9), Timestamp::from_micros(10));
        assert_eq!(other_run(end, OnCrash::Unknown, early), OtherRun::Held);
        assert_eq!(other_run(end, OnCrash::Unknown, end), OtherRun::Unknown);
        assert_eq!(other_run(end, OnCrash::Rerun, end), OtherRun::Rerun);
    }
}
