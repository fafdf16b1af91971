//! The hash slot of a key, one of the 16,384 slots of a cluster. It depends on the text in braces,
//! or on the whole key if there are no braces.

/// A hash slot of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HashSlot(pub(super) u16);

impl HashSlot {
    /// The number of slots.
    pub(super) const COUNT: u16 = 16_384;

    /// Returns the slot of a key.
    pub(super) fn of(key: &str) -> Self {
        Self(crc16(tag(key).as_bytes()) % Self::COUNT)
    }
}

/// Returns the hash tag of a key: the text in its first braces, or the whole key if this text is
/// empty.
fn tag(key: &str) -> &str {
    let in_braces = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    in_braces
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(key)
}

/// Computes CRC-16/XMODEM, which the specification of Redis Cluster prescribes.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (crc << 8) ^ TABLE[usize::from((crc >> 8) ^ u16::from(*byte))]
    })
}

/// The CRC of each byte, for the polynomial 0x1021.
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
    fn slots_agree_with_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(HashSlot::of("foo"), HashSlot(12_182));
        assert_eq!(HashSlot::of(""), HashSlot(0));
    }

    #[test]
    fn the_hash_tag_is_the_text_in_the_first_braces() {
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
