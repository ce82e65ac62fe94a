//! Text that came over the wire, made harmless where people or their programs read it.

/// The text without what moves the cursor, breaks the line or changes the direction of text.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if is_harmful(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Whether a character moves the cursor, breaks the line or changes the direction of text.
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A line of CSV, as RFC 4180 has it.
pub fn csv_line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.map(|cell| csv_cell(&cell)).collect();
    cells.join(",") + "\r\n"
}

/// A cell of CSV that no spreadsheet takes for a formula: such a text gets an apostrophe before it. The one exception is `+`
/// with nothing but digits behind it: that is a telephone number, and no formula does harm with digits alone.
pub fn csv_cell(text: &str) -> String {
    let guard = if is_formula(text) { "'" } else { "" };
    let cell = format!("{guard}{}", harmless(text));
    match cell.contains(['"', ',', '\r', '\n']) || cell != cell.trim() {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    }
}

/// Whether a spreadsheet would take a cell for a formula. Blanks before it are no protection.
fn is_formula(text: &str) -> bool {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if text.strip_prefix('+').is_some_and(is_number) {
        return false;
    }
    let first = text.trim_start().chars().next();
    first.is_some_and(|c| "=+-@＝＋－＠".contains(c)) || text.starts_with(['\t', '\r', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (text, cell) in [
            ("1001", "1001"),
            ("", ""),
            ("+442079460101", "+442079460101"),
            ("+44 20", "'+44 20"),
            ("+1+cmd|'/C calc'!A0", "'+1+cmd|'/C calc'!A0"),
            (
                "=HYPERLINK(\"http://x\",\"y\")",
                "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"",
            ),
            ("-2", "'-2"),
            ("@SUM(1)", "'@SUM(1)"),
            (" =1", "' =1"),
            ("\t=1", "'\u{fffd}=1"),
            ("\r", "'\u{fffd}"),
            ("＝1", "'＝1"),
            ("Smith, Anna", "\"Smith, Anna\""),
            ("a\nb", "a\u{fffd}b"),
            ("O'Brien", "O'Brien"),
        ] {
            assert_eq!(csv_cell(text), cell, "{text:?}");
        }
    }

    #[test]
    fn lines_end_as_rfc_4180_says() {
        let cells = ["a", "b\"c", ""].map(str::to_owned);
        assert_eq!(csv_line(cells.into_iter()), "a,\"b\"\"c\",\r\n");
    }
}
