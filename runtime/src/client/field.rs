use http::HeaderName;
use http::header::FORWARDED;

use crate::settings;
use crate::start::StartError;

/// The field in which [trusted proxies](crate::Api::trusted_proxies) send the address of their
/// client. No other field is read: a proxy forwards all other fields unchanged, so a client can
/// forge them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ForwardedField {
    /// `X-Forwarded-For`: a list of addresses, to which most proxies append.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239): only its `for=` parameter is read.
    Forwarded,
}

const VARIABLE: &str = "APLOMB_FORWARDED_FIELD";

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl ForwardedField {
    /// Reads the setting from the environment. The default is `X-Forwarded-For`.
    pub(crate) fn from_env() -> Result<Self, StartError> {
        settings::variable(VARIABLE)?.map_or(Ok(Self::default()), |text| Self::parse(&text))
    }

    fn parse(text: &str) -> Result<Self, StartError> {
        let all = [Self::XForwardedFor, Self::Forwarded];
        let named = all
            .into_iter()
            .find(|field| text.eq_ignore_ascii_case(field.name().as_str()));
        named.ok_or_else(|| {
            StartError::variable(VARIABLE, text, "expected x-forwarded-for or forwarded")
        })
    }

    pub(super) fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => X_FORWARDED_FOR,
            Self::Forwarded => FORWARDED,
        }
    }

    /// Returns whether the elements of the field can have quoted strings.
    pub(super) fn has_quoting(self) -> bool {
        self == Self::Forwarded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b10_the_field_is_x_forwarded_for_or_forwarded() {
        assert_eq!(
            ForwardedField::parse("Forwarded"),
            Ok(ForwardedField::Forwarded)
        );
        assert_eq!(
            ForwardedField::parse("X-Forwarded-For"),
            Ok(ForwardedField::XForwardedFor)
        );
        for wrong in [
            "x-real-ip",
            "forwarded,x-forwarded-for",
            " forwarded",
            "both",
        ] {
            let error = ForwardedField::parse(wrong).expect_err(wrong).to_string();
            let expected = format!(
                "APLOMB_FORWARDED_FIELD=\"{wrong}\": expected x-forwarded-for or forwarded"
            );
            assert_eq!(error, expected);
        }
    }
}
