use super::rate::digits;
use crate::settings;
use crate::start::StartError;

/// The number of instances of the service, which share its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instances(u32);

const VARIABLE: &str = "APLOMB_INSTANCES";

/// The largest accepted number. A larger number is probably a typing mistake.
const MAX_INSTANCES: u32 = 10_000;

impl Instances {
    pub(crate) fn new(count: u32) -> Result<Self, StartError> {
        match count {
            1..=MAX_INSTANCES => Ok(Self(count)),
            _ => Err(StartError::new(format!(
                "Api::instances({count}): expected 1 to {MAX_INSTANCES} instances"
            ))),
        }
    }

    /// Reads the number from the environment; 1 by default.
    pub(crate) fn from_env() -> Result<Self, StartError> {
        settings::variable(VARIABLE)?.map_or(Ok(Self(1)), |text| Self::parse(&text))
    }

    fn parse(text: &str) -> Result<Self, StartError> {
        let count = digits(text).and_then(|count| u32::try_from(count).ok());
        let instances = count.and_then(|count| Self::new(count).ok());
        instances.ok_or_else(|| {
            StartError::variable(
                VARIABLE,
                text,
                format!("expected a whole number from 1 to {MAX_INSTANCES}"),
            )
        })
    }

    pub(crate) fn count(self) -> u64 {
        u64::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b15_the_number_of_instances_is_from_one_to_ten_thousand() {
        assert_eq!(Instances::parse("3"), Ok(Instances(3)));
        assert_eq!(Instances::parse("10000"), Instances::new(MAX_INSTANCES));
        for wrong in [
            "0",
            "10001",
            "-1",
            "+1",
            "1.5",
            "three",
            "99999999999999999999",
        ] {
            let error = Instances::parse(wrong).expect_err(wrong).to_string();
            assert_eq!(
                error,
                format!("APLOMB_INSTANCES=\"{wrong}\": expected a whole number from 1 to 10000")
            );
        }
        let error = Instances::new(0).expect_err("none").to_string();
        assert_eq!(error, "Api::instances(0): expected 1 to 10000 instances");
    }
}
