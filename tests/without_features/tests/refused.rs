//! Tests that the compiler's error names the feature, if code needs a feature that is off.

#[test]
fn the_error_names_the_missing_feature() {
    trybuild::TestCases::new().compile_fail("fixtures/*.rs");
}
