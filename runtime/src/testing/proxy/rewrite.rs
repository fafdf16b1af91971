/// A replacement of bytes with other bytes of the same length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    from: &'static [u8],
    to: &'static [u8],
}

impl Rule {
    #[track_caller]
    pub(super) fn new(from: &'static [u8], to: &'static [u8]) -> Self {
        assert_eq!(
            from.len(),
            to.len(),
            "the replacement must have the length of the original: replies state their length"
        );
        assert!(!from.is_empty(), "the bytes to replace are empty");
        // Every reply ends with a line break. If the bytes to replace began with a line break, the
        // end of a complete reply could be the start of an occurrence. The proxy would hold back
        // this end until the next reply.
        assert!(
            !from.contains(&b'\n'),
            "the bytes to replace contain a line break"
        );
        Self { from, to }
    }

    /// Replaces all occurrences in `bytes`. Returns the number of bytes at the end that may be the
    /// start of another occurrence.
    fn apply(self, bytes: &mut [u8]) -> usize {
        let mut rest = bytes;
        while let Some(at) = find(rest, self.from) {
            let (replaced, after) = rest[at..].split_at_mut(self.from.len());
            replaced.copy_from_slice(self.to);
            rest = after;
        }
        let is_prefix = |length: &usize| rest.ends_with(&self.from[..*length]);
        (1..self.from.len()).rev().find(is_prefix).unwrap_or(0)
    }
}

/// Replaces bytes in a stream of replies. Also finds occurrences that are split between two chunks.
#[derive(Debug, Default)]
pub(super) struct Rewriter(Vec<u8>);

impl Rewriter {
    /// Adds a chunk, and returns the bytes that can be sent now.
    pub(super) fn feed(&mut self, chunk: &[u8], rule: Option<Rule>) -> Vec<u8> {
        let mut bytes = self.take_held_back();
        bytes.extend(chunk);
        let held_back = rule.map_or(0, |rule| rule.apply(&mut bytes));
        self.0 = bytes.split_off(bytes.len() - held_back);
        bytes
    }

    /// Takes the bytes that were held back, and returns them unchanged.
    pub(super) fn take_held_back(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.0)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[u8] = b"+aab\r\n$7\r\naaabaab\r\n$2\r\naa\r\n";

    #[test]
    fn occurrences_are_replaced_wherever_their_bytes_are_split() {
        let rule = Rule::new(b"aab", b"baa");
        for first in 0..=REPLIES.len() {
            for second in first..=REPLIES.len() {
                let mut rewriter = Rewriter::default();
                let parts = [
                    &REPLIES[..first],
                    &REPLIES[first..second],
                    &REPLIES[second..],
                ];
                let out = parts.map(|part| rewriter.feed(part, Some(rule))).concat();
                assert_eq!(
                    out.escape_ascii().to_string(),
                    r"+baa\r\n$7\r\nabaabaa\r\n$2\r\naa\r\n"
                );
            }
        }
    }

    #[test]
    fn complete_replies_are_not_held_back() {
        let mut rewriter = Rewriter::default();
        let rule = Some(Rule::new(b"OK!", b"NO!"));
        assert_eq!(rewriter.feed(b"+OK\r\n", rule), b"+OK\r\n");
        assert_eq!(rewriter.feed(b"+OK", rule), b"+");
        assert_eq!(rewriter.feed(b"", None), b"OK", "without a rule");
    }

    #[test]
    #[should_panic(expected = "must have the length of the original")]
    fn a_replacement_of_another_length_is_rejected() {
        Rule::new(b"7", b"10");
    }
}
