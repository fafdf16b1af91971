use proptest::prelude::*;

use super::*;

fn columns(directions: &[Direction]) -> Vec<SortColumn> {
    ["a", "b", "c"]
        .iter()
        .zip(directions)
        .map(|(name, direction)| SortColumn::new(name, *direction))
        .collect()
}

fn condition_text(directions: &[Direction]) -> String {
    let keyset = Keyset {
        condition: condition(&columns(directions)),
        order_by: String::new(),
        values: values(directions),
    };
    keyset.sql(Placeholders::DollarFrom(1)).condition
}

fn values(directions: &[Direction]) -> Vec<CursorValue> {
    vec![CursorValue::Integer(0); directions.len() + 1]
}

const UP: Direction = Direction::Ascending;
const DOWN: Direction = Direction::Descending;

#[test]
fn d01_columns_with_the_same_direction_are_compared_as_rows() {
    assert_eq!(condition_text(&[UP]), "a > $1");
    assert_eq!(condition_text(&[DOWN, DOWN]), "(a, b) < ($1, $2)");
    assert_eq!(condition_text(&[UP, UP, UP]), "(a, b, c) > ($1, $2, $3)");
}

#[test]
fn d01_columns_with_different_directions_are_compared_one_by_one() {
    assert_eq!(
        condition_text(&[DOWN, UP]),
        "a <= $1 AND (a < $1 OR (a = $1 AND b > $2))"
    );
    assert_eq!(
        condition_text(&[UP, DOWN, UP]),
        "a >= $1 AND (a > $1 OR (a = $1 AND (b < $2 OR (b = $2 AND c > $3))))"
    );
}

#[test]
fn unnumbered_placeholders_bind_a_value_several_times() {
    let values = (1..=3).map(CursorValue::Integer).collect();
    let keyset = Keyset {
        condition: condition(&columns(&[DOWN, UP])),
        order_by: String::from("a DESC, b"),
        values,
    };
    let binds = |placeholders| {
        let sql = keyset.sql(placeholders);
        let numbers = sql.binds.iter().map(|value| match value {
            CursorValue::Integer(number) => *number,
            other => panic!("{other:?}"),
        });
        (numbers.collect::<Vec<_>>(), sql.to_string())
    };
    let plain = "a <= ? AND (a < ? OR (a = ? AND b > ?)) ORDER BY a DESC, b LIMIT ?";
    assert_eq!(
        binds(Placeholders::Question),
        (vec![1, 1, 1, 2, 3], plain.to_owned())
    );
    let numbered = "a <= ?5 AND (a < ?5 OR (a = ?5 AND b > ?6)) ORDER BY a DESC, b LIMIT ?7";
    assert_eq!(
        binds(Placeholders::QuestionFrom(5)),
        (vec![1, 2, 3], numbered.to_owned())
    );
}

proptest! {
    #[test]
    fn the_parentheses_of_a_condition_are_balanced(directions in prop::collection::vec(prop_oneof![Just(UP), Just(DOWN)], 1..4)) {
        let text = condition_text(&directions);
        let depth = text.chars().try_fold(0_i32, |depth, letter| match letter {
            '(' => Some(depth + 1),
            ')' if depth == 0 => None,
            ')' => Some(depth - 1),
            _ => Some(depth),
        });
        prop_assert_eq!(depth, Some(0), "{}", text);
    }
}
