//! What needs a feature that is off is an error that names the feature.

#[test]
fn a_missing_feature_is_named() {
    trybuild::TestCases::new().compile_fail("fixtures/*.rs");
}
