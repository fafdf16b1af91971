//! Which of the 16,384 slots of a cluster a key is in: by all of the key, or by what stands in braces.

/// A slot of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HashSlot(pub(super) u16);

impl HashSlot {
    /// How many there are.
    pub(super) const COUNT: u16 = 16_384;

    pub(super) fn of(key: &str) -> Self {
        Self(crc16(tag(key).as_bytes()) % Self::COUNT)
    }
}

/// What of a key its slot depends on: what stands in the first braces, unless that is nothing.
fn tag(key: &str) -> &str {
    let in_braces = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    in_braces
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(key)
}

/// CRC-16/XMODEM, as the specification of Redis Cluster has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (crc << 8) ^ TABLE[usize::from((crc >> 8) ^ u16::from(*byte))]
    })
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(HashSlot::of("foo"), HashSlot(12_182));
        assert_eq!(HashSlot::of(""), HashSlot(0));
    }

    #[test]
    fn it_depends_on_what_stands_in_the_first_braces() {
        let cases = [
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
        ];
        for (key, expected) in cases {
            assert_eq!(tag(key), expected, "{key}");
        }
    }
}
