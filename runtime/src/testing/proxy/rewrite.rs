/// Bytes, and as many that take their place.
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
            "replies are of a stated length, which must stay"
        );
        assert!(!from.is_empty(), "there is nothing to replace");
        // Otherwise the end of a whole reply could be taken for the begin, and kept until the next.
        assert!(!from.contains(&b'\n'), "a line break cannot be replaced");
        Self { from, to }
    }

    /// Replaces in place; returns how many bytes at the end may become an occurrence.
    fn apply(self, bytes: &mut [u8]) -> usize {
        let mut rest = bytes;
        while let Some(at) = find(rest, self.from) {
            let (replaced, behind) = rest[at..].split_at_mut(self.from.len());
            replaced.copy_from_slice(self.to);
            rest = behind;
        }
        let begins = |length: &usize| rest.ends_with(&self.from[..*length]);
        (1..self.from.len()).rev().find(begins).unwrap_or(0)
    }
}

/// Replaces over the borders of what arrives together.
#[derive(Debug, Default)]
pub(super) struct Rewriter(Vec<u8>);

impl Rewriter {
    /// What can go on of the bytes so far.
    pub(super) fn feed(&mut self, chunk: &[u8], rule: Option<Rule>) -> Vec<u8> {
        let mut bytes = self.rest();
        bytes.extend(chunk);
        let kept = rule.map_or(0, |rule| rule.apply(&mut bytes));
        self.0 = bytes.split_off(bytes.len() - kept);
        bytes
    }

    /// What was kept.
    pub(super) fn rest(&mut self) -> Vec<u8> {
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
    fn every_split_gives_the_same() {
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
    fn whole_replies_are_not_kept_back() {
        let mut rewriter = Rewriter::default();
        let rule = Some(Rule::new(b"OK!", b"NO!"));
        assert_eq!(rewriter.feed(b"+OK\r\n", rule), b"+OK\r\n");
        assert_eq!(rewriter.feed(b"+OK", rule), b"+");
        assert_eq!(rewriter.feed(b"", None), b"OK", "once the rule is gone");
    }

    #[test]
    #[should_panic(expected = "must stay")]
    fn another_length_is_refused() {
        Rule::new(b"7", b"10");
    }
}
