//! What takes the room, for spreadsheets.

use super::UsageReport;
use crate::format::time;

const HEADS: [&str; 11] = [
    "name",
    "total_bytes",
    "unique_bytes",
    "shared_bytes",
    "untagged_bytes",
    "total_blobs",
    "unique_blobs",
    "images",
    "tags",
    "pushed",
    "held_repositories",
];

/// Renders the rows, one a line under their heads. Without `--top` it has all.
pub(super) fn render(report: &UsageReport) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |record: &[String]| writer.write_record(record).expect("records of one length, written to memory");
    write(&HEADS.map(str::to_owned));
    for row in report.shown(0).0 {
        let numbers = [
            row.total.size_bytes,
            row.unique.size_bytes,
            row.shared().size_bytes,
            row.untagged.size_bytes,
            row.total.count,
            row.unique.count,
            row.images,
            row.tags,
        ];
        let mut record = vec![plain(&row.name)];
        record.extend(numbers.map(|number| number.to_string()));
        record.push(row.pushed.map_or_else(String::new, time));
        record.push(row.held_repositories.to_string());
        write(&record);
    }
    String::from_utf8(writer.into_inner().expect("written to memory")).expect("what was written is text")
}

/// A name that no spreadsheet takes for a formula.
fn plain(name: &str) -> String {
    match name.starts_with(['=', '+', '-', '@']) {
        true => format!("'{name}"),
        false => name.to_owned(),
    }
}
