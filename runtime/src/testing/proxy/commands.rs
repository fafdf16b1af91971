use core::mem::take;
use std::collections::HashMap;

/// What went through a proxy.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) connections: u64,
    named: HashMap<String, u64>,
}

impl Counts {
    pub(super) fn add(&mut self, name: &str) {
        *self.named.entry(name.to_ascii_uppercase()).or_default() += 1;
    }

    pub(super) fn requests(&self) -> u64 {
        self.named.values().sum()
    }

    pub(super) fn requests_named(&self, name: &str) -> u64 {
        self.named
            .get(&name.to_ascii_uppercase())
            .copied()
            .unwrap_or(0)
    }
}

/// Finds the commands in what a client sends: arrays of bulk strings, or lines of words ("inline
/// commands"). What is neither is passed over.
#[derive(Debug, Default)]
pub(super) struct Commands {
    /// So many arguments of the command are still to come.
    arguments: usize,
    /// So many bytes of an argument, and its line end, are still to come.
    body: usize,
    /// What has come of a line, or of a name.
    part: Vec<u8>,
    name: Option<String>,
}

impl Commands {
    /// Takes the next bytes, and tells the name of each command that they complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut completed: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let (taken, name) = match self.body {
                0 => self.line(bytes),
                _ => self.body(bytes),
            };
            if let Some(name) = name {
                completed(&name);
            }
            bytes = &bytes[taken..];
        }
    }

    /// Takes up to the end of a line.
    fn line(&mut self, bytes: &[u8]) -> (usize, Option<String>) {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        self.part.extend(&bytes[..taken]);
        let line = end.map(|_| text(&take(&mut self.part)));
        (
            taken,
            line.and_then(|line| self.line_ended(line.trim_ascii())),
        )
    }

    /// What a line says: how many arguments come, how long the next is, or a whole command.
    fn line_ended(&mut self, line: &str) -> Option<String> {
        let number = |text: &str| text.parse::<usize>().ok();
        match (
            line.strip_prefix('*').and_then(number),
            line.strip_prefix('$').and_then(number),
        ) {
            (Some(arguments), _) => self.arguments = arguments,
            (_, Some(length)) if self.arguments > 0 => self.body = length + LINE_END,
            _ => return line.split_ascii_whitespace().next().map(String::from),
        }
        None
    }

    /// Takes up to the end of an argument. Only that of the first is remembered.
    fn body(&mut self, bytes: &[u8]) -> (usize, Option<String>) {
        let taken = self.body.min(bytes.len());
        if self.name.is_none() {
            self.part.extend(&bytes[..taken]);
        }
        self.body -= taken;
        (
            taken,
            if self.body == 0 {
                self.body_ended()
            } else {
                None
            },
        )
    }

    fn body_ended(&mut self) -> Option<String> {
        let part = take(&mut self.part);
        self.name
            .get_or_insert_with(|| String::from(text(&part).trim_ascii()));
        self.arguments -= 1;
        if self.arguments == 0 {
            self.name.take()
        } else {
            None
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const LINE_END: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &[u8] =
        b"*1\r\n$4\r\nPING\r\n*3\r\n$7\r\nevalsha\r\n$0\r\n\r\n$14\r\n*1\r\n$4\r\nPING\r\n\r\n*0\r\nping now\r\n\r\n*1\r\n$4\r\nQUIT\r\n";

    fn names(parts: &[&[u8]]) -> Vec<String> {
        let (mut commands, mut names) = (Commands::default(), Vec::new());
        for part in parts {
            commands.feed(part, |name| names.push(String::from(name)));
        }
        names
    }

    #[test]
    fn every_split_gives_the_same() {
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
    fn half_a_command_does_not_count() {
        assert!(names(&[&SENT[..13]]).is_empty());
        assert_eq!(names(&[&SENT[..14]]), ["PING"]);
    }

    #[test]
    fn names_count_in_any_case() {
        let mut counts = Counts::default();
        for name in ["GET", "get", "SET"] {
            counts.add(name);
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
