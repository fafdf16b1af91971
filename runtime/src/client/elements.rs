//! The elements of lists, from the right: what a trusted proxy has appended is told from what stood
//! there before without a look at that.

/// Bytes that are looked at, from the right, of all lines together.
pub(super) const BYTES: usize = 8 << 10;

/// The elements of these lines, the last line first, without empty ones and the white space around
/// them. In `quoted` lists a comma within a quoted string ends no element.
pub(super) fn elements<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    quoted: bool,
) -> impl Iterator<Item = &'a [u8]> {
    let all = Elements {
        lines,
        line: None,
        left: BYTES,
        quoted,
    };
    all.map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

struct Elements<'a, L> {
    lines: L,
    /// What is left of the line that was begun.
    line: Option<&'a [u8]>,
    /// Bytes that may still be looked at.
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
            let whole = seen.len() == line.len();
            self.left = if whole { self.left - line.len() } else { 0 };
            // An element that is cut is no element.
            return whole.then_some(line);
        };
        let element = &seen[comma + 1..];
        self.left -= element.len() + 1;
        self.line = Some(&line[..line.len() - element.len() - 1]);
        Some(element)
    }
}

/// The last comma outside of quoted strings. A quote behind an odd number of backslashes is escaped
/// (RFC 9110 §5.6.4).
fn unquoted_comma(bytes: &[u8]) -> Option<usize> {
    let mut within = false;
    for (at, byte) in bytes.iter().enumerate().rev() {
        match byte {
            b',' if !within => return Some(at),
            b'"' if !within || !is_escaped(&bytes[..at]) => within = !within,
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
