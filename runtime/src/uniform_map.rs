//! Hash tables for keys that are uniformly distributed: random numbers that the server generates,
//! and digests that no client can choose.
//!
//! Keys that a client can compute and add need a hash with a random state. Otherwise a client can
//! choose keys that all have the same hash, which makes each look-up slow.

use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashMap;

/// A hash table that uses the bits of its keys as their hash.
pub(crate) type UniformMap<K, V> = HashMap<K, V, BuildHasherDefault<UniformHasher>>;

/// A hasher that folds the bytes of a key into 64 bits.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct UniformHasher(u64);

impl Hasher for UniformHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_ne_bytes(*word));
        }
        for byte in rest {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = self.0.rotate_left(5) ^ word;
    }

    fn write_usize(&mut self, length: usize) {
        // The length of an array is the same for all keys of a table.
        let _ = length;
    }
}

#[cfg(test)]
mod tests {
    use core::hash::BuildHasher;
    use std::collections::HashSet;

    use super::*;
    use crate::policies::idempotency::Token;

    #[test]
    fn hashes_of_random_keys_differ_and_their_low_bytes_have_all_values() {
        let tokens: Vec<Token> = core::iter::repeat_with(Token::random)
            .take(10_000)
            .collect();
        let hash = |token: &Token| BuildHasherDefault::<UniformHasher>::default().hash_one(token);
        let hashes: HashSet<u64> = tokens.iter().map(hash).collect();
        assert_eq!(hashes.len(), tokens.len());
        let low: HashSet<u64> = tokens.iter().map(|token| hash(token) & 0xff).collect();
        assert_eq!(low.len(), 256);
    }

    #[test]
    fn tokens_are_found_again() {
        let mut table = UniformMap::default();
        let tokens: Vec<Token> = (0..1000).map(|_| Token::random()).collect();
        table.extend(tokens.iter().zip(0..));
        assert!(
            tokens
                .iter()
                .zip(0..)
                .all(|(token, number)| table.get(token) == Some(&number))
        );
    }
}
