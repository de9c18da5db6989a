//! Tables with heads, and a bar for each row where there is room for one.

use std::fmt::Write as _;

use super::document::Cells;
use crate::format::number;

/// A bar is no shorter, and no longer.
const BAR_WIDTHS: std::ops::RangeInclusive<usize> = 6..=24;
/// Parts of a character, an eighth to eight eighths.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Renders a table. Bars are for terminals that are wide enough, and stand before the last column.
pub(super) fn render(cells: &Cells, width: Option<usize>) -> String {
    let rows = || std::iter::once(&cells.heads).chain(cells.rows.iter().map(|(row, _)| row));
    let columns = cells.heads.len();
    let of_column = |column: usize| rows().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| of_column(column).unwrap_or_default()).collect();
    let taken: usize = widths.iter().map(|width| width + 2).sum();
    let bar = width.and_then(|width| width.checked_sub(taken + 2)).map(|room| room.min(*BAR_WIDTHS.end()));
    let has_bars = cells.rows.iter().any(|(_, share)| share.is_some());
    let bar = bar.filter(|bar| has_bars && BAR_WIDTHS.contains(bar));
    let mut out = String::new();
    let mut line = |row: &[String], share: Option<f64>| {
        let mut text = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            match (column + 1 == columns, bar) {
                (false, _) if column + cells.words >= columns => write!(text, "  {cell}{padding}"),
                (false, _) => write!(text, "  {padding}{cell}"),
                (true, None) => write!(text, "  {cell}"),
                (true, Some(bar)) => {
                    write!(text, "  {:<bar$}  {cell}", share.map_or_else(String::new, |share| drawn(share, bar)))
                }
            }
            .expect("writing to a String");
        }
        writeln!(out, "{}", text.trim_end()).expect("writing to a String");
    };
    line(&cells.heads, None);
    cells.rows.iter().for_each(|(row, share)| line(row, *share));
    if cells.more > 0 {
        writeln!(out, "  and {} more; {}", number(cells.more), cells.advice).expect("writing to a String");
    }
    out
}

/// A bar of a share of some columns. What is not nothing is seen.
fn drawn(share: f64, columns: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * columns as f64 * 8.0).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    let mut bar: String = std::iter::repeat_n('█', eighths / 8).collect();
    bar.extend((!eighths.is_multiple_of(8)).then(|| EIGHTHS[eighths % 8 - 1]));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_to_the_left() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let cells = Cells {
            caption: String::new(),
            heads: row(["size", "tag", "digest"]),
            words: 2,
            rows: vec![(row(["1 B", "latest", "x"]), None), (row(["100 B", "v1", "y"]), None)],
            more: 0,
            advice: String::new(),
        };
        let expected = "   size  tag     digest\n    1 B  latest  x\n  100 B  v1      y\n";
        assert_eq!(render(&cells, Some(200)), expected);
    }

    #[test]
    fn bars_are_drawn_where_there_is_room() {
        let cells = Cells {
            caption: String::new(),
            heads: ["size", "name"].map(str::to_owned).to_vec(),
            words: 1,
            rows: vec![
                (vec!["12 B".into(), "a".into()], Some(1.0)),
                (vec!["100 KiB".into(), "bb".into()], Some(0.5)),
                (vec!["0 B".into(), "c".into()], Some(0.0)),
            ],
            more: 3,
            advice: "--top 0 shows all".into(),
        };
        let plain = "     size  name\n     12 B  a\n  100 KiB  bb\n      0 B  c\n  and 3 more; --top 0 shows all\n";
        assert_eq!(render(&cells, None), plain);
        assert_eq!(render(&cells, Some(20)), plain);
        let wide = render(&cells, Some(25));
        assert_eq!(wide.lines().nth(1), Some("     12 B  ████████  a"), "{wide}");
        assert_eq!(wide.lines().nth(2), Some("  100 KiB  ████      bb"), "{wide}");
        assert_eq!(wide.lines().nth(3), Some("      0 B            c"), "{wide}");
        assert_eq!((drawn(0.0001, 10), drawn(0.0, 10), drawn(1.0 / 16.0, 8)), ("▏".into(), String::new(), "▌".into()));
    }
}
