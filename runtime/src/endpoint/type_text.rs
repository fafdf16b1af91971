//! The text of types, which compile-time messages quote.

use super::message::Message;

/// The text of a type, such as `Result<Json<User>, Failed>`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TypeText<'a>(pub(super) &'a str);

impl<'a> TypeText<'a> {
    /// Returns `true` if the last name of the path is `name`, such as `Json` in
    /// `aplomb::Json<User>`.
    pub(super) const fn is_named(self, name: &str) -> bool {
        let (text, name) = (self.0.as_bytes(), name.as_bytes());
        let mut end = 0;
        while end < text.len() && text[end] != b'<' {
            if matches!(text[end], b'(' | b'[' | b'&' | b'*') {
                return false;
            }
            end += 1;
        }
        while end > 0 && text[end - 1] == b' ' {
            end -= 1;
        }
        if end < name.len() || end > name.len() && is_name(text[end - name.len() - 1]) {
            return false;
        }
        let mut index = 0;
        while index < name.len() {
            if text[end - name.len() + index] != name[index] {
                return false;
            }
            index += 1;
        }
        true
    }

    /// Returns `false` for a tuple, a slice, a reference and a primitive type. No trait can be
    /// derived for these types.
    pub(super) const fn is_declared(self) -> bool {
        let text = self.0.as_bytes();
        let mut last_name = 0;
        let mut index = 0;
        while index < text.len() && text[index] != b'<' {
            if matches!(text[index], b'(' | b'[' | b'&' | b'*') {
                return false;
            }
            if text[index] == b':' || text[index] == b' ' {
                last_name = index + 1;
            }
            index += 1;
        }
        last_name < text.len() && text[last_name].is_ascii_uppercase()
    }

    /// Returns the parameter at the index `wanted` between the outermost angle brackets.
    pub(super) const fn parameter(self, wanted: usize) -> Option<Self> {
        let text = self.0.as_bytes();
        let (mut depth, mut position, mut start, mut index) = (0_usize, 0, 0, 0);
        while index < text.len() {
            match text[index] {
                b'<' | b'(' | b'[' => {
                    depth += 1;
                    if depth == 1 {
                        if text[index] != b'<' {
                            return None;
                        }
                        start = index + 1;
                    }
                }
                b'>' if index > 0 && text[index - 1] == b'-' => {}
                b'>' | b')' | b']' if depth == 1 => {
                    return if position == wanted {
                        Some(self.slice(start, index))
                    } else {
                        None
                    };
                }
                b'>' | b')' | b']' => depth = depth.saturating_sub(1),
                b',' if depth == 1 => {
                    if position == wanted {
                        return Some(self.slice(start, index));
                    }
                    position += 1;
                    start = index + 1;
                }
                _ => {}
            }
            index += 1;
        }
        None
    }

    const fn slice(self, start: usize, end: usize) -> TypeText<'a> {
        TypeText(self.0.split_at(end).0.split_at(start).1.trim_ascii())
    }

    /// Adds the text to a message. Spaces are written as by `rustfmt`: after a comma and between
    /// two words.
    pub(super) const fn write(self, mut message: Message) -> Message {
        let text = self.0.as_bytes();
        let mut index = 0;
        while index < text.len() {
            let is_space = text[index] == b' ' && index > 0 && index + 1 < text.len();
            let is_needed = is_space
                && (text[index - 1] == b','
                    || is_name(text[index - 1]) && is_name_or_quote(text[index + 1]));
            if !is_space || is_needed {
                let mut end = index + 1;
                while end < text.len() && text[end] != b' ' {
                    end += 1;
                }
                message = message.text(self.0.split_at(end).0.split_at(index).1);
                index = end;
            } else {
                index += 1;
            }
        }
        message
    }
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

const fn is_name_or_quote(byte: u8) -> bool {
    is_name(byte) || byte == b'\''
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ty: &str) -> String {
        TypeText(ty).write(Message::new()).as_str().to_owned()
    }

    #[test]
    fn the_last_name_of_a_path_is_found() {
        for ty in [
            "Json<User>",
            "aplomb::Json<User>",
            "aplomb :: Json < User >",
            "Json",
        ] {
            assert!(TypeText(ty).is_named("Json"), "{ty}");
        }
        for ty in [
            "MyJson<User>",
            "Json_<User>",
            "Vec<Json<User>>",
            "son",
            "(Json<User>,)",
        ] {
            assert!(!TypeText(ty).is_named("Json"), "{ty}");
        }
    }

    #[test]
    fn is_declared_is_true_only_for_a_named_type() {
        for ty in ["Order", "shop::Order<'_>", "shop :: Order"] {
            assert!(TypeText(ty).is_declared(), "{ty}");
        }
        for ty in ["u64", "(u64, Order)", "&'a str", "[Order]", ""] {
            assert!(!TypeText(ty).is_declared(), "{ty}");
        }
    }

    #[test]
    fn parameters_are_separated_at_the_outermost_commas() {
        let ty = TypeText("Result<Json<HashMap<String, (u8, fn(u8) -> u8)>>, [Failed; 2]>");
        let parameter = |index| ty.parameter(index).map(|ty| ty.0);
        assert_eq!(
            parameter(0),
            Some("Json<HashMap<String, (u8, fn(u8) -> u8)>>")
        );
        assert_eq!(parameter(1), Some("[Failed; 2]"));
        assert_eq!(parameter(2), None);
        assert_eq!(TypeText("u64").parameter(0).map(|ty| ty.0), None);
        assert_eq!(TypeText("(A<B>, C)").parameter(0).map(|ty| ty.0), None);
    }

    #[test]
    fn spaces_are_written_as_by_rustfmt() {
        assert_eq!(text("a :: B < C , D >"), "a::B<C, D>");
        assert_eq!(text("& 'static str"), "&'static str");
        assert_eq!(text("Box < dyn Fn (u8) >"), "Box<dyn Fn(u8)>");
        assert_eq!(text("Json<User>"), "Json<User>");
    }
}
