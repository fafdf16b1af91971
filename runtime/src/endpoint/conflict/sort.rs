//! Sorting in constant evaluation, where `slice::sort` is not available.

/// A sort key and the index of its endpoint.
#[derive(Clone, Copy)]
pub(super) struct Ranked {
    pub(super) key: u64,
    pub(super) index: usize,
}

/// Sorts by key, then by index.
///
/// Heapsort needs no extra memory, and at most `O(n log n)` steps. The number of steps matters,
/// because the compiler counts the steps of a constant.
pub(super) const fn sort(items: &mut [Ranked]) {
    let mut root = items.len() / 2;
    while root > 0 {
        root -= 1;
        sift(items, root, items.len());
    }
    let mut end = items.len();
    while end > 1 {
        end -= 1;
        swap(items, 0, end);
        sift(items, 0, end);
    }
}

const fn sift(items: &mut [Ranked], mut root: usize, end: usize) {
    loop {
        let mut child = 2 * root + 1;
        if child >= end {
            return;
        }
        if child + 1 < end && before(items[child], items[child + 1]) {
            child += 1;
        }
        if !before(items[root], items[child]) {
            return;
        }
        swap(items, root, child);
        root = child;
    }
}

/// Swaps two items. `slice::swap` copies byte by byte in a constant, and the compiler counts each
/// step.
const fn swap(items: &mut [Ranked], one: usize, other: usize) {
    let first = items[one];
    items[one] = items[other];
    items[other] = first;
}

const fn before(one: Ranked, other: Ranked) -> bool {
    one.key < other.key || one.key == other.key && one.index < other.index
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn items_are_sorted_by_key_then_by_index(keys in proptest::collection::vec(0_u64..8, 0..40)) {
            let mut items: Vec<Ranked> =
                keys.iter().enumerate().map(|(index, key)| Ranked { key: *key, index }).collect();
            sort(&mut items);
            let ranks: Vec<_> = items.iter().map(|item| (item.key, item.index)).collect();
            let mut sorted = ranks.clone();
            sorted.sort_unstable();
            proptest::prop_assert_eq!(ranks, sorted);
        }
    }
}
