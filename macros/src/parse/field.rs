//! Names of header fields (RFC 9110 section 5.1).

/// Returns the name in lower case, or an error message.
pub(crate) fn field_name(name: &str) -> Result<String, String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!(
            "\"{name}\" is not a header name: write one such as \"x-region\""
        ));
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_names_become_lower_case_and_other_names_are_errors() {
        assert_eq!(field_name("X-Region_2").as_deref(), Ok("x-region_2"));
        for wrong in ["", "x region", "x:region", "régi", "x\n"] {
            assert!(field_name(wrong).is_err(), "{wrong}");
        }
    }
}
