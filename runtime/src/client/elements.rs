//! Iterates over the elements of a list field from the right. A trusted proxy appends its elements
//! on the right, so they are found without reading the elements further left. A client may have
//! invented the elements further left.

/// The maximum number of bytes that are read from all lines together, from the right. Real fields
/// are far shorter.
pub(super) const MAX_BYTES: usize = 8 << 10;

/// Returns the elements of these lines from right to left, beginning with the last line. Elements
/// are trimmed, and empty elements are left out. If `quoted` is `true`, a comma in a quoted string
/// does not end an element.
pub(super) fn elements<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    quoted: bool,
) -> impl Iterator<Item = &'a [u8]> {
    let elements = Elements {
        lines,
        line: None,
        left: MAX_BYTES,
        quoted,
    };
    elements
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

struct Elements<'a, L> {
    lines: L,
    /// The unread rest of the current line.
    line: Option<&'a [u8]>,
    /// The number of bytes that may still be read.
    left: usize,
    quoted: bool,
}

impl<'a, L: Iterator<Item = &'a [u8]>> Iterator for Elements<'a, L> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.line.take().or_else(|| self.lines.next())?;
        let seen = &line[line.len().saturating_sub(self.left)..];
        let comma = if self.quoted {
            unquoted_comma(seen)
        } else {
            seen.iter().rposition(|byte| *byte == b',')
        };
        let Some(comma) = comma else {
            let is_complete = seen.len() == line.len();
            self.left = if is_complete {
                self.left - line.len()
            } else {
                0
            };
            // The first element of a truncated line may be incomplete, so it is ignored.
            return is_complete.then_some(line);
        };
        let element = &seen[comma + 1..];
        self.left -= element.len() + 1;
        self.line = Some(&line[..line.len() - element.len() - 1]);
        Some(element)
    }
}

/// Returns the position of the last comma outside of quoted strings. A quote after an odd number of
/// backslashes is escaped (RFC 9110 §5.6.4).
fn unquoted_comma(bytes: &[u8]) -> Option<usize> {
    let mut is_quoted = false;
    for (at, byte) in bytes.iter().enumerate().rev() {
        match byte {
            b',' if !is_quoted => return Some(at),
            b'"' if !is_quoted || !is_escaped(&bytes[..at]) => is_quoted = !is_quoted,
            _ => {}
        }
    }
    None
}

fn is_escaped(before: &[u8]) -> bool {
    before
        .iter()
        .rev()
        .take_while(|byte| **byte == b'\\')
        .count()
        % 2
        == 1
}
