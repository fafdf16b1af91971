//! The bytes of a cursor: a position and the values of its key.
//!
//! Each value starts with a byte for its kind. Numbers are varints: groups of seven bits, the
//! lowest first.

use super::position::Position;
use super::value::CursorValue;

/// Appends a position.
pub(super) fn write(position: &Position<Vec<CursorValue>>, bytes: &mut Vec<u8>) {
    bytes.push(match position {
        Position::Start => START,
        Position::After(_) => AFTER,
        Position::Before(_) => BEFORE,
        Position::End => END,
    });
    for value in position.key().into_iter().flatten() {
        write_value(value, bytes);
    }
}

/// Reads a position. Returns `None` if the bytes are not exactly one position.
pub(super) fn read(bytes: &[u8]) -> Option<Position<Vec<CursorValue>>> {
    let (position, mut rest) = bytes.split_first()?;
    let mut values = Vec::new();
    while !rest.is_empty() {
        values.push(read_value(&mut rest)?);
    }
    match *position {
        START if values.is_empty() => Some(Position::Start),
        AFTER => Some(Position::After(values)),
        BEFORE => Some(Position::Before(values)),
        END if values.is_empty() => Some(Position::End),
        _ => None,
    }
}

// The numbers are part of the format: a new kind needs a new number.
const START: u8 = 0;
const AFTER: u8 = 1;
const BEFORE: u8 = 2;
const END: u8 = 3;

const INTEGER: u8 = 0;
const TEXT: u8 = 1;
const BYTES: u8 = 2;
const FALSE: u8 = 3;
const TRUE: u8 = 4;

fn write_value(value: &CursorValue, bytes: &mut Vec<u8>) {
    match value {
        CursorValue::Integer(number) => {
            bytes.push(INTEGER);
            write_varint(zigzag(*number), bytes);
        }
        CursorValue::Text(text) => write_bytes(TEXT, text.as_bytes(), bytes),
        CursorValue::Bytes(value) => write_bytes(BYTES, value, bytes),
        CursorValue::Bool(value) => bytes.push(if *value { TRUE } else { FALSE }),
    }
}

fn read_value(bytes: &mut &[u8]) -> Option<CursorValue> {
    match read_byte(bytes)? {
        INTEGER => Some(CursorValue::Integer(unzigzag(read_varint(bytes)?))),
        TEXT => String::from_utf8(read_bytes(bytes)?.to_vec())
            .ok()
            .map(CursorValue::Text),
        BYTES => Some(CursorValue::Bytes(read_bytes(bytes)?.to_vec())),
        FALSE => Some(CursorValue::Bool(false)),
        TRUE => Some(CursorValue::Bool(true)),
        _ => None,
    }
}

fn write_bytes(kind: u8, value: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(kind);
    write_varint(value.len() as u64, bytes);
    bytes.extend_from_slice(value);
}

fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(read_varint(bytes)?).ok()?;
    let (value, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(value)
}

fn read_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*byte)
}

fn write_varint(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 128 {
        bytes.push(number.to_le_bytes()[0] | 128);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = read_byte(bytes)?;
        let bits = u64::from(byte & 127);
        number |= bits << shift;
        // Bits beyond the 64th, and a last group that is zero, are refused, because each number
        // must have exactly one encoding.
        if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
            return None;
        }
        if byte < 128 {
            return Some(number);
        }
    }
    None
}

/// Maps small numbers of either sign to small unsigned numbers, which have short varints.
const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = CursorValue> {
        prop_oneof![
            any::<i64>().prop_map(CursorValue::Integer),
            (-200_i64..200).prop_map(CursorValue::Integer),
            ".{0,40}".prop_map(CursorValue::Text),
            prop::collection::vec(any::<u8>(), 0..200).prop_map(CursorValue::Bytes),
            any::<bool>().prop_map(CursorValue::Bool),
        ]
    }

    fn bytes_of(position: &Position<Vec<CursorValue>>) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(position, &mut bytes);
        bytes
    }

    #[test]
    fn a_number_has_exactly_one_varint() {
        for (bytes, number) in [
            (&[0][..], 0),
            (&[127], 127),
            (&[128, 1], 128),
            (&[255; 9], u64::MAX),
        ] {
            let bytes = if number == u64::MAX {
                [bytes, &[1]].concat()
            } else {
                bytes.to_vec()
            };
            assert_eq!(read_varint(&mut &bytes[..]), Some(number));
        }
        for wrong in [
            &[128, 0][..],
            &[128],
            &[],
            &[255; 10],
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
        ] {
            assert_eq!(read_varint(&mut &wrong[..]), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_identifier_takes_two_bytes_more_than_its_text() {
        let text = CursorValue::Text("pay_01HZQK7P3WVXBN4Y9MRDTJC8E6".into());
        assert_eq!(bytes_of(&Position::After(vec![text])).len(), 1 + 2 + 30);
    }

    proptest! {
        #[test]
        fn d02_a_written_position_is_read_unchanged(values in prop::collection::vec(value(), 1..5)) {
            for position in [Position::After(values.clone()), Position::Before(values), Position::Start, Position::End] {
                prop_assert_eq!(read(&bytes_of(&position)), Some(position));
            }
        }

        #[test]
        fn d02_bytes_that_are_read_and_written_again_are_the_same(bytes in prop::collection::vec(0_u8..6, 0..12)) {
            if let Some(position) = read(&bytes) {
                prop_assert_eq!(bytes_of(&position), bytes);
            }
        }
    }
}
