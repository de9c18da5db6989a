//! Rows of a table and of the map above it: as many as fit, the largest, and one that stands for the others.

use std::cmp::Reverse;

use serde::Serialize;

use super::data::{Cell, Column};
use super::page::size_in_page;

/// How much of a page rows may take, in bytes.
const MOST_BYTES: usize = 1_300_000;
/// Longer names are cut in the middle, in characters.
const LONGEST_NAME: usize = 400;

/// Rows under heads. The first column is the name.
#[derive(Serialize)]
pub(in crate::report) struct Rows {
    /// What a row is, one and many.
    one: &'static str,
    many: &'static str,
    /// What separates the parts of a name; nothing where it has none.
    separators: &'static str,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// Rows that are left out, added up where that says something.
    others: Option<Others>,
    /// How many names were cut.
    cut_names: u64,
}

#[derive(Serialize)]
struct Others {
    count: u64,
    cells: Vec<Cell>,
}

impl Rows {
    /// Takes as many of the rows as fit, those with the most in the columns `by`, and leaves them in their order.
    pub(in crate::report) fn new(
        (one, many): (&'static str, &'static str),
        separators: &'static str,
        by: &[&str],
        columns: &[Column],
        rows: Vec<Vec<Cell>>,
    ) -> Rows {
        Rows::within(MOST_BYTES, (one, many), separators, by, columns, rows)
    }

    fn within(
        most_bytes: usize,
        (one, many): (&'static str, &'static str),
        separators: &'static str,
        by: &[&str],
        columns: &[Column],
        mut rows: Vec<Vec<Cell>>,
    ) -> Rows {
        let mut cut_names = 0;
        for name in rows.iter_mut().filter_map(|row| row.first_mut()) {
            cut_names += u64::from(cut(name));
        }
        let number = |(column, cell): (&Column, &Cell)| match cell {
            Cell::Number(number) if by.contains(&column.key()) => *number,
            _ => 0,
        };
        let weight = |row: &[Cell]| columns.iter().zip(row).map(number).fold(0, u64::saturating_add);
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|place| (Reverse(weight(&rows[*place])), *place));
        let mut left = most_bytes;
        let fits = |place: &&usize| {
            let size = size_in_page(&rows[**place]) + 1;
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        };
        let taken = order.iter().take_while(fits).count();
        let others = (taken < rows.len()).then(|| others(columns, order[taken..].iter().map(|place| &rows[*place]), many));
        let mut kept = order;
        kept.truncate(taken);
        kept.sort_unstable();
        let rows = kept.into_iter().map(|place| std::mem::take(&mut rows[place])).collect();
        Rows { one, many, separators, columns: columns.to_vec(), rows, others, cut_names }
    }
}

/// One row for those that are left out. What may be the same in several of them is no sum, but it is at most that.
fn others<'a>(columns: &[Column], rows: impl Iterator<Item = &'a Vec<Cell>>, many: &str) -> Others {
    let mut count = 0;
    let mut sums = vec![0_u64; columns.len()];
    for row in rows {
        count += 1;
        for (sum, cell) in sums.iter_mut().zip(row) {
            if let Cell::Number(number) = cell {
                *sum = sum.saturating_add(*number);
            }
        }
    }
    let cell = |(column, sum): (&Column, u64)| if column.is_sum() { Cell::Number(sum) } else { Cell::Nothing };
    let mut cells: Vec<Cell> = columns.iter().zip(sums).map(cell).collect();
    cells[0] = Cell::Text(format!("{count} other {many}"));
    Others { count, cells }
}

/// Takes what is in the middle out of a name that is too long. Whether it was.
fn cut(cell: &mut Cell) -> bool {
    let Cell::Text(name) = cell else { return false };
    let length = name.chars().count();
    if length <= LONGEST_NAME {
        return false;
    }
    let begin: String = name.chars().take(LONGEST_NAME / 2).collect();
    let end: String = name.chars().skip(length - LONGEST_NAME / 2).collect();
    *name = format!("{begin}…{end}");
    true
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::new("name", "Name", "name", ""),
        Column::new("total", "Total", "bytes", ""),
        Column::new("pushed", "", "date", ""),
    ];

    fn rows(most_bytes: usize, rows: &[(&str, u64)]) -> Value {
        let cells = |(name, total): &(&str, u64)| vec![Cell::Text((*name).to_owned()), Cell::Number(*total), Cell::Nothing];
        let rows = rows.iter().map(cells).collect();
        serde_json::to_value(Rows::within(most_bytes, ("row", "rows"), "/", &["total"], &COLUMNS, rows)).expect("JSON")
    }

    #[test]
    fn the_largest_rows_stay_in_their_order_and_the_others_are_added_up() {
        let all = [("a", 1), ("b", 9), ("c", 3), ("d", 7)];
        let whole = rows(1000, &all);
        assert_eq!(whole["rows"].as_array().expect("rows").len(), 4);
        assert_eq!(whole["others"], Value::Null);
        let two = rows(2 * r#"["b",9,null],"#.len(), &all);
        assert_eq!(two["rows"], json!([["b", 9, null], ["d", 7, null]]));
        assert_eq!(two["others"], json!({"count": 2, "cells": ["2 other rows", 4, null]}));
    }

    #[test]
    fn names_count_as_long_as_they_are_in_the_page_and_are_cut() {
        // `<` takes six bytes in the page.
        let hostile = "<".repeat(100);
        let two = rows(700, &[(&hostile, 1), (&hostile, 2)]);
        assert_eq!(two["rows"].as_array().expect("rows").len(), 1);
        let long = "ü".repeat(LONGEST_NAME + 1);
        let one = rows(10_000, &[(&long, 1)]);
        assert_eq!(one["cut_names"], 1);
        assert_eq!(one["rows"][0][0].as_str().expect("a name").chars().count(), LONGEST_NAME + 1);
    }
}
