use core::time::Duration;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;

/// The reply of a Redis server to a command (RESP2).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// A null reply, such as for a missing key.
    Nil,
    /// An integer.
    Integer(i64),
    /// A bulk string.
    Bytes(Bytes),
    /// A simple string, such as `OK`.
    Status(String),
    /// An error, such as `WRONGTYPE Operation against a key holding the wrong kind of value`.
    Error(String),
    /// An array of replies.
    Array(Vec<Reply>),
}

impl Reply {
    /// Creates a [`Bytes`](Self::Bytes) reply.
    pub fn bytes(value: impl AsRef<[u8]>) -> Self {
        Self::Bytes(Bytes::copy_from_slice(value.as_ref()))
    }

    pub(super) fn ok() -> Self {
        Self::Status(String::from("OK"))
    }

    /// Returns the text of a bulk string; empty for other replies.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }

    /// Returns the items of an array; empty for other replies.
    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// Returns the value of a field in the reply to `INFO` (`name:value`, one per line).
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let text = self.text();
        let value = |line: &str| {
            Some(
                line.trim_end()
                    .strip_prefix(name)?
                    .strip_prefix(':')?
                    .to_owned(),
            )
        };
        text.lines().find_map(value)
    }

    fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let line = read_line(from)?;
        let mut rest = line.chars();
        match rest.next() {
            Some('+') => Ok(Self::Status(rest.collect())),
            Some('-') => Ok(Self::Error(rest.collect())),
            Some(':') => number(rest.as_str()).map(Self::Integer),
            Some('$') => Self::read_bytes(from, number(rest.as_str())?),
            Some('*') => Self::read_array(from, number(rest.as_str())?),
            _ => Err(invalid(&line)),
        }
    }

    fn read_bytes(from: &mut impl BufRead, length: i64) -> io::Result<Self> {
        let Ok(length) = usize::try_from(length) else {
            return Ok(Self::Nil);
        };
        let mut value = vec![0; length + LINE_END.len()];
        from.read_exact(&mut value)?;
        value.truncate(length);
        Ok(Self::Bytes(value.into()))
    }

    fn read_array(from: &mut impl BufRead, length: i64) -> io::Result<Self> {
        match length {
            0.. => (0..length)
                .map(|_| Self::read(from))
                .collect::<Result<_, _>>()
                .map(Self::Array),
            _ => Ok(Self::Nil),
        }
    }
}

/// Sends a command on a new connection and waits for the reply. `limit` applies to connect, write
/// and each read.
pub(super) fn send<A: AsRef<[u8]>>(
    address: SocketAddr,
    arguments: &[A],
    limit: Duration,
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(&encode(arguments))?;
    Reply::read(&mut BufReader::new(stream))
}

/// Encodes a command as an array of bulk strings.
fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments.iter().map(AsRef::as_ref) {
        command.extend(format!("${}\r\n", argument.len()).as_bytes());
        command.extend(argument);
        command.extend(LINE_END);
    }
    command
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    match line.strip_suffix(LINE_END) {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| invalid(text))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("not a reply in RESP2: {text:?}"),
    )
}

const LINE_END: &[u8] = b"\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Reply> {
        Reply::read(&mut &bytes[..])
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        let all = b"*6\r\n+OK\r\n-ERR no\r\n:-7\r\n$4\r\n\r\n\xff\0\r\n$-1\r\n*2\r\n*0\r\n*-1\r\n";
        let expected = Reply::Array(vec![
            Reply::ok(),
            Reply::Error(String::from("ERR no")),
            Reply::Integer(-7),
            Reply::bytes(b"\r\n\xff\0"),
            Reply::Nil,
            Reply::Array(vec![Reply::Array(vec![]), Reply::Nil]),
        ]);
        assert_eq!(read(all).expect("a reply"), expected);
    }

    #[test]
    fn an_invalid_or_incomplete_reply_is_an_error() {
        for bytes in [
            &b""[..],
            b"+OK",
            b"$3\r\nab",
            b"*2\r\n:1\r\n",
            b"HTTP/1.1 400\r\n",
            b":x\r\n",
            b"\r\n",
        ] {
            assert!(read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn arguments_can_be_arbitrary_bytes() {
        assert_eq!(
            encode(&[b"SET".as_slice(), b"\r\n", b""]),
            b"*3\r\n$3\r\nSET\r\n$2\r\n\r\n\r\n$0\r\n\r\n"
        );
    }
}
