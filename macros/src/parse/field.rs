//! Names of header fields.

/// The name in lower case, or what is wrong with it.
pub(crate) fn field_name(name: &str) -> Result<String, String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!(
            "\"{name}\" is no name of a field: write one such as \"x-region\""
        ));
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_in_lower_case() {
        assert_eq!(field_name("X-Region_2").as_deref(), Ok("x-region_2"));
        for wrong in ["", "x region", "x:region", "régi", "x\n"] {
            assert!(field_name(wrong).is_err(), "{wrong}");
        }
    }
}
