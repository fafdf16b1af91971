//! Messages that are built in constant evaluation, where `format!` is not available.

/// A text of bounded length. A part that does not fit is left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    bytes: [u8; CAPACITY],
    length: usize,
}

/// The longest message in bytes: room for two endpoints with long paths, a file and the sentence
/// around them.
const CAPACITY: usize = 1024;

impl Message {
    /// Returns the empty text.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; CAPACITY],
            length: 0,
        }
    }

    /// Appends a text as a whole, or nothing if it does not fit.
    pub(crate) const fn text(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        if self.length + bytes.len() > CAPACITY {
            return self;
        }
        let mut index = 0;
        while index < bytes.len() {
            self.bytes[self.length] = bytes[index];
            self.length += 1;
            index += 1;
        }
        self
    }

    /// Appends a number in decimal.
    pub(crate) const fn number(self, number: usize) -> Self {
        const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        let leading = if number >= 10 {
            self.number(number / 10)
        } else {
            self
        };
        leading.text(DIGITS[number % 10])
    }

    /// Appends a number and a noun, in the plural unless the number is 1. 0 becomes `no`.
    pub(crate) const fn count(self, number: usize, noun: &str) -> Self {
        let counted = if number == 0 {
            self.text("no ")
        } else {
            self.number(number).text(" ")
        }
        .text(noun);
        if number == 1 {
            counted
        } else {
            counted.text("s")
        }
    }

    /// Returns the text so far.
    pub(crate) const fn as_str(&self) -> &str {
        match core::str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_counts_are_appended() {
        const MESSAGE: Message = Message::new()
            .count(1, "name")
            .text(", ")
            .count(120, "name");
        assert_eq!(MESSAGE.as_str(), "1 name, 120 names");
    }

    #[test]
    fn a_text_that_does_not_fit_is_left_out() {
        let long = "é".repeat(300);
        let message = Message::new().text(&long).text(&long).text("end");
        assert_eq!(message.as_str(), format!("{long}end"));
    }
}
