//! `docs/errors.md` has a row for each code, in the order of the code, with a meaning and a remedy, and no other row.

use nsfl_types::Code;

const PAGE: &str = include_str!("../../../docs/errors.md");

#[test]
fn the_page_has_a_full_row_for_every_code_and_no_other() {
    let rows: Vec<Vec<&str>> = PAGE
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let documented: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(documented, codes);
    for row in &rows {
        assert!(row.len() == 3 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}
