use core::mem::take;
use std::collections::HashMap;

/// The numbers of connections and commands that went through a proxy.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) connections: u64,
    /// The number of commands by name, in upper case.
    by_name: HashMap<String, u64>,
}

impl Counts {
    pub(super) fn count(&mut self, name: &str) {
        *self.by_name.entry(name.to_ascii_uppercase()).or_default() += 1;
    }

    pub(super) fn requests(&self) -> u64 {
        self.by_name.values().sum()
    }

    pub(super) fn requests_named(&self, name: &str) -> u64 {
        self.by_name
            .get(&name.to_ascii_uppercase())
            .copied()
            .unwrap_or(0)
    }
}

/// An incremental parser of the commands that a client sends, in the Redis protocol: arrays of bulk
/// strings, or lines of words ("inline commands"). Other bytes are skipped.
#[derive(Debug, Default)]
pub(super) struct CommandParser {
    /// The number of arguments of the current command that are not read yet.
    remaining_arguments: usize,
    /// The number of unread bytes of the current argument and its line end. It is zero while the
    /// parser reads a line.
    remaining_bytes: usize,
    /// The bytes of the current line, or of the name of the command, that were read so far.
    buffer: Vec<u8>,
    name: Option<String>,
}

impl CommandParser {
    /// Reads the next bytes, and calls `completed` with the name of each command that they
    /// complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut completed: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let (taken, name) = match self.remaining_bytes {
                0 => self.feed_line(bytes),
                _ => self.feed_argument(bytes),
            };
            if let Some(name) = name {
                completed(&name);
            }
            bytes = &bytes[taken..];
        }
    }

    /// Reads up to the end of a line. Returns the number of bytes read, and the name of the command
    /// if the command is complete.
    fn feed_line(&mut self, bytes: &[u8]) -> (usize, Option<String>) {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        self.buffer.extend(&bytes[..taken]);
        let line = end.map(|_| text(&take(&mut self.buffer)));
        (
            taken,
            line.and_then(|line| self.complete_line(line.trim_ascii())),
        )
    }

    /// Interprets a line. It contains the number of arguments, the length of the next argument, or
    /// an inline command.
    fn complete_line(&mut self, line: &str) -> Option<String> {
        let number = |text: &str| text.parse::<usize>().ok();
        match (
            line.strip_prefix('*').and_then(number),
            line.strip_prefix('$').and_then(number),
        ) {
            (Some(count), _) => self.remaining_arguments = count,
            (_, Some(length)) if self.remaining_arguments > 0 => {
                self.remaining_bytes = length + LINE_END;
            }
            _ => return line.split_ascii_whitespace().next().map(String::from),
        }
        None
    }

    /// Reads up to the end of an argument. Only the first argument, the name of the command, is
    /// buffered.
    fn feed_argument(&mut self, bytes: &[u8]) -> (usize, Option<String>) {
        let taken = self.remaining_bytes.min(bytes.len());
        if self.name.is_none() {
            self.buffer.extend(&bytes[..taken]);
        }
        self.remaining_bytes -= taken;
        (
            taken,
            if self.remaining_bytes == 0 {
                self.complete_argument()
            } else {
                None
            },
        )
    }

    fn complete_argument(&mut self) -> Option<String> {
        let name = take(&mut self.buffer);
        self.name
            .get_or_insert_with(|| String::from(text(&name).trim_ascii()));
        self.remaining_arguments -= 1;
        if self.remaining_arguments == 0 {
            self.name.take()
        } else {
            None
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The length of `\r\n`.
const LINE_END: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &[u8] =
        b"*1\r\n$4\r\nPING\r\n*3\r\n$7\r\nevalsha\r\n$0\r\n\r\n$14\r\n*1\r\n$4\r\nPING\r\n\r\n*0\r\nping now\r\n\r\n*1\r\n$4\r\nQUIT\r\n";

    fn names(parts: &[&[u8]]) -> Vec<String> {
        let (mut parser, mut names) = (CommandParser::default(), Vec::new());
        for part in parts {
            parser.feed(part, |name| names.push(String::from(name)));
        }
        names
    }

    #[test]
    fn commands_are_found_wherever_their_bytes_are_split() {
        for first in 0..=SENT.len() {
            for second in first..=SENT.len() {
                let parts = [&SENT[..first], &SENT[first..second], &SENT[second..]];
                assert_eq!(names(&parts), ["PING", "evalsha", "ping", "QUIT"]);
            }
        }
        let bytes: Vec<_> = SENT.chunks(1).collect();
        assert_eq!(names(&bytes), ["PING", "evalsha", "ping", "QUIT"]);
    }

    #[test]
    fn an_incomplete_command_is_not_counted() {
        assert!(names(&[&SENT[..13]]).is_empty());
        assert_eq!(names(&[&SENT[..14]]), ["PING"]);
    }

    #[test]
    fn names_are_counted_in_any_case() {
        let mut counts = Counts::default();
        for name in ["GET", "get", "SET"] {
            counts.count(name);
        }
        assert_eq!(
            (
                counts.requests(),
                counts.requests_named("Get"),
                counts.requests_named("DEL")
            ),
            (3, 2, 0)
        );
    }
}
