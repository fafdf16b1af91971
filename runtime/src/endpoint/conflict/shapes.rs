//! A hash table of path shapes that works in constant evaluation.
//!
//! The table has a slot for each endpoint. Each slot has a linked list of the endpoints whose hash
//! selects the slot. The latest endpoint is first. Slot `i` and endpoint `i` share the entry `i` of
//! one slice.

/// An entry of the slice: the shape of an endpoint, and a slot of the table.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// The hash of the endpoint's shape.
    pub(super) hash: u64,
    /// The endpoint inserted before this one into the same slot.
    pub(super) before: Option<usize>,
    /// The endpoint inserted last into this slot.
    latest: Option<usize>,
}

impl Shape {
    /// The entry before any insertion.
    pub(super) const NONE: Self = Self {
        hash: 0,
        before: None,
        latest: None,
    };
}

/// Inserts an endpoint. Endpoints must be inserted in the order of their indices.
///
/// From an endpoint, the chain of `before` then leads to all earlier endpoints with the same hash.
/// It also leads to a few endpoints with other hashes in the same slot.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the remainder is less than the length of a slice"
)]
pub(super) const fn insert(shapes: &mut [Shape], index: usize, hash: u64) {
    let slot = (hash % shapes.len() as u64) as usize;
    shapes[index].hash = hash;
    shapes[index].before = shapes[slot].latest;
    shapes[slot].latest = Some(index);
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn all_earlier_endpoints_with_the_same_hash_are_found(hashes in proptest::collection::vec(0_u64..8, 1..40)) {
            let mut shapes = vec![Shape::NONE; hashes.len()];
            for (index, hash) in hashes.iter().enumerate() {
                insert(&mut shapes, index, *hash);
                let chain = core::iter::successors(shapes[index].before, |earlier| shapes[*earlier].before);
                let found: Vec<usize> = chain.filter(|earlier| shapes[*earlier].hash == *hash).collect();
                let same: Vec<usize> = (0..index).rev().filter(|earlier| hashes[*earlier] == *hash).collect();
                proptest::prop_assert_eq!(found, same);
            }
        }
    }
}
