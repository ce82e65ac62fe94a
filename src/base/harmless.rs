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

/// A cell of CSV that no spreadsheet takes for a formula: such a text gets an apostrophe before it, also behind each semicolon,
/// which divides cells in half of Europe, in quotes or not. The one exception is `+` with nothing but digits behind it: that
/// is a telephone number, and no formula does harm with digits alone.
pub fn csv_cell(text: &str) -> String {
    let mut cell = String::new();
    for part in text.split_inclusive(';') {
        if is_formula(part) && !is_telephone_number(text) {
            cell.push('\'');
        }
        cell.push_str(&harmless(part));
    }
    match cell.contains(['"', ',', ';', '\r', '\n']) || cell != cell.trim() {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    }
}

/// Whether a spreadsheet would take a cell for a formula. What is not seen before it is no protection.
fn is_formula(text: &str) -> bool {
    let is_nothing = |c: char| c == '"' || c.is_whitespace() || c.is_control() || is_invisible(c);
    let first = text.trim_start_matches(is_nothing).chars().next();
    first.is_some_and(|c| "=+-@＝＋－＠".contains(c)) || text.starts_with(['\t', '\r', '\n'])
}

fn is_telephone_number(text: &str) -> bool {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    text.strip_prefix('+').is_some_and(is_number)
}

/// What has no width, and no meaning by itself (`Default_Ignorable_Code_Point` of Unicode), interlinear marks and the empty Braille
/// pattern.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
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
            ("\u{feff}=1", "'\u{feff}=1"),
            ("\u{200b} \u{ad}\"@1", "\"'\u{200b} \u{ad}\"\"@1\""),
            ("x;=1+1", "\"x;'=1+1\""),
            ("x; \"\u{2060}-1;;+44", "\"x;' \"\"\u{2060}-1;;'+44\""),
            (";@", "\";'@\""),
            ("x\t=1", "x\u{fffd}=1"),
            ("Smith; Anna", "\"Smith; Anna\""),
            ("+442079460101;x", "\"'+442079460101;x\""),
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
