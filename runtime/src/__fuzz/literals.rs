use core::time::Duration;

use crate::policies::rate_limit::{Overrides, Quota, Rate, RateLimitSpec};
use crate::spec::{EndpointSpec, Method};

/// The parser of the attribute's literals. Its file belongs to the crate of the macros.
#[path = "../../../macros/src/parse/units.rs"]
pub(crate) mod units;

const LIMIT: RateLimitSpec = RateLimitSpec::new(100, Duration::from_mins(1)).with_name("limit");
const ENDPOINT: EndpointSpec =
    EndpointSpec::new(Method::Get, "/", "endpoint").with_rate_limits(&[LIMIT]);

/// Checks the parsers of literals. Each parser must accept the text or return a message. The
/// attribute and the environment must accept the same rates, and every accepted rate must be a
/// valid quota.
pub fn literals(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let (attribute, environment) = (units::rate(text), Rate::parse(text));
    match (&attribute, &environment) {
        (Ok(attribute), Ok(environment)) => {
            assert_eq!(
                (attribute.permits, attribute.period),
                (environment.permits, environment.period)
            );
            assert!(attribute.permits > 0 && attribute.period >= Duration::from_secs(1));
            assert!(Quota::new(attribute.permits, attribute.period, 1).is_some());
        }
        (Err(attribute), Err(environment)) => {
            assert!(!attribute.is_empty() && !environment.is_empty());
        }
        _ => panic!(
            "{text:?} is {attribute:?} in an attribute, but {environment:?} in the environment"
        ),
    }
    for override_ in [
        text.to_owned(),
        format!("limit={text}"),
        format!("limit=5/s:burst={text}"),
    ] {
        if let Ok(overrides) = Overrides::parse(&override_, &[&ENDPOINT]) {
            assert!(
                Quota::of(&overrides.apply(&LIMIT)).is_some(),
                "{override_:?} is accepted, but is not a valid quota"
            );
        }
    }
    assert!(
        units::duration(text).is_ok_and(|duration| !duration.is_zero())
            || units::duration(text).is_err()
    );
    assert!(
        units::size(text).is_err_and(|message| !message.is_empty()) || units::size(text).is_ok()
    );
}
