//! The decisions of idempotency, without any I/O.

use http::StatusCode;

use super::spec::OnCrash;
use crate::clock::Timestamp;
use crate::problem::{Effects, ResponseOrigin};

/// The effect of a finished run on its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The record stores the response, which retries get as a replay.
    Keep,
    /// The record is removed: a retry runs the handler.
    Abort,
    /// The record becomes UNKNOWN: the handler may or may not have had its effect.
    Unknown,
}

/// Decides how a run that produced a response is settled.
///
/// Statuses 408, 425 and 429 ask the client to send the request again, so the record is removed.
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

/// The state of a RUNNING record's lease at a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// The lease has not ended: the run continues.
    Held,
    /// The lease has lapsed, and a retry may run the handler again.
    LapsedRerun,
    /// The lease has lapsed, and the outcome of the run is unknown.
    LapsedUnknown,
}

/// Decides the state of a lease that ends at `lease_until`.
pub(crate) fn lease_state(lease_until: Timestamp, on_crash: OnCrash, now: Timestamp) -> LeaseState {
    match on_crash {
        _ if now < lease_until => LeaseState::Held,
        OnCrash::Rerun => LeaseState::LapsedRerun,
        OnCrash::Unknown => LeaseState::LapsedUnknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a16_a_2xx_3xx_or_4xx_of_the_handler_is_stored() {
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
    fn a16_refusals_and_errors_without_effects_remove_the_record() {
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
    fn a16_the_outcome_of_any_other_5xx_is_unknown() {
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
    fn a14_a_lapsed_lease_allows_a_rerun_only_if_declared() {
        let (early, end) = (Timestamp::from_micros(9), Timestamp::from_micros(10));
        assert_eq!(lease_state(end, OnCrash::Unknown, early), LeaseState::Held);
        assert_eq!(
            lease_state(end, OnCrash::Unknown, end),
            LeaseState::LapsedUnknown
        );
        assert_eq!(
            lease_state(end, OnCrash::Rerun, end),
            LeaseState::LapsedRerun
        );
    }
}
