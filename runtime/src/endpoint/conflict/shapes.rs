//! A table of the paths' shapes, in a constant.

/// What is known of an endpoint's shape, and a place of the table.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// The hash of the endpoint's shape.
    pub(super) hash: u64,
    /// The endpoint before it that stands in the same place of the table.
    pub(super) before: Option<usize>,
    /// The last endpoint that stands in this place, whatever endpoint has its index.
    latest: Option<usize>,
}

impl Shape {
    /// Of an endpoint that was not entered yet.
    pub(super) const NONE: Self = Self {
        hash: 0,
        before: None,
        latest: None,
    };
}

/// Enters an endpoint, in the order of their indices: from it, `before` leads to all that were
/// entered with the same hash, and to few others.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the remainder is below a length"
)]
pub(super) const fn enter(shapes: &mut [Shape], index: usize, hash: u64) {
    let place = (hash % shapes.len() as u64) as usize;
    shapes[index].hash = hash;
    shapes[index].before = shapes[place].latest;
    shapes[place].latest = Some(index);
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn all_of_the_same_hash_are_found(hashes in proptest::collection::vec(0_u64..8, 1..40)) {
            let mut shapes = vec![Shape::NONE; hashes.len()];
            for (index, hash) in hashes.iter().enumerate() {
                enter(&mut shapes, index, *hash);
                let chain = core::iter::successors(shapes[index].before, |earlier| shapes[*earlier].before);
                let found: Vec<usize> = chain.filter(|earlier| shapes[*earlier].hash == *hash).collect();
                let same: Vec<usize> = (0..index).rev().filter(|earlier| hashes[*earlier] == *hash).collect();
                proptest::prop_assert_eq!(found, same);
            }
        }
    }
}
